"""The shading of a panel and batch: given as images, or estimated from all its slides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sevhisto.config import PanelSettings, ShadingSettings
from sevhisto.imaging.overview import SlideOverview
from sevhisto.imaging.shading import gain_of_image
from sevhisto.imaging.shading_estimate import FEWEST_FIELDS, STRONG, UNSURE, FieldGain, FieldView, estimate_gain, view_fields
from sevhisto.io.slides import Slide, open_slide
from sevhisto.pipeline.tasks import SlideTask
from sevhisto.types import SHADING_NODES, BoolArray, DoubleArray, FloatArray, Problem, Shading, SlideError


@dataclass(frozen=True)
class ShadingView:
    """What one slide tells of the shading: its tissue by place in the camera field, and the median of its glass per marker (or NaN)."""

    fields: FieldView
    glass: DoubleArray


def view_shading(slide: Slide, overview: SlideOverview, tissue: BoolArray, glass: BoolArray, settings: ShadingSettings) -> ShadingView:
    """Return what a slide tells; `tissue` and `glass` are masks of its overview."""
    f = overview.factor
    field = settings.field_um
    h, w = slide.shape if field is None else (field[1] / slide.um_per_px, field[0] / slide.um_per_px)
    x, y = (o / overview.um for o in settings.origin_um)
    dark = np.median(overview.values[:, glass], axis=1) if glass.any() else np.full(len(overview.values), np.nan)
    return ShadingView(view_fields(overview.values, tissue, (h / f, w / f), (y, x)), dark.astype(np.float64))


def batch_shading(task: SlideTask, views: Sequence[ShadingView], offsets: DoubleArray) -> tuple[Shading, list[str]]:
    """Return the shading of a panel and batch, and what a person should know of it.

    Parameters
    ----------
    task : any of its slides
    views : of every slide where shading is estimated, else of those that tell the background
    offsets : (n_markers,), what stands in for the dark level of a batch without glass
    """
    settings, panel = task.batch.shading, task.panel
    assert settings is not None
    dark = _dark(settings, panel, views, offsets)
    found = [_gain(task, settings, row, float(dark[row]), views) for row in range(len(panel.markers))]
    notes = [f"shading of {marker}: {part.told}" for marker, part in zip(panel.markers, found, strict=True) if part.told]
    field = None if settings.field_um is None else (settings.field_um[1], settings.field_um[0])
    shading = Shading(
        np.stack([part.gain for part in found]),
        dark,
        field,
        (settings.origin_um[1], settings.origin_um[0]),
        tuple(part.source for part in found),
        tuple(part.error for part in found),
        max((part.n_fields for part in found), default=0.0),
        tuple(dict.fromkeys(flag for part in found for flag in part.flags)),
    )
    return shading, notes


@dataclass(frozen=True)
class _Found:
    gain: FloatArray
    source: str
    error: float = math.nan
    n_fields: float = 0.0
    flags: tuple[str, ...] = ()
    told: str = ""


def _gain(task: SlideTask, settings: ShadingSettings, row: int, dark: float, views: Sequence[ShadingView]) -> _Found:
    marker = task.panel.markers[row]
    if marker in settings.flat:
        gain, cut = _given(task, settings.flat[marker], dark)
        return _Found(gain, "given", flags=_strong(gain, cut), told=_cut_words(cut))
    if not settings.estimate:
        return _Found(_even(), "none")
    found = estimate_gain([v.fields for v in views], row, dark)
    if found.stands_out:
        unsure = ("shading_uncertain",) * (found.error >= UNSURE)
        flags = (*unsure, *_strong(found.gain, found.cut))
        return _Found(found.gain, "estimated", found.error, found.n_fields, flags, _cut_words(found.cut))
    known = found.n_fields >= FEWEST_FIELDS and found.error < UNSURE
    return _Found(_even(), "none", found.error, found.n_fields, () if known else ("shading_not_estimated",), _why_none(found))


def _why_none(found: FieldGain) -> str:
    if found.n_fields < FEWEST_FIELDS:
        return f"{found.n_fields:.1f} camera fields of tissue; {FEWEST_FIELDS:g} are needed to estimate it. Nothing was divided out"
    if math.isnan(found.error):
        return "the tissue is no brighter than the dark level. Nothing was divided out"
    spread = float(np.std(found.gain))
    return f"varies by {100 * spread:.1f} %, which does not stand out from its error, {100 * found.error:.1f} %. Nothing was divided out"


def _even() -> FloatArray:
    return np.ones((SHADING_NODES, SHADING_NODES), np.float32)


def _strong(gain: FloatArray, cut: bool) -> tuple[str, ...]:
    return ("shading_strong",) if cut or gain.max() > STRONG * gain.min() else ()


def _cut_words(cut: bool) -> str:
    return "the gain was cut to 0.5 to 2" if cut else ""


def _dark(settings: ShadingSettings, panel: PanelSettings, views: Sequence[ShadingView], offsets: DoubleArray) -> DoubleArray:
    seen = np.array([v.glass for v in views if not np.isnan(v.glass).any()])
    glass = np.median(seen, axis=0) if len(seen) else offsets
    return np.array([settings.dark.get(marker, float(glass[row])) for row, marker in enumerate(panel.markers)])


def _given(task: SlideTask, name: str, dark: float) -> tuple[FloatArray, bool]:
    where = f"batches.{task.batch_name}.shading.flat: {name}"
    with open_slide(task.study / name) as image:
        if len(image.channels) != 1:
            raise SlideError(Problem(where, f"has {len(image.channels)} channels", "give an image of one channel for each marker"))
        return gain_of_image(image.read([0], 0, image.shape[0], 0, image.shape[1])[0], dark, where)


def shading_facts(shading: Shading | None, panel: PanelSettings) -> dict[str, Any] | None:
    """Return a shading for run.json."""
    if shading is None:
        return None
    rows = zip(panel.markers, shading.source, shading.gain, shading.dark, shading.error, strict=True)
    return {
        "field_um": None if shading.field_um is None else list(shading.field_um[::-1]),
        "origin_um": list(shading.origin_um[::-1]),
        "n_fields": round(shading.n_fields, 1),
        "flags": list(shading.flags),
        "markers": {
            marker: {
                "source": source,
                "lowest": round(float(gain.min()), 4),
                "highest": round(float(gain.max()), 4),
                "dark": round(float(dark), 3),
                "error": None if math.isnan(error) else round(error, 4),
            }
            for marker, source, gain, dark, error in rows
        },
    }
