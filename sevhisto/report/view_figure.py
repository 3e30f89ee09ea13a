"""What a person sees in the viewer as a figure for a publication: channels, outlines, scale bar, legend and an inset, as PNG or SVG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from sevhisto.report.canvas import INK, put_stamp, quiet_style, shorten, stamp_text
from sevhisto.report.overlay import RGB, scale_bar_um
from sevhisto.types import AnyArray, BoolArray, DoubleArray, FloatArray

MM_PER_IN = 25.4
DPI = 300
WIDTHS_MM = {"one column": 85.0, "two columns": 174.0}
LEGEND_ROW_MM, LEGEND_COLUMN_MM, LEGEND_LETTERS = 4.5, 28, 18
INSET_SHARE = 0.34
FONT_PT = 7.0
SUFFIXES = (".png", ".svg")


@dataclass(frozen=True)
class Field:
    """A rectangle of the slide, in um."""

    y0: float
    y1: float
    x0: float
    x1: float

    @property
    def height(self) -> float:
        """Its height (um)."""
        return self.y1 - self.y0

    @property
    def width(self) -> float:
        """Its width (um)."""
        return self.x1 - self.x0

    def holds(self, other: Field) -> bool:
        """Whether another one lies in it."""
        return self.y0 <= other.y0 and other.y1 <= self.y1 and self.x0 <= other.x0 and other.x1 <= self.x1


@dataclass(frozen=True)
class Plane:
    """Pixels somewhere on the slide: `values` (h, w, ...), the centre of the first at `corner_um` (y, x)."""

    values: AnyArray
    um_per_px: float
    corner_um: tuple[float, float]

    def at(self, field: Field, shape: tuple[int, int]) -> tuple[AnyArray, BoolArray]:
        """Return the values at the centres of the `shape` pixels of a field, and where there are any; smaller pixels are averaged."""
        step = field.width / shape[1]
        factor = max(1, int(step / self.um_per_px)) if self.values.dtype.kind == "f" or self.values.ndim == 3 else 1
        values, um = _averaged(self.values, factor), self.um_per_px * factor
        corner = [c + (factor - 1) / 2 * self.um_per_px for c in self.corner_um]
        y = np.rint((field.y0 + (np.arange(shape[0]) + 0.5) * field.height / shape[0] - corner[0]) / um).astype(int)
        x = np.rint((field.x0 + (np.arange(shape[1]) + 0.5) * step - corner[1]) / um).astype(int)
        inside = ((y >= 0) & (y < values.shape[0]))[:, None] & ((x >= 0) & (x < values.shape[1]))
        return values[np.clip(y, 0, values.shape[0] - 1)][:, np.clip(x, 0, values.shape[1] - 1)], inside


def _averaged(values: AnyArray, factor: int) -> AnyArray:
    h, w = (n // factor * factor for n in values.shape[:2])
    if factor == 1 or not h or not w:
        return values
    blocks = values[:h, :w].reshape(h // factor, factor, w // factor, factor, *values.shape[2:])
    return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float32))


@dataclass(frozen=True)
class Channel:
    """A channel as it is shown: intensity between `limits` to the power of `gamma`, through `colours` (n, 3), 0 to 1; or a colour image."""

    name: str
    plane: Plane
    limits: tuple[float, float] = (0.0, 1.0)
    gamma: float = 1.0
    colours: DoubleArray | None = None


@dataclass(frozen=True)
class Outline:
    """A thing that is drawn as a line (or `filled`): the border of a mask, or rings of points y, x (um)."""

    name: str
    colour: tuple[float, float, float]
    mask: Plane | None = None
    rings: tuple[DoubleArray, ...] = ()
    filled: bool = False


@dataclass(frozen=True)
class View:
    """What is shown: channels from the lowest up, what lies on them, and points (name, colour, y and x in um (n, 2))."""

    field: Field
    channels: Sequence[Channel]
    outlines: Sequence[Outline] = ()
    points: Sequence[tuple[str, tuple[float, float, float], DoubleArray]] = ()


def picture(channels: Sequence[Channel], field: Field, shape: tuple[int, int]) -> RGB:
    """Return the channels of a field, (h, w, 3) uint8: intensities are added on black, a colour image lies on white."""
    bright = any(c.colours is None for c in channels)
    total: FloatArray = np.full((*shape, 3), 1.0 if bright else 0.0, np.float32)
    for channel in channels:
        values, inside = channel.plane.at(field, shape)
        if channel.colours is None:
            dtype = channel.plane.values.dtype
            scale = np.iinfo(dtype).max if dtype.kind in "iu" else 1
            total[inside] = np.asarray(values, np.float32)[inside][:, :3] / scale
        else:
            low, high = channel.limits
            level = np.clip((values.astype(np.float32) - low) / max(high - low, 1e-9), 0, 1) ** channel.gamma
            table = channel.colours[np.rint(level * (len(channel.colours) - 1)).astype(int)]
            total += np.where(inside[..., None], table, 0).astype(np.float32)
    return np.asarray(np.rint(np.clip(total, 0, 1) * 255), np.uint8)


def view_figure(view: View, width_mm: float = WIDTHS_MM["one column"], inset: View | None = None, bar: bool = True) -> Figure:
    """Return the view as a figure of a given width, at 300 dots per inch.

    Parameters
    ----------
    inset : shown small in the upper right corner. Where it lies in the view it is magnified, and its place is framed; where the view lies
        in it, the place of the view is
    bar : draw a scale bar, of 1, 2 or 5 times a power of ten
    """
    names = [(c.name, tuple(c.colours[-1])) for c in view.channels if c.colours is not None]
    names += [(o.name, o.colour) for o in view.outlines if o.name] + [(n, c) for n, c, at in view.points if len(at)]
    columns = max(1, int(width_mm // LEGEND_COLUMN_MM))
    rows = -(-len(names) // columns) + bool(stamp_text())  # the stamp stands below the legend
    legend_mm = LEGEND_ROW_MM * rows
    image_mm = width_mm * view.field.height / view.field.width
    with quiet_style():
        figure = Figure(figsize=(width_mm / MM_PER_IN, (image_mm + legend_mm) / MM_PER_IN), dpi=DPI)
        ax = figure.add_axes((0, legend_mm / (image_mm + legend_mm), 1, image_mm / (image_mm + legend_mm)))
        _draw(ax, view, width_mm, bar)
        if inset is not None:
            _inset(figure, ax, view, inset, width_mm, image_mm)
        for i, (name, colour) in enumerate(names):
            x, y = (i % columns) / columns + 0.01, legend_mm - (i // columns + 0.5) * LEGEND_ROW_MM
            _legend_entry(figure, name, colour, x, y / (image_mm + legend_mm), width_mm, image_mm + legend_mm)
        put_stamp(figure)
    return figure


def _bright(view: View) -> bool:
    return any(c.colours is None for c in view.channels)


def _draw(ax: Axes, view: View, width_mm: float, bar: bool) -> None:
    field = view.field
    shape = _pixels(field, width_mm)
    extent = (field.x0, field.x1, field.y1, field.y0)
    ax.imshow(picture(view.channels, field, shape), extent=extent, interpolation="nearest")
    for outline in view.outlines:
        if outline.mask is not None:
            _mask(ax, outline, field, shape)
        for ring in outline.rings:
            ax.add_patch(Polygon(ring[:, ::-1], closed=True, fill=False, edgecolor=outline.colour, linewidth=0.8))
    for _, colour, at in view.points:
        ax.plot(at[:, 1], at[:, 0], "o", color=colour, markersize=1.2, markeredgewidth=0)
    ax.set(xlim=(field.x0, field.x1), ylim=(field.y1, field.y0))
    ax.set_axis_off()
    if bar:
        _scale_bar(ax, field, "black" if _bright(view) else "white")


def _pixels(field: Field, width_mm: float) -> tuple[int, int]:
    w = max(1, round(width_mm / MM_PER_IN * DPI))
    return max(1, round(w * field.height / field.width)), w


def _mask(ax: Axes, outline: Outline, field: Field, shape: tuple[int, int]) -> None:
    assert outline.mask is not None
    values, inside = outline.mask.at(field, shape)
    shown = (values > 0) & inside
    if outline.filled:
        layer = np.zeros((*shape, 4))
        layer[shown] = (*outline.colour, 0.5)
        ax.imshow(layer, extent=(field.x0, field.x1, field.y1, field.y0), interpolation="nearest")
    elif shown.any() and not shown.all():
        y = field.y0 + (np.arange(shape[0]) + 0.5) * field.height / shape[0]
        x = field.x0 + (np.arange(shape[1]) + 0.5) * field.width / shape[1]
        ax.contour(x, y, shown.astype(float), levels=[0.5], colors=[outline.colour], linewidths=[0.8])


def _scale_bar(ax: Axes, field: Field, ink: str) -> None:
    length = scale_bar_um(field.width)
    pad, thick = 0.03 * field.width, 0.012 * field.width
    ax.add_patch(Rectangle((field.x1 - pad - length, field.y1 - pad - thick), length, thick, facecolor=ink, linewidth=0))
    text = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"
    ax.text(field.x1 - pad, field.y1 - pad - 1.6 * thick, text, color=ink, ha="right", va="bottom", fontsize=FONT_PT)


def _inset(figure: Figure, main: Axes, view: View, inset: View, width_mm: float, image_mm: float) -> None:
    """Draw the inset; it never takes more than its share of the figure's width or of the image's height."""
    field = inset.field
    scale = min(INSET_SHARE * width_mm / field.width, INSET_SHARE * 1.2 * image_mm / field.height)
    w, h = field.width * scale / width_mm, field.height * scale / float(figure.get_figheight()) / MM_PER_IN
    ink = "black" if _bright(view) else "white"
    ax = figure.add_axes((0.985 - w, 1 - h - 0.015 * width_mm / float(figure.get_figheight()) / MM_PER_IN, w, h))
    magnified = view.field.holds(field)
    _draw(ax, inset, field.width * scale, magnified)
    ax.add_patch(Rectangle((0, 0), 1, 1, transform=ax.transAxes, fill=False, edgecolor=ink, linewidth=1.2, clip_on=False))
    framed, on = (field, main) if magnified else (view.field, ax)
    on.add_patch(Rectangle((framed.x0, framed.y0), framed.width, framed.height, fill=False, edgecolor=ink, linewidth=0.8))


def _legend_entry(figure: Figure, name: str, colour: Any, x: float, y: float, width_mm: float, height_mm: float) -> None:
    side = 2.4
    at = (x, y - side / 2 / height_mm)
    square = Rectangle(at, side / width_mm, side / height_mm, facecolor=colour, edgecolor=INK, linewidth=0.4)
    square.set_transform(figure.transFigure)
    figure.add_artist(square)
    figure.text(x + (side + 1) / width_mm, y, shorten(name, LEGEND_LETTERS), ha="left", va="center", fontsize=FONT_PT, color=INK)


def figure_bytes(figure: Figure, path: PurePath) -> bytes:
    """Return a figure as the ending of `path` says, PNG or SVG; text in an SVG stays text. ValueError for another ending."""
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise ValueError(f"{kind!r} is none of {', '.join(SUFFIXES)}")
    out = io.BytesIO()
    with quiet_style():
        none = dict.fromkeys(("Date", "Creator") if kind == ".svg" else ("Software",))
        figure.savefig(out, format=kind[1:], dpi=DPI, metadata=none, facecolor="white")
    return out.getvalue()
