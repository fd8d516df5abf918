"""How Sphinx makes the site: `make docs`. The pages are plain Markdown and read as well where this is not used."""

import sys
import tomllib
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS / "site"), str(DOCS.parent / "src")]

project = "Voxgate"
copyright = "the Voxgate authors"
release = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

extensions = ["sphinx.ext.autodoc", "myst_parser", "sphinx_copybutton", "contents", "captions", "signatures", "sources"]
exclude_patterns = ["site", "figures", "diagrams", "schema"]
nitpicky = True
smartquotes = False  # --verbose is no dash
myst_enable_extensions = ["tasklist"]
myst_heading_anchors = 4  # the links of GitHub: page.md#a-heading
myst_links_external_new_tab = False

# docs/python-api.md
default_role = "code"  # single backticks are code, in docstrings as in Markdown
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True  # what the code says, and not what it was here
autodoc_type_aliases = {
    "npt.ArrayLike": "numpy.typing.ArrayLike",
    "Source": "voxgate.client.Source",
    "Event": "voxgate.protocol.Event",
    "Format": "voxgate.protocol.Format",
}
# What is not ours is described elsewhere, and what is not public nowhere.
nitpick_ignore_regex = [
    ("py:class", r"(collections|dataclasses|msgspec|numpy|opentelemetry|os|pathlib|ssl|types|websockets)\..+"),
    (
        "py:class",
        r"voxgate\.(_native|load)\..+|voxgate\.config\.settings\..+Settings|voxgate\.vad\.turns\.config\.TurnConfig",
    ),
    ("py:class", r"Buffer|array|npt?\..+"),  # of typing_extensions, of the module of that name, and of NumPy
]
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"Voxgate {release}"
html_static_path = ["site/static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1d4ed8", "color-brand-content": "#1d4ed8"},
    "dark_css_variables": {"color-brand-primary": "#93c5fd", "color-brand-content": "#93c5fd"},
}
pygments_style = "friendly"
pygments_dark_style = "github-dark"
