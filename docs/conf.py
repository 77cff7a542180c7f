"""How Sphinx builds these pages: `make docs`, which fails on a warning."""

import importlib.metadata
import os
import sys
from pathlib import Path

import numpy.typing

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_extensions"))

# A union of ten types, which Sphinx would spell out; before the package is imported.
numpy.typing.ArrayLike = type("ArrayLike", (), {"__module__": "numpy.typing"})

# Cells run in processes of their own, which read this profile and none of the user's: warnings are
# errors there, as in the tests.
PROFILE = HERE / "_build" / "ipython" / "profile_default"
PROFILE.mkdir(parents=True, exist_ok=True)
(PROFILE / "ipython_kernel_config.py").write_text(
    """\
import warnings
for category in (UserWarning, RuntimeWarning, FutureWarning):
    warnings.simplefilter("error", category)
c.IPKernelApp.log_level = 40  # that its sockets are on this machine alone need not be said
""",
    encoding="utf-8",
)
os.environ["IPYTHONDIR"] = str(PROFILE.parent)

project = "amici_xr"
author = "The amici_xr developers"
copyright = author
release = importlib.metadata.version("amici-xr")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "myst_nb",
    "sphinx_copybutton",
    "made_from_code",
    "offline_math",
]
exclude_patterns = ["_build", "_extensions", "**.ipynb_checkpoints"]
templates_path = ["_templates"]

# Every name that a page links to has to be there; only those of other packages are elsewhere.
nitpicky = True
nitpick_ignore_regex = [
    (
        r"py:.*",
        r"(anndata|collections|hypothesis|matplotlib|numpy|os|pandas|spatialdata|torch|xarray)\..*",
    ),
    (
        r"py:.*",
        r"(typing\.)?(Any|Literal|ArrayLike|NDArray|Mapping|Sequence|Axes|Path|PathLike|Figure)",
    ),
    (r"py:.*", r"(st\.|xr\.|np\.|pd\.|ad\.).*"),
    (r"py:class", r"(bool|int|float|str|tuple|list|dict|frozenset|KeyError|ValueError|object)"),
    (r"py:class", r"SearchStrategy.*"),
    # names of the choices of an argument, which its description lists
    (r"py:class", r"Palette|Scores|Statistic|OneRunUnit|Competitors|HeadSummary|(\w+\.)?Kind"),
]

# Cells are run when the pages are built, each page in an empty folder of its own.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_output_stderr = "remove"  # progress bars
nb_ipywidgets_js = {}  # from the network; there are no widgets
nb_merge_streams = True
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3

default_role = "autolink"
add_function_parentheses = True
autosummary_generate = True
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True
napoleon_google_docstring = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "pydata_sphinx_theme"
html_title = "amici_xr"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_show_sourcelink = False
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system is
html_theme_options = {
    "logo": {"text": "amici_xr"},
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "show_prev_next": True,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
    "header_links_before_dropdown": 6,
    "secondary_sidebar_items": {"how_to/*": [], "generated/*": []},
}
PAGES_WITHOUT_PAGES_BELOW = (
    "index tour length_scales schema glossary changelog security contributing"
)
html_sidebars = {page: [] for page in PAGES_WITHOUT_PAGES_BELOW.split()}
