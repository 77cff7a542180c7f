"""Check built pages: links within lead somewhere, and nothing is fetched to show them.

Sphinx knows of most broken links, but not of those in raw HTML, in included files and in its own
templates: ``python docs/check_pages.py docs/_build/html``.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}
ONLY_NAMED = {"canonical", "prev", "next", "index", "search", "license"}  # of <link>, not fetched


class Page(HTMLParser):
    """What a page links to, what it fetches, and the anchors that it has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what one tag says."""
        found = dict(attrs)
        self.anchors |= {found[name] or "" for name in ("id", "name") if name in found}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"] or "")
        if tag == "link" and found.get("rel") in ONLY_NAMED:
            return
        if tag in FETCHED and found.get(FETCHED[tag]):
            self.fetched.append(found[FETCHED[tag]] or "")


def problems(folder: Path) -> list[str]:
    """Every link that leads nowhere, and everything that is fetched from elsewhere."""
    paths = [path for path in sorted(folder.rglob("*.html")) if "_static" not in path.parts]
    pages = {path.resolve(): Page(path) for path in paths}
    if not pages:
        return [f"{folder}: no pages"]
    found = []
    for path, page in pages.items():
        for link in page.fetched + page.links:
            parts = urlsplit(link)
            if parts.scheme == "data":
                continue
            if parts.scheme or parts.netloc:
                if link in page.fetched:
                    found.append(f"{path.name}: fetches {link}")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                found.append(f"{path.name}: {link} is not there")
                continue
            anchors = pages[target].anchors if target in pages else set()
            if target in pages and parts.fragment and unquote(parts.fragment) not in anchors:
                found.append(f"{path.name}: {link} has no such anchor")
    return found


if __name__ == "__main__":
    wrong = problems(Path(sys.argv[1]))
    print(*wrong, sep="\n", end="\n" if wrong else "")
    sys.exit(bool(wrong))
