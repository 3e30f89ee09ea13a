"""What the program saw: a section's channels as one picture, with the outlines it measured by."""

from __future__ import annotations

import io
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from contourpy import FillType, LineType, contour_generator
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Affine2D, Transform
from PIL import Image, ImageChops

from sevhisto.report.canvas import put_stamp, quiet_style
from sevhisto.types import AnyArray, DoubleArray, FloatArray, Shown, decode_thumbnail

RGB = npt.NDArray[np.uint8]
Contrast = Mapping[str, tuple[float, float]]
"""Display range of each marker: the grey levels that are black and full colour."""
NO_CORE = 32767  # masks["distance"] of sections without a core

# told apart with every common colour vision: blue, green, magenta, yellow, orange, cyan, grey
ROLE_COLOURS: dict[str, tuple[tuple[float, float, float], ...]] = {
    "nuclei": ((0.20, 0.38, 1.0),),
    "landmark": ((0.05, 0.75, 0.50),),
    "macrophage": ((1.0, 0.20, 0.75), (1.0, 0.62, 0.25)),
    "ecm": ((1.0, 0.88, 0.20), (1.0, 0.45, 0.10)),
    "vessel": ((0.55, 0.65, 0.30),),
    "cell_body": ((1.0, 0.20, 0.75),),
    "tracer": ((0.35, 0.90, 1.0),),
    "autofluorescence": ((0.28, 0.28, 0.28),),
    "other": ((0.75, 0.75, 0.75), (1.0, 0.45, 0.10), (0.35, 0.90, 1.0)),
}
_BY_ORDER = ("nuclei", "landmark", "macrophage", "ecm", "tracer", "other")


def channel_colours(markers: Sequence[str], roles: Mapping[str, str] | None = None) -> dict[str, tuple[float, float, float]]:
    """Return the colour (RGB, 0 to 1) of each marker by its role; without roles, by its place in the panel."""
    seen: dict[str, int] = {}
    colours = {}
    for i, marker in enumerate(markers):
        role = (roles or {}).get(marker) or ("other" if roles else _BY_ORDER[min(i, len(_BY_ORDER) - 1)])
        shades = ROLE_COLOURS.get(role, ROLE_COLOURS["other"])
        colours[marker] = shades[seen.get(role, 0) % len(shades)]
        seen[role] = seen.get(role, 0) + 1
    return colours


def tissue_histograms(record: Shown) -> dict[str, npt.NDArray[np.int64]]:
    """Return, per marker, how many tissue pixels of the thumbnail have each of its 256 codes."""
    tissue = Image.fromarray(np.where(record.masks["tissue"] > 0, np.uint8(255), np.uint8(0)))
    planes = (Image.fromarray(_plane(record, i)) for i in range(len(record.markers)))
    return {marker: np.array(plane.histogram(tissue), np.int64) for marker, plane in zip(record.markers, planes, strict=True)}


def _plane(record: Shown, i: int) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(record.masks["thumbnail"][..., i])


def batch_contrast(
    histograms: Iterable[Mapping[str, npt.NDArray[np.int64]]], low: float = 1.0, high: float = 99.8
) -> dict[str, tuple[float, float]]:
    """Return one display range per marker (grey levels) for all sections of a batch: percentiles pooled over their tissue.

    `histograms` : of `tissue_histograms`, of each section. A marker seen on no tissue gets (0, 1).
    """
    pooled: dict[str, npt.NDArray[np.int64]] = {}
    for own in histograms:
        for marker, counted in own.items():
            pooled[marker] = pooled.get(marker, np.zeros(256, np.int64)) + counted
    return {marker: _percentiles(histogram, low, high) for marker, histogram in pooled.items()}


def _percentiles(histogram: npt.NDArray[np.int64], low: float, high: float) -> tuple[float, float]:
    total = int(histogram.sum())
    if not total:
        return 0.0, 1.0
    share = np.cumsum(histogram) / total
    codes = np.array([int(np.searchsorted(share, p / 100)) for p in (low, high)], np.uint8)
    lo, hi = (float(v) for v in decode_thumbnail(codes))
    return (lo, hi) if hi > lo else (lo, lo + 1.0)


