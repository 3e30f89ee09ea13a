"""How every figure looks, on the report's page or a journal's, and how it becomes a file: the same bytes for the same data, and no text
that acts.
"""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

P = ParamSpec("P")

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK, SOFT, FAINT, WARN = "#222222", "#6b6b6b", "#c9c9c9", "#9a3412"
FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

_RC = {
    "svg.fonttype": "none",
    "pdf.fonttype": 42,  # text stays text, so that it can be edited
    "svg.hashsalt": "sevhisto",
    "text.parse_math": False,  # a name with $ in it is a name
    "axes.unicode_minus": True,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.titlesize": "medium",
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "hatch.linewidth": 1.0,
}


_STAMP: ContextVar[str] = ContextVar("stamp", default="")
STAMP_WORDS = {"unblinded_study": "not blinded", "changed_after_unblinding": "changed after unblinding"}


@dataclass(frozen=True)
class Page:
    """Width of a figure (inches) and size of its text (points); inside a figure everything is laid out in em, the size of the text."""

    width_in: float
    font_pt: float

    @property
    def width(self) -> float:
        """Width in em."""
        return self.width_in / self.em_in

    @property
    def em_in(self) -> float:
        """One em in inches."""
        return self.font_pt / 72

    def figure(self, height: float, width: float | None = None) -> Figure:
        """Return an empty figure of this height (em), as wide as the page or `width` (em)."""
        return Figure(figsize=(self.width_in if width is None else width * self.em_in, (height + _strip()) * self.em_in))

    def rect(self, figure: Figure, left: float, bottom: float, right: float, top: float) -> tuple[float, float, float, float]:
        """Return margins (em) as left, bottom, width and height in fractions of the figure, for `add_axes`."""
        w, h = (v / self.em_in for v in figure.get_size_inches())
        bottom += _strip()
        return left / w, bottom / h, max(w - left - right, 1) / w, max(h - bottom - top, 1) / h

    def grid(self, figure: Figure, left: float, bottom: float, right: float, top: float) -> None:
        """Set the same margins for the subplots of the figure."""
        x, y, w, h = self.rect(figure, left, bottom, right, top)
        figure.subplots_adjust(left=x, bottom=y, right=x + w, top=y + h)


def _strip() -> float:
    """Return the height (em) that a stamp takes below a figure."""
    return 1.4 if _STAMP.get() else 0.0


REPORT = Page(10.0, 9.0)
COLUMN = Page(85 / 25.4, 6.5)
FULL_WIDTH = Page(174 / 25.4, 7.0)
_PAGE: ContextVar[Page] = ContextVar("page", default=REPORT)


@contextmanager
def on_page(page: Page) -> Iterator[None]:
    """Draw every figure inside for `page`."""
    token = _PAGE.set(page)
    try:
        yield
    finally:
        _PAGE.reset(token)


def current_page() -> Page:
    """Return the page that is drawn for."""
    return _PAGE.get()


def pt(points: float) -> float:
    """Return a line width or the size of a mark or letter, given for the report, at the scale of the page."""
    return points * _PAGE.get().font_pt / REPORT.font_pt


def rim() -> dict[str, Any]:
    """Return the white rim that keeps marks apart that overlap."""
    return {"markeredgecolor": "white", "markeredgewidth": pt(0.4)}


@dataclass(frozen=True)
class Drawing:
    """A figure, what it shows in words, and its numbers: one row per mark."""

    figure: Figure
    alt: str
    data: pd.DataFrame


@contextmanager
def quiet_style() -> Iterator[None]:
    """Apply the report's style, whatever the user's matplotlibrc says."""
    with warnings.catch_warnings(), mpl.rc_context():
        # the reader's own fonts draw the text; that the layout font lacks a letter of a name is of no concern
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)  # type: ignore[arg-type]
        mpl.rcParams["font.size"] = current_page().font_pt
        for line in ("axes.linewidth", "xtick.major.width", "ytick.major.width"):
            mpl.rcParams[line] = pt(0.8)
        yield


def styled(draw: Callable[P, Drawing]) -> Callable[P, Drawing]:
    """Decorate a figure function so that it runs in the report's style."""

    @wraps(draw)
    def inner(*args: P.args, **kwargs: P.kwargs) -> Drawing:
        with quiet_style():
            return draw(*args, **kwargs)

    return inner


