"""Plates of sections for a paper: each channel and all of them together, one contrast per marker, with scale bars and insets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from sevhisto.report.canvas import Drawing, current_page, pt, styled
from sevhisto.report.overlay import Contrast, channel_colours, composite, scale_bar_um
from sevhisto.types import AnyArray, Shown, decode_thumbnail

INSET_SHARE = 0.28  # of the section's width
"""Side of the square that is shown enlarged."""


@styled
def montage(sections: Sequence[tuple[str, Shown]], contrast: Contrast, roles: Mapping[str, str] | None = None) -> Drawing:
    """Return a plate with one row per section and one column per marker, then all markers, then an inset of all.

    The inset lies at the lesion core, or in the middle of the tissue where there is none; a frame shows where. All sections have one scale.

    Parameters
    ----------
    sections : title and record of each row, of one panel and batch
    contrast : display range of each marker (grey levels), the same for all rows
    roles : role of each marker, which gives its colour
    """
    page = current_page()
    first = sections[0][1]
    markers = () if "thumbnail_rgb" in first.masks else first.markers
    columns = len(markers) + 2
    cell = (page.width - 6.0 - 0.25 * columns) / columns
    height = max(max(r.masks["tissue"].shape[0] / r.masks["tissue"].shape[1] for _, r in sections), 0.5) * cell
    figure = page.figure(2.2 + len(sections) * (height + 0.3))
    page.grid(figure, 6.0, 0.2, 0.2, 1.8)
    axes = figure.subplots(len(sections), columns, squeeze=False, gridspec_kw={"wspace": 0.03, "hspace": 0.03})
    widest = max(_width_um(r) for _, r in sections)
    rows: list[dict[str, Any]] = []
    for line, (title, record) in zip(axes, sections, strict=True):
        line[0].text(-0.06, 0.5, title, transform=line[0].transAxes, rotation=90, ha="right", va="center")
        square = _square(record)
        pictures = [*(_one(record, m, contrast, roles) for m in markers), composite(record, contrast, roles)]
        for ax, picture in zip(line, pictures, strict=False):
            _show(ax, picture, record, widest)
        _frame(line[-2], square, record)
        _inset(line[-1], pictures[-1], square, record)
        for m in markers:
            low, high = contrast[m]
            rows.append({"section": title, "marker": m, "black_grey": low, "white_grey": high, "um_per_px": _um(record)})
    for ax, name in zip(axes[0], [*markers, "all", "inset"], strict=True):
        ax.set_title(name, fontsize=pt(8.5))
    told = f"{len(sections)} sections, one row each: {', '.join([*markers, 'all markers', 'an inset'])}; one contrast per marker."
    return Drawing(figure, told, pd.DataFrame(rows, columns=["section", "marker", "black_grey", "white_grey", "um_per_px"]))


def _um(record: Shown) -> float:
    return float(record.meta["overview_um"])


def _width_um(record: Shown) -> float:
    return float(record.masks["tissue"].shape[1]) * _um(record)


def _one(record: Shown, marker: str, contrast: Contrast, roles: Mapping[str, str] | None) -> AnyArray:
    """Return one channel in its colour, (h, w, 3) uint8."""
    low, high = contrast[marker]
    level = np.clip((decode_thumbnail(record.masks["thumbnail"][..., record.marker_index(marker)]) - low) / max(high - low, 1e-6), 0, 1)
    colour = np.asarray(channel_colours(record.markers, roles)[marker])
    return np.asarray(np.rint(255 * level[..., None] * colour), np.uint8)


def _show(ax: Axes, picture: AnyArray, record: Shown, widest_um: float) -> None:
    """Draw a picture in micrometres, with a scale bar, in the middle of a field that is as wide as the widest section."""
    h, w = (v * _um(record) for v in picture.shape[:2])
    ax.imshow(picture, extent=(0, w, h, 0), interpolation="lanczos")
    ax.set_xlim((w - widest_um) / 2, (w + widest_um) / 2)
    _bar(ax, w, h, widest_um, bright="thumbnail_rgb" in record.masks)
    _plain(ax)


def _plain(ax: Axes) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)


def _bar(ax: Axes, w: float, h: float, widest_um: float, bright: bool, x0: float = 0.0, y0: float = 0.0) -> None:
    length = scale_bar_um(1.6 * widest_um)
    ink, paper = ("black", "white") if bright else ("white", "black")
    right, low = x0 + w * 0.96, y0 + h * 0.95
    ax.plot([right - length, right], [low, low], color=ink, linewidth=pt(2), solid_capstyle="butt")
    said = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"
    box = {"facecolor": paper, "alpha": 0.6, "edgecolor": "none", "pad": pt(0.8)}
    ax.text(right, low - 0.045 * h, said, color=ink, ha="right", va="bottom", fontsize=pt(7), bbox=box)


def _square(record: Shown) -> tuple[float, float, float]:
    """Return left, top and side of the inset (um)."""
    core = record.masks["core"] > 0
    mask = core if core.any() else record.masks["tissue"] > 0
    y, x = np.nonzero(mask) if mask.any() else (np.array([v / 2]) for v in mask.shape)
    h, w = (v * _um(record) for v in mask.shape)
    side = min(INSET_SHARE * w, h)
    left = float(np.clip(x.mean() * _um(record) - side / 2, 0, w - side))
    return left, float(np.clip(y.mean() * _um(record) - side / 2, 0, h - side)), side


def _frame(ax: Axes, square: tuple[float, float, float], record: Shown) -> None:
    left, top, side = square
    colour = "black" if "thumbnail_rgb" in record.masks else "white"
    ax.add_patch(Rectangle((left, top), side, side, fill=False, edgecolor=colour, linewidth=pt(0.9), linestyle=(0, (3, 2))))


def _inset(ax: Axes, picture: AnyArray, square: tuple[float, float, float], record: Shown) -> None:
    left, top, side = square
    h, w = (v * _um(record) for v in picture.shape[:2])
    ax.imshow(picture, extent=(0, w, h, 0), interpolation="lanczos")
    ax.set(xlim=(left, left + side), ylim=(top + side, top))
    _bar(ax, side, side, side, "thumbnail_rgb" in record.masks, left, top)
    _plain(ax)
