"""Directives in whose place stands what is made from the package: see `tables`."""

import importlib.util
from typing import Any

import tables
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

MADE = {
    "schema-variables": lambda: tables.schema_table(False),
    "schema-coordinates": lambda: tables.schema_table(True),
    "accessor-methods": tables.method_table,
}


class _Made(SphinxDirective):
    """Puts Markdown that a function writes in the place of the directive."""

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes(MADE[self.name]())


class _CommandLine(SphinxDirective):
    """Its own content, and the help of every command, where there is a command line."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        text = "This version has no command line."
        if importlib.util.find_spec("amici_xr.cli") is not None:
            text = "\n".join(self.content) + "\n\n" + tables.command_help()
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Offer a directive for each."""
    for name in MADE:
        app.add_directive(name, _Made)
    app.add_directive("command-line", _CommandLine)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
