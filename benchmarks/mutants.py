"""What the tests made of each mutant: numbers by module, and each change that was not killed.

Run with ``python benchmarks/mutants.py kernels uncertainty.intervals`` in the root, after
``mutmut run``.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

CAUGHT = ("killed", "timeout", "segfault")  # one that never ends or crashes does not go unnoticed


def mutmut(*arguments: str) -> str:
    """Ask mutmut."""
    command = [sys.executable, "-m", "mutmut", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def main(modules: list[str]) -> None:
    """Print a line for each module, then the changes."""
    outcomes = dict(
        line.strip().split(": ") for line in mutmut("results", "--all", "1").splitlines()
    )
    print(f"{'module':<24}{'mutants':>8}{'killed':>8}  others")
    left = []
    for module in modules:
        inside = f"amici_xr.{module}."
        own = {name: end for name, end in outcomes.items() if name.startswith(inside)}
        others = Counter(end for end in own.values() if end != "killed")
        print(f"{module:<24}{len(own):>8}{len(own) - others.total():>8}  {dict(others) or ''}")
        left += [name for name, end in own.items() if end not in (*CAUGHT, "not checked")]
    for name in left:
        print(f"\n{name}: {outcomes[name]}")
        changed = (line for line in mutmut("show", name).splitlines() if line[:1] in ("-", "+"))
        print(*(line for line in changed if line[:3] not in ("---", "+++")), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
