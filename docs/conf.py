"""How Sphinx makes the site: `make docs`. The pages are plain Markdown and read as well where this is not used."""

import sys
import tomllib
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS / "site"), str(DOCS.parent / "src")]

project = "Voxgate"
copyright = "the Voxgate authors"
release = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

extensions = ["sphinx.ext.autodoc", "myst_parser", "sphinx_copybutton"]
extensions += ["contents", "captions", "landing", "signatures", "sources"]  # docs/site
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
    ("py:class", r"(np|npt)\..+"),  # of numpy, in annotations that autodoc cannot evaluate
    ("py:class", r"voxgate\.(_native|load)\..+|voxgate\.config\.settings\..+Settings"),
    ("py:class", r"voxgate\.vad\.turns\.config\.TurnConfig"),
    ("py:class", r"Buffer|array"),  # of typing_extensions, and of the module of that name
]
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"Voxgate {release}"
html_static_path = ["site/static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_copy_source = False
html_show_sphinx = False
html_favicon = "../src/voxgate/web/icon.svg"
# The colours are those of the server's own page: src/voxgate/web/style.css.
html_theme_options = {
    "light_logo": "logo-light.svg",
    "dark_logo": "logo-dark.svg",
    "sidebar_hide_name": True,
    "light_css_variables": {
        "color-brand-primary": "#0f766e",
        "color-brand-content": "#0f766e",
        "color-brand-visited": "#0f766e",
        "color-foreground-primary": "#16211f",
        "color-foreground-secondary": "#5a6967",
        "color-foreground-muted": "#5f6e6c",
        "color-background-secondary": "#f4f6f6",
        "color-background-border": "#dde4e3",
        "color-sidebar-link-text--top-level": "#16211f",
        "color-accent-ink": "#ffffff",
    },
    "dark_css_variables": {
        "color-brand-primary": "#2dd4bf",
        "color-brand-content": "#2dd4bf",
        "color-brand-visited": "#2dd4bf",
        "color-foreground-primary": "#e6eeec",
        "color-foreground-secondary": "#9aaba8",
        "color-foreground-muted": "#93a4a1",
        "color-background-primary": "#0e1514",
        "color-background-secondary": "#16201e",
        "color-background-hover": "#1b2826ff",
        "color-background-border": "#2a3836",
        "color-code-background": "#16201e",
        "color-sidebar-link-text--top-level": "#e6eeec",
        "color-accent-ink": "#06231f",
    },
}
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "github-dark"