def composite(record: Shown, contrast: Contrast, roles: Mapping[str, str] | None = None) -> RGB:
    """Return the channels of the thumbnail as one picture, (h, w, 3) uint8; a colour image is shown as it is."""
    if "thumbnail_rgb" in record.masks:
        return np.asarray(record.masks["thumbnail_rgb"], np.uint8)
    levels = decode_thumbnail(np.arange(256, dtype=np.uint8))  # there are 256 codes and many pixels
    colours = channel_colours(record.markers, roles)
    shades = [Image.new("L", record.masks["thumbnail"].shape[1::-1]) for _ in "RGB"]
    for i, marker in enumerate(record.markers):
        low, high = contrast[marker]
        share: FloatArray = np.clip((levels - low) / max(high - low, 1e-6), 0, 1)
        plane = Image.fromarray(_plane(record, i))
        for c, weight in enumerate(colours[marker]):
            table = np.rint(255 * weight * share).astype(np.uint8).tolist()
            shades[c] = ImageChops.add(shades[c], plane.point(table))  # no brighter than 255
    return np.asarray(Image.merge("RGB", shades))


def overlay(
    record: Shown,
    contrast: Contrast,
    zones_um: Sequence[float],
    roles: Mapping[str, str] | None = None,
    max_px: int | None = None,
) -> RGB:
    """Return the section with its outlines drawn on it, (h, w, 3) uint8.

    Tissue is a thin white line, the core a bold orange one, cavity dashed blue, zone borders dotted, excluded area hatched. On colour
    images the white lines are black. A scale bar stands below right, the channel names above left.

    Parameters
    ----------
    contrast : display range of each marker, from `batch_contrast`
    zones_um : distances from the core's border at which zones end (um)
    roles : role of each marker, which gives its colour
    max_px : long side of the picture; None keeps one pixel per overview pixel
    """
    picture = Image.fromarray(composite(record, contrast, roles))
    scale = 1.0 if max_px is None else max_px / max(picture.size)
    size = (max(round(picture.width * scale), 1), max(round(picture.height * scale), 1))
    if size != picture.size:
        picture = picture.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC)
    with quiet_style():
        figure = Figure(figsize=(size[0] / 100, size[1] / 100), dpi=100)
        renderer = FigureCanvasAgg(figure).get_renderer()  # type: ignore[no-untyped-call]
        drawn = np.asarray(renderer.buffer_rgba())
        drawn[..., :3], drawn[..., 3] = np.asarray(picture), 255
        figure.patch.set_visible(False)
        on_picture = Affine2D().scale(1, -1).translate(0, size[1])  # rows are counted from above, a figure's pixels from below
        for artist in (*_outlines(record, zones_um, size), *_scale_bar(record, float(record.meta["overview_um"]) / scale, size)):
            figure.add_artist(artist).set_transform(on_picture)
        _labels(figure, record, float(record.meta["overview_um"]) / scale, size, roles, on_picture)
        put_stamp(figure, _inks(record))
        figure.draw(renderer)
        found = drawn[..., :3].copy()
        figure.clear()  # artists refer to each other: hundreds of figures would wait for the collector
        return found


def _inks(record: Shown) -> tuple[str, str]:
    """Return the colours of text and of its halo."""
    return ("black", "white") if "thumbnail_rgb" in record.masks else ("white", "black")


MAX_BYTES = 60_000
QUALITIES = (75, 65, 55, 45, 35)


def overlay_image(
    record: Shown,
    contrast: Contrast,
    zones_um: Sequence[float],
    roles: Mapping[str, str] | None = None,
    max_px: int = 600,
) -> bytes:
    """Return `overlay` as JPEG, its long side `max_px`, in the best of a few qualities that takes at most 60 kB.

    So a study of 288 sections stays one file under 25 MB; and what is printed to PDF keeps the pictures as they are, which it does not
    with newer formats.
    """
    picture = Image.fromarray(overlay(record, contrast, zones_um, roles, max_px))

    @cache
    def coded(quality: int) -> bytes:
        out = io.BytesIO()
        picture.save(out, "JPEG", quality=quality, subsampling=2, optimize=True)
        return out.getvalue()

    fits = bisect_left(QUALITIES[:-1], True, key=lambda quality: len(coded(quality)) <= MAX_BYTES)
    return coded(QUALITIES[fits])