def look(index: int) -> tuple[str, str]:
    """Return colour and marker of group number `index`; past the seventh the pairs are shifted, so none repeats before 49."""
    n = len(OKABE_ITO)
    return OKABE_ITO[index % n], MARKERS[(index + index // n) % n]


@contextmanager
def stamp_figures(flags: Iterable[str]) -> Iterator[None]:
    """Write flags of the whole study onto every figure that is drawn inside: a figure can be taken out of its report."""
    words = sorted(set(flags) & set(STAMP_WORDS))
    token = _STAMP.set("; ".join(STAMP_WORDS[f] for f in words))
    try:
        yield
    finally:
        _STAMP.reset(token)


def stamp_text() -> str:
    """Return what `stamp_figures` writes here; empty where it writes nothing."""
    return _STAMP.get()


def put_stamp(figure: Figure, on_picture: tuple[str, str] | None = None) -> None:
    """Write the stamp, if there is one, into the figure's lower right corner; on a picture into its upper one, in ink and halo."""
    if not _STAMP.get() or any(t.get_gid() == "stamp" for t in figure.texts):
        return
    where = figure.text(
        0.99, 0.99 if on_picture else 0.004, _STAMP.get(), ha="right", va="top" if on_picture else "bottom", fontsize=pt(7.5)
    )
    where.set(color=on_picture[0] if on_picture else WARN, gid="stamp")
    if on_picture:  # a halo would turn the text of an SVG into paths, which nobody can search
        where.set_path_effects([withStroke(linewidth=2.2, foreground=on_picture[1])])


def inline(drawing: Drawing, ident: str) -> str:
    """Return a drawing as an ``<svg>`` element for HTML, its ids starting with `ident`."""
    with quiet_style():
        return to_svg(drawing.figure, ident, drawing.alt)


def to_svg(figure: Figure, ident: str, alt: str) -> str:
    """Return `figure` as an ``<svg>`` element for HTML, its ids starting with `ident`, read aloud as `alt`."""
    put_stamp(figure)
    svg = _svg(figure)
    svg = re.sub(r"<[^>]*>", lambda tag: _own_tag(tag.group(), ident), svg)
    width, height = (float(v) * 96 for v in figure.get_size_inches())
    size = f'width="{width:.0f}" height="{height:.0f}" role="img" aria-label="{html.escape(alt)}" '
    root, rest = svg[: svg.index(">")], svg[svg.index(">") :]
    return re.sub(r"\s*\b(?:width|height|version)=\"[^\"]*\"", "", root).replace("<svg", f"<svg {size.strip()}", 1) + rest.strip()


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = text.getvalue()
    return re.sub(r"<!--.*?-->", "", svg[svg.index("<svg") :], flags=re.DOTALL)


def svg_file(drawing: Drawing) -> bytes:
    """Return a drawing as the bytes of an SVG file whose text can be edited; its description is told to readers of screens."""
    with quiet_style():
        put_stamp(drawing.figure)
        svg = re.sub(r"<[^>]*>", lambda tag: _own_tag(tag.group(), "fig"), _svg(drawing.figure))
    end = svg.index(">") + 1
    return f"{svg[:end]}<desc>{html.escape(drawing.alt)}</desc>{svg[end:]}".encode()


def pdf_file(drawing: Drawing) -> bytes:
    """Return a drawing as the bytes of a PDF whose text can be edited."""
    out = io.BytesIO()
    with quiet_style():
        put_stamp(drawing.figure)
        drawing.figure.savefig(out, format="pdf", metadata=dict.fromkeys(("CreationDate", "ModDate", "Producer", "Creator")))
    return out.getvalue()


def _own_tag(tag: str, ident: str) -> str:
    """Return the tag with its ids made unique in the page and the page's fonts."""
    tag = re.sub(r'(?<=\sid=")|(?<=href="#)|(?<=url\(#)', f"{ident}-", tag)
    return re.sub(r"'DejaVu Sans'(, [^;\"]*)?", FONTS, tag)


def legend(figure: Figure, names: Sequence[str], left: float, top: float, numbers: Sequence[int] | None = None) -> None:
    """Write the groups with their markers downwards from `left` and `top` (em from the upper left corner).

    `numbers` : which groups these are, where some are left out.
    """
    page = current_page()
    w, h = (v / page.em_in for v in figure.get_size_inches())
    for i, name in enumerate(names):
        colour, marker = look(i if numbers is None else numbers[i])
        x, y = left / w, 1 - (top + 1.7 * i) / h
        mark = Line2D([x], [y], marker=marker, color=colour, markersize=pt(6), linestyle="none", transform=figure.transFigure)
        figure.add_artist(mark)
        figure.text(x + 1.0 / w, y, shorten(name, 24), va="center")


def shorten(name: str, limit: int) -> str:
    """Return `name`, cut with an ellipsis where it would run into its neighbours; the tables hold the whole name."""
    return name if len(name) <= limit else name[: limit - 1] + "…"


def pad_limits(ax: Axes, values: Sequence[float], axis: str, include_zero: bool = True) -> None:
    """Set the limits so that all finite values (and zero) are inside with a margin."""
    finite = np.asarray([v for v in values if np.isfinite(v)] + ([0.0] if include_zero else []))
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    pad = 0.06 * (high - low) or 0.5
    limits = (low if low == 0 and include_zero else low - pad, high + pad)
    (ax.set_ylim if axis == "y" else ax.set_xlim)(*limits)
