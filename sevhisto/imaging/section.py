"""One section, from its place on a slide to its record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sevhisto.config import LABELS, ImagingSettings, PanelSettings, segmenter_name
from sevhisto.imaging.classify import Classifier
from sevhisto.imaging.focus import focus
from sevhisto.imaging.geometry import long_axis_deg
from sevhisto.imaging.labels import Labelled
from sevhisto.imaging.measure import SATURATED_SHARE, measure
from sevhisto.imaging.outlining import joined
from sevhisto.imaging.plan import Crop, Plan
from sevhisto.imaging.reader import MarkerReader
from sevhisto.imaging.segmenters import Segmenter
from sevhisto.imaging.stains import dye_markers
from sevhisto.imaging.sums import Sums, bounded_rows
from sevhisto.types import (
    AnyArray,
    CellOutlines,
    Correction,
    FloatArray,
    IntArray,
    PixelSource,
    SectionRecord,
    encode_thumbnail,
)


def measure_section(
    slide: PixelSource,
    plan: Plan,
    reader: MarkerReader,
    panel: PanelSettings,
    correction: Correction,
    settings: ImagingSettings,
    *,
    longitudinal: bool = False,
    tick: Callable[[int], Any] = lambda px: None,
    nuclei: Labelled | None = None,
    classifier: Classifier | None = None,
    segmenter: Segmenter | None = None,
) -> SectionRecord:
    """Return the record of one planned section of a slide, reading each of its full-resolution pixels once.

    `nuclei` are those labelled elsewhere; where the segmenter is "labels" and there are none, cells are not counted. `classifier`
    shows the markers that are classes of one, `segmenter` is a person's own.
    """
    layout = plan.layout
    section, here = Crop(slide, *plan.corner, plan.shape), reader.seen_from(*plan.corner)
    classifier = None if classifier is None else classifier.of(plan.shape, here)
    sums = measure(section, here, layout, panel, settings, correction, tick, nuclei, plan.local, classifier, segmenter)
    counts = sums.counts
    flags = [*plan.flags, *_quality_flags(sums, counts, panel, correction)]
    if segmenter_name(panel, settings) == LABELS and nuclei is None and "no_cells" in flags:
        flags[flags.index("no_cells")] = "cells_not_labelled"
    axis = long_axis_deg(layout.tissue) if sums.fibres else float("nan")
    if sums.fibres and np.isnan(axis) and layout.tissue.any():
        flags.append("axis_uncertain")
    if any(c.role == "tracer" and c.marker not in sums.puncta for c in panel.channels):
        flags.append("puncta_unresolved")
    set_by_hand = settings.nucleus_diameter_um is not None and panel.marker_of_role("nuclei") is not None
    meta = {
        "kind": panel.kind,
        "um_per_px": slide.um_per_px,
        **_laid_out(plan),
        "side_axis": "rostral_caudal" if longitudinal else "left_right",
        **_corrected(correction, panel.stained.markers),
        "saturated_px": [int(v) for v in sums.saturated_px],
        "nucleus_diameter_um": round(sums.nucleus_diameter_um, 3) or None,
        "nucleus_diameter_source": "set" if set_by_hand else "labels" if nuclei else "estimated",
        "segmenter": segmenter_name(panel, settings),
        "cell_marker": panel.cell_marker,
        "focus": {m: focus(s) for m, s in zip(panel.markers, sums.focus, strict=True)},
        "nuclear_marker": panel.marker_of_role("nuclei"),
        "dyes": dye_markers(panel.stained),
        "axis_deg": None if np.isnan(axis) else round(axis, 2),
        "flags": sorted(set(flags)),
    }
    cells, spots, outlines = _cell_columns(sums, panel)
    return SectionRecord(
        meta,
        panel.markers,
        counts,
        sums.sums,
        sums.cavity_px,
        sums.masked_px,
        sums.joint,
        sums.fibres,
        cells,
        plan.masks | _class_thumbnails(plan, sums),
        sums.puncta,
        sums.autofluorescent,
        spots,
        sums.local,
        sums.scrambled,
        outlines,
    )


def _laid_out(plan: Plan) -> dict[str, Any]:
    """Return what the record tells of where the section lies, its lesion core and its faults."""
    layout, core = plan.layout, plan.core
    return {
        "overview_um": layout.um,
        "overview_factor": layout.factor,
        "corner_px": list(plan.corner),
        "shape_px": list(plan.shape),
        "has_core": layout.has_core,
        "core_contrast": core["contrast"],
        "core_confidence": core["confidence"],
        "core_markers": core["markers"],
        "contour": {name: value for name, value in core.items() if name not in ("contrast", "confidence", "markers")},
        "faults": plan.faults,
        "white_matter_um2": plan.white_um2,
    }


def _corrected(correction: Correction, markers: Sequence[str]) -> dict[str, Any]:
    """Return what the record tells of the background of its batch."""
    return {
        "offsets": {m: float(o) for m, o in zip(markers, correction.offset, strict=True)},
        "offset_source": dict(zip(markers, correction.source, strict=True)),
        "autofluorescence": dict(correction.autofluorescence),
        "shading": {} if correction.shading is None else dict(zip(markers, correction.shading.source, strict=True)),
    }


def _class_thumbnails(plan: Plan, sums: Sums) -> dict[str, AnyArray]:
    """Return the thumbnail with the classes of a classifier after the markers of the file."""
    if not sums.seen:
        return {}
    means = [encode_thumbnail((total / plan.layout.factor**2).astype(np.float32)) for total in sums.seen.values()]
    return {"thumbnail": np.concatenate([plan.masks["thumbnail"], np.stack(means, axis=-1)], axis=-1)}


def _quality_flags(sums: Sums, counts: IntArray, panel: PanelSettings, correction: Correction) -> list[str]:
    flags = []
    examined: IntArray = counts.sum(axis=(1, 2, 3))
    n = int(examined.max(initial=0))
    if n and (sums.saturated_px > SATURATED_SHARE * n).any():
        flags.append("saturated")
    if n and (np.count_nonzero(counts.sum(axis=(1, 2)), axis=1) == 1).any():
        flags.append("constant_channel")
    if "sample_glass" in correction.source:
        flags.append("offset_from_samples")
    flags += () if correction.shading is None else correction.shading.flags
    if "assumed_zero" in correction.source:
        flags.append("offset_assumed_zero")
    if panel.marker_of_role("autofluorescence") and not correction.autofluorescence:
        flags.append("autofluorescence_not_subtracted")
    if panel.kind == "brightfield" and (not correction.stain_source or "published" in correction.stain_source):
        flags.append("stain_vectors_assumed")
    if panel.cell_marker is None:
        flags.append("no_nuclear_channel")
    elif not sums.cells:
        flags.append("no_cells")
    if panel.cell_marker is not None and panel.marker_of_role("nuclei") is None:
        flags.append("cells_by_bodies")
    return flags


def _cell_columns(sums: Sums, panel: PanelSettings) -> tuple[dict[str, FloatArray], dict[str, IntArray], CellOutlines | None]:
    """Return the columns of the cells, in order of their place, the spots in them, and their outlines."""
    names = ["y_um", "x_um", "distance_um", "side", "area_um2"] + ["footprint_um2"] * bool(sums.puncta)
    names += [f"{m}_{part}" for m in panel.markers for part in ("nucleus", "ring")]
    names += [f"{panel.markers[i]}_{part}" for i in bounded_rows(panel) for part in ("ring_low", "ring_high")]
    counted = list(sums.puncta) if panel.cell_marker else []
    if not sums.cells:
        empty = {name: np.zeros(0, np.float32) for name in names} if panel.cell_marker else {}
        return empty, {m: np.zeros((0, 3), np.int64) for m in counted}, None
    y, x = (np.concatenate([c[name] for c in sums.cells]) for name in ("y_um", "x_um"))
    order = np.lexsort((x, y))
    place = np.argsort(order)
    spots = {}
    for marker in counted:
        rows = np.concatenate(sums.cell_spots[marker])
        rows[:, 0] = place[rows[:, 0]]
        spots[marker] = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    outlines = joined(sums.outlines, order)
    sums.outlines.clear()
    # a very large section has millions of cells: one column after the other, and what is copied is let go of
    return {name: np.concatenate([c.pop(name) for c in sums.cells])[order] for name in names}, spots, outlines
