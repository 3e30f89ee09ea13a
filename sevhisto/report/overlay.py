"""What the program saw: a section's channels as one picture, with the outlines it measured by."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from PIL import Image

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
    codes = record.masks["thumbnail"][record.masks["tissue"] > 0]
    return {marker: np.bincount(codes[:, i], minlength=256).astype(np.int64) for i, marker in enumerate(record.markers)}


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
    thumbnail = record.masks["thumbnail"]
    total = np.zeros((*thumbnail.shape[:2], 3), np.float32)
    colours = channel_colours(record.markers, roles)
    for i, marker in enumerate(record.markers):
        low, high = contrast[marker]
        level: FloatArray = np.clip((decode_thumbnail(thumbnail[..., i]) - low) / max(high - low, 1e-6), 0, 1)
        total += level[..., None] * np.asarray(colours[marker], np.float32)
    return np.asarray(np.rint(np.clip(total, 0, 1) * 255), np.uint8)


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
        ax = figure.add_axes((0, 0, 1, 1))
        figure.figimage(np.asarray(picture), origin="upper", zorder=-1)
        _outlines(ax, record, zones_um, size)
        _labels(ax, record, float(record.meta["overview_um"]) / scale, size, roles)
        ax.set(xlim=(0, size[0]), ylim=(size[1], 0))
        ax.set_axis_off()
        put_stamp(figure, ("black", "white") if "thumbnail_rgb" in record.masks else ("white", "black"))
        canvas = FigureCanvasAgg(figure)
        canvas.draw()  # type: ignore[no-untyped-call]
        drawn = np.array(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]
        figure.clear()  # artists refer to each other: hundreds of figures would wait for the collector
        return drawn


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
    for quality in QUALITIES:
        out = io.BytesIO()
        picture.save(out, "JPEG", quality=quality, subsampling=2, optimize=True)
        if out.tell() <= MAX_BYTES:
            break
    return out.getvalue()


def _outlines(ax: Axes, record: Shown, zones_um: Sequence[float], size: tuple[int, int]) -> None:
    line = "black" if "thumbnail_rgb" in record.masks else "white"
    tissue = record.masks["tissue"] > 0
    _contour(ax, tissue, 0.5, size, line, 0.9, "solid")
    distance = record.masks.get("distance")
    if distance is not None and (distance != NO_CORE).any():
        for edge in zones_um:
            if edge > 0:
                _contour(ax, np.where(tissue, distance, np.nan), edge, size, line, 0.8, (0, (1, 2.2)))
    _contour(ax, record.masks["cavity"] > 0, 0.5, size, "#56B4E9" if line == "white" else "#0072B2", 1.3, (0, (4, 2)))
    masked = record.masks["masked"] > 0
    if masked.any():
        x, y, z = _grid(masked, size)
        hatched = ax.contourf(x, y, z, levels=[0.5, 1.5], colors="none", hatches=["////"])
        hatched.set(edgecolor=line, linewidth=0)
        _contour(ax, masked, 0.5, size, line, 0.8, (0, (6, 2, 1, 2)))
    _contour(ax, record.masks["core"] > 0, 0.5, size, "#FF9500" if line == "white" else "#D55E00", 2.2, "solid")


def _grid(values: AnyArray, size: tuple[int, int]) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
    """Return pixel centres on the picture and the values; a rim of zeros closes outlines at the image edge."""
    h, w = values.shape
    padded = np.pad(values.astype(np.float64), 1, constant_values=np.nan if values.dtype.kind == "f" else 0)
    x, y = (np.arange(w + 2) - 0.5) * size[0] / w, (np.arange(h + 2) - 0.5) * size[1] / h
    return np.clip(x, 0.5, size[0] - 0.5), np.clip(y, 0.5, size[1] - 0.5), padded


def _contour(ax: Axes, values: AnyArray, level: float, size: tuple[int, int], colour: str, width: float, style: object) -> None:
    x, y, z = _grid(values, size)
    inside = z >= level if values.dtype == np.bool_ else np.isfinite(z)
    if not np.nanmax(z, initial=-np.inf) > level > np.nanmin(z, initial=np.inf):
        return
    rows, columns = (slice(max(int(at[0]) - 1, 0), int(at[-1]) + 2) for at in (np.flatnonzero(inside.any(axis=i)) for i in (1, 0)))
    part = np.ma.masked_invalid(z[rows, columns])  # what lies around it costs time only
    ax.contour(x[columns], y[rows], part, levels=[level], colors=[colour], linewidths=[width], linestyles=[style])


def _labels(ax: Axes, record: Shown, um_per_px: float, size: tuple[int, int], roles: Mapping[str, str] | None) -> None:
    bright = "thumbnail_rgb" in record.masks
    ink, halo = ("black", "white") if bright else ("white", "black")
    stroke = [withStroke(linewidth=2.2, foreground=halo)]
    length = scale_bar_um(size[0] * um_per_px)
    x1, y1 = size[0] - 10.0, size[1] - 10.0
    ax.add_patch(Rectangle((x1 - length / um_per_px, y1 - 4), length / um_per_px, 4, facecolor=ink, edgecolor=halo, linewidth=0.8))
    text = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"
    ax.text(x1, y1 - 8, text, color=ink, ha="right", va="bottom", fontsize=8, path_effects=stroke)
    if not bright:
        for i, (marker, colour) in enumerate(channel_colours(record.markers, roles).items()):
            ax.text(8, 8 + 13 * i, marker, color=colour, ha="left", va="top", fontsize=8, fontweight="bold", path_effects=stroke)


def scale_bar_um(width_um: float) -> float:
    """Return the longest of 1, 2, 5 x 10^n um that takes at most a quarter of `width_um`."""
    power = 10.0 ** np.floor(np.log10(width_um / 4))
    return float(max(m * power for m in (1, 2, 5) if m * power <= width_um / 4 * (1 + 1e-9)))
