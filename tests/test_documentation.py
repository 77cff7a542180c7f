"""The pages are there and name everything. That they build is what ``make docs`` checks."""

import importlib.util
import inspect
import re
from pathlib import Path
from typing import Annotated

import pytest
from cyclopts import App, Parameter

import amici_xr
from amici_xr.accessor import AmiciAccessor, CounterfactualMethods
from amici_xr.analysis.length_scales import support
from amici_xr.dataset.schema import SCHEMA

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
GLOSSARY = ROOT / "amici_xr" / "cli" / "glossary.md"  # which docs/glossary.md includes
TEXTS = [*PAGES, *ROOT.glob("*.md")]

pytestmark = pytest.mark.skipif(
    not DOCS.is_dir(), reason="the documentation isn't beside the tests"
)


def names(page):
    return page.relative_to(ROOT).as_posix()


def loaded(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tables():
    return loaded(DOCS / "_extensions" / "tables.py")


@pytest.fixture(scope="module")
def check_pages():
    return loaded(DOCS / "check_pages.py")


def listed_in_api():
    """Names that stand in an autosummary of the API page."""
    blocks = re.findall(r"autosummary::\n(.*?)```", (DOCS / "api.md").read_text("utf-8"), re.DOTALL)
    return re.findall(r"^   ([\w.]+)$", "".join(blocks), re.MULTILINE)


def test_every_public_name_is_on_the_api_page_once():
    listed = listed_in_api()
    public = set(amici_xr.__all__) | {f"testing.{name}" for name in amici_xr.testing.__all__}
    assert set(listed) == public
    assert len(listed) == len(set(listed))


def public_objects():
    for name in listed_in_api():
        found = amici_xr
        for part in name.split("."):
            found = getattr(found, part)
        yield name, found
        if inspect.isclass(found):
            methods = inspect.getmembers(found, inspect.isfunction)
            own = [one for one in methods if not one[0].startswith("_")]
            yield from ((f"{name}.{method}", function) for method, function in own)


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(found, id=name)
        for name, found in public_objects()
        if not inspect.ismodule(found)
    ],
)
def test_everything_public_has_an_example(found):
    assert ">>> " in inspect.getdoc(found)


def test_the_types_of_the_package_are_there_for_who_installs_it():
    assert (Path(amici_xr.__file__).parent / "py.typed").is_file()


def test_the_table_of_the_schema_has_every_row_once(tables):
    rows = re.findall(
        r"^\| `(\w+)` \|", tables.schema_table(False) + "\n" + tables.schema_table(True), re.M
    )
    assert sorted(rows) == sorted(SCHEMA)


def test_the_table_of_methods_has_every_method_with_its_function(tables):
    rows = re.findall(r"`ds\.(\w+)\.(\w+)\(…\) <amici_xr\.(\w+)>`", tables.method_table())
    methods = {("cf", name) for name in vars(CounterfactualMethods) if not name.startswith("_")}
    methods |= {("amici", name) for name in vars(AmiciAccessor) if not name.startswith("_")}
    assert {(accessor, method) for accessor, method, _ in rows} == methods
    assert all(method == function for _, method, function in rows)
    assert {function for *_, function in rows} <= set(amici_xr.__all__)


def test_the_help_of_a_command_line_names_every_command_and_option(tables):
    tool, draw = App(name="tool", help="All of it."), App(name="draw", help="Figures.")
    tool.command(draw)

    @draw.command
    def curve(*, head: Annotated[str, Parameter(help="Which one.")]):
        """One figure."""

    help_of = dict(tables.help_of(tool))
    assert list(help_of) == ["tool", "tool draw", "tool draw curve"]
    assert re.search(r"draw +Figures\.", help_of["tool"])
    assert re.search(r"--head STR +Which one\.", help_of["tool draw curve"])


def test_every_page_hangs_in_the_tree_of_contents():
    hanging = {
        page.parent / f"{entry}.md"
        for page in PAGES
        for tree in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
        for entry in re.findall(r"^(?!:)(?:.*<)?([\w/]+)>?$", tree, re.MULTILINE)
    }
    assert hanging == set(PAGES) - {DOCS / "index.md"}


@pytest.mark.parametrize("page", TEXTS, ids=names)
def test_a_link_to_a_file_leads_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if "://" not in link and not link.startswith("#"):
            assert (page.parent / link.partition("#")[0]).is_file(), link


@pytest.mark.parametrize("page", TEXTS, ids=names)
def test_a_picture_that_is_shown_is_there(page):
    shown = re.findall(r"```\{image\} (\S+)|<img[^>]* src=\"([^\"]+)\"", page.read_text("utf-8"))
    for picture in filter(None, (one for pair in shown for one in pair)):
        assert (page.parent / picture).is_file(), picture


@pytest.mark.parametrize("page", [*PAGES, GLOSSARY], ids=names)
def test_every_term_that_is_linked_is_in_the_glossary(page):
    glossary = GLOSSARY.read_text("utf-8")
    defined = {term.lower() for term in re.findall(r"^(\w.*)$(?=\n  \S)", glossary, re.MULTILINE)}
    for shown, target in re.findall(r"\{term\}`([^`<]+?)(?: <([^>]+)>)?`", page.read_text("utf-8")):
        assert (target or " ".join(shown.split())).lower() in defined


def test_the_page_on_length_scales_and_the_docstring_name_the_same_statuses():
    page = (DOCS / "length_scales.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert len(rows) == 6
    assert all(f"``{status}``" in inspect.getdoc(support) for status in rows)


def test_the_code_of_the_readme_is_that_of_the_first_page():
    def first_example(path):
        return re.findall(r"```python\n(.*?)```", path.read_text("utf-8"), re.DOTALL)[0]

    assert first_example(ROOT / "README.md") == first_example(DOCS / "index.md")


def test_links_that_lead_nowhere_and_what_is_fetched_from_elsewhere_are_found(
    check_pages, tmp_path
):
    head = '<script src="https://cdn.example/x.js"></script><h1 id="here">a</h1>'
    links = ["#here", "other.html#there", "https://example.org", "#nowhere", "absent.html"]
    body = "".join(f'<a href="{link}">b</a>' for link in links)
    (tmp_path / "one.html").write_text(head + body)
    (tmp_path / "other.html").write_text('<p id="there">c</p><img src="absent.png">')
    assert check_pages.problems(tmp_path) == [
        "one.html: fetches https://cdn.example/x.js",
        "one.html: #nowhere has no such anchor",
        "one.html: absent.html is not there",
        "other.html: absent.png is not there",
    ]


def test_a_folder_without_pages_is_no_success(check_pages, tmp_path):
    assert check_pages.problems(tmp_path) == [f"{tmp_path}: no pages"]