def _outlines(record: Shown, zones_um: Sequence[float], size: tuple[int, int]) -> Iterator[Artist]:
    """Yield what is drawn of a section, in pixels of the picture, what lies on top last."""
    line = _inks(record)[0]
    tissue = record.masks["tissue"] > 0
    yield from _contours(tissue, [0.5], size, line, 0.9, "solid")
    distance = record.masks.get("distance")
    if distance is not None and (distance != NO_CORE).any():
        edges = [edge for edge in zones_um if edge > 0]
        yield from _contours(np.where(tissue, distance, np.nan), edges, size, line, 0.8, (0, (1, 2.2)))
    yield from _contours(record.masks["cavity"] > 0, [0.5], size, "#56B4E9" if line == "white" else "#0072B2", 1.3, (0, (4, 2)))
    masked = record.masks["masked"] > 0
    if masked.any():
        filled = contour_generator(*_grid(masked, size), fill_type=FillType.ChunkCombinedCode).filled(0.5, 1.5)
        for points, codes in zip(*filled, strict=True):
            if points is not None:
                yield PathPatch(Path(points, codes), facecolor="none", edgecolor=line, linewidth=0, hatch="////")
        yield from _contours(masked, [0.5], size, line, 0.8, (0, (6, 2, 1, 2)))
    yield from _contours(record.masks["core"] > 0, [0.5], size, "#FF9500" if line == "white" else "#D55E00", 2.2, "solid")


def _grid(values: AnyArray, size: tuple[int, int]) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
    """Return pixel centres on the picture and the values, without what lies around them; a rim of zeros closes outlines at the edge."""
    h, w = values.shape
    number = values.dtype.kind == "f"
    known = np.isfinite(values) if number else values
    rows, columns = (_span(np.asarray(known.any(axis=i))) for i in (1, 0))
    padded = np.pad(values.astype(np.float64), 1, constant_values=np.nan if number else 0)[rows, columns]
    x, y = (np.arange(w + 2) - 0.5) * size[0] / w, (np.arange(h + 2) - 0.5) * size[1] / h
    return np.clip(x, 0.5, size[0] - 0.5)[columns], np.clip(y, 0.5, size[1] - 0.5)[rows], padded


def _span(there: AnyArray) -> slice:
    """Return the places in a padded row that hold what is there in the row, and one more on each side."""
    at = np.flatnonzero(there)
    return slice(int(at[0]), int(at[-1]) + 3)


def _contours(
    values: AnyArray, levels: Sequence[float], size: tuple[int, int], colour: str, width: float, style: object
) -> Iterator[PathPatch]:
    """Yield the lines at these levels, of a mask or of numbers that are NaN where there are none."""
    known = np.isfinite(values) if values.dtype.kind == "f" else values
    if not known.any():
        return
    x, y, z = _grid(values, size)
    lines = contour_generator(x, y, np.ma.masked_invalid(z, copy=False), line_type=LineType.ChunkCombinedCode)
    for level in levels:
        for points, codes in zip(*lines.lines(level), strict=True):
            if points is not None:
                yield PathPatch(Path(points, codes), fill=False, edgecolor=colour, linewidth=width, linestyle=style, joinstyle="round")


def _scale_bar(record: Shown, um_per_px: float, size: tuple[int, int]) -> Iterator[Artist]:
    ink, halo = _inks(record)
    length = scale_bar_um(size[0] * um_per_px) / um_per_px
    yield Rectangle((size[0] - 10 - length, size[1] - 14), length, 4, facecolor=ink, edgecolor=halo, linewidth=0.8)


def _labels(
    figure: Figure, record: Shown, um_per_px: float, size: tuple[int, int], roles: Mapping[str, str] | None, on_picture: Transform
) -> None:
    ink, halo = _inks(record)
    like: dict[str, Any] = {"fontsize": 8, "path_effects": [withStroke(linewidth=2.2, foreground=halo)], "transform": on_picture}
    length = scale_bar_um(size[0] * um_per_px)
    text = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"
    figure.text(size[0] - 10, size[1] - 18, text, color=ink, ha="right", va="bottom", **like)
    if "thumbnail_rgb" not in record.masks:
        for i, (marker, colour) in enumerate(channel_colours(record.markers, roles).items()):
            figure.text(8, 8 + 13 * i, marker, color=colour, ha="left", va="top", fontweight="bold", **like)


def scale_bar_um(width_um: float) -> float:
    """Return the longest of 1, 2, 5 x 10^n um that takes at most a quarter of `width_um`."""
    power = 10.0 ** np.floor(np.log10(width_um / 4))
    return float(max(m * power for m in (1, 2, 5) if m * power <= width_um / 4 * (1 + 1e-9)))
