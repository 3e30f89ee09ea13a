"""How every figure of the report looks, and how it becomes inline SVG: the same bytes for the same data, and no text that acts."""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import ParamSpec

import matplotlib as mpl
import numpy as np
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
    "svg.hashsalt": "sevhisto",
    "text.parse_math": False,  # a name with $ in it is a name
    "axes.unicode_minus": True,
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.titlesize": 9.0,
    "axes.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "hatch.linewidth": 1.0,
}


@contextmanager
def quiet_style() -> Iterator[None]:
    """Apply the report's style, whatever the user's matplotlibrc says."""
    with warnings.catch_warnings(), mpl.rc_context():
        # the reader's own fonts draw the text; that the layout font lacks a letter of a name is of no concern
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)  # type: ignore[arg-type]
        yield


def styled(draw: Callable[P, str]) -> Callable[P, str]:
    """Decorate a figure function so that it runs in the report's style."""

    @wraps(draw)
    def inner(*args: P.args, **kwargs: P.kwargs) -> str:
        with quiet_style():
            return draw(*args, **kwargs)

    return inner


def look(index: int) -> tuple[str, str]:
    """Return colour and marker of group number `index`; past the seventh the pairs are shifted, so none repeats before 49."""
    n = len(OKABE_ITO)
    return OKABE_ITO[index % n], MARKERS[(index + index // n) % n]


_STAMP: ContextVar[str] = ContextVar("stamp", default="")
STAMP_WORDS = {"unblinded_study": "not blinded", "changed_after_unblinding": "changed after unblinding"}


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
    if not _STAMP.get():
        return
    where = figure.text(0.99, 0.99 if on_picture else 0.004, _STAMP.get(), ha="right", va="top" if on_picture else "bottom", fontsize=7.5)
    where.set_color(on_picture[0] if on_picture else WARN)
    if on_picture:  # a halo would turn the text of an SVG into paths, which nobody can search
        where.set_path_effects([withStroke(linewidth=2.2, foreground=on_picture[1])])


def to_svg(figure: Figure, ident: str, alt: str) -> str:
    """Return `figure` as an ``<svg>`` element for HTML, its ids starting with `ident`, read aloud as `alt`."""
    put_stamp(figure)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = text.getvalue()
    svg = re.sub(r"<!--.*?-->", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r"<[^>]*>", lambda tag: _own_tag(tag.group(), ident), svg)
    width, height = (float(v) * 96 for v in figure.get_size_inches())
    size = f'width="{width:.0f}" height="{height:.0f}" role="img" aria-label="{html.escape(alt)}" '
    root, rest = svg[: svg.index(">")], svg[svg.index(">") :]
    return re.sub(r"\s*\b(?:width|height|version)=\"[^\"]*\"", "", root).replace("<svg", f"<svg {size.strip()}", 1) + rest.strip()


def _own_tag(tag: str, ident: str) -> str:
    """Return the tag with its ids made unique in the page and the page's fonts."""
    tag = re.sub(r'(?<=\sid=")|(?<=href="#)|(?<=url\(#)', f"{ident}-", tag)
    return re.sub(r"'DejaVu Sans'(, [^;\"]*)?", FONTS, tag)


def legend(figure: Figure, names: Sequence[str], left: float, top: float, step: float, numbers: Sequence[int] | None = None) -> None:
    """Write the groups with their markers from (left, top) downwards, in fractions of the figure; `numbers` where some are left out."""
    for i, name in enumerate(names):
        colour, marker = look(i if numbers is None else numbers[i])
        y = top - i * step
        figure.add_artist(Line2D([left], [y], marker=marker, color=colour, markersize=6, linestyle="none", transform=figure.transFigure))
        figure.text(left + 0.014, y, shorten(name, 24), va="center")


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
