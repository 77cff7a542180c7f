"""Brings notebooks to the form in which they are kept: ``python notebooks/strip.py``.

No outputs, no counts, no metadata of the machine they were run on, cells numbered from the top.
"""

import json
from pathlib import Path

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def stripped(text: str) -> str:
    """The text of a notebook as it is kept."""
    cells = json.loads(text)["cells"]
    for number, cell in enumerate(cells):
        cell |= {"id": f"cell-{number:02}", "metadata": {}}
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    notebook = {"cells": cells, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    for path in sorted(Path(__file__).parent.glob("*.ipynb")):
        path.write_text(stripped(path.read_text("utf-8")), "utf-8")
