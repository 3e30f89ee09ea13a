"""Settings of Sphinx: `make docs` builds docs/ as web pages in build/docs, without a warning."""

from typing import Any

from pygments.lexers.special import TextLexer
from sphinx.highlighting import lexers

from sevhisto import __version__

project = "sevhisto"
copyright = "the sevhisto developers"  # noqa: A001
release = __version__
extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"sevhisto {__version__}"
html_copy_source = False
html_show_sphinx = False
exclude_patterns = ["generate.py"]
nitpicky = True
lexers["csv"] = TextLexer()


def to_measured(_app: Any, _name: str, source: list[str]) -> None:
    """Let links to the results in benchmarks/, which lie outside of these pages, lead to the page that includes them."""
    source[0] = source[0].replace("(../benchmarks/RESULTS.md", "(measured.md")


def setup(app: Any) -> None:
    """Tell Sphinx."""
    app.connect("source-read", to_measured)
