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
    "response-variables": tables.response_table,
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
        if importlib.util.find_spec("amici_xr.cli.main") is None:
            return self.parse_text_to_nodes("This version has no command line.")
        (_, whole), *commands = tables.command_help()
        first = self.parse_text_to_nodes("\n".join(self.content))
        return [*first, _printed(whole), *(_section(name, text) for name, text in commands)]


def _section(name: str, text: str) -> nodes.section:
    return nodes.section("", nodes.title("", name), _printed(text), ids=[nodes.make_id(name)])


def _printed(text: str) -> nodes.literal_block:
    return nodes.literal_block(text, text, language="text")


def setup(app: Sphinx) -> dict[str, Any]:
    """Offer a directive for each."""
    for name in MADE:
        app.add_directive(name, _Made)
    app.add_directive("command-line", _CommandLine)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
