"""What the slides of a panel and batch tell together: its background, its stain colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sevhisto.config import WITHOUT_LESION, PanelSettings
from sevhisto.imaging.background import BackgroundSample, estimate_correction, glass_mask
from sevhisto.imaging.overview import SlideOverview, marker_reader
from sevhisto.imaging.stains import fit_stain, optical_density, sample_density, stains
from sevhisto.io.slides import Slide, open_slide
from sevhisto.pipeline.measuring import SlideTask, prepare_slide, reason_of
from sevhisto.types import BoolArray, Correction, FloatArray

MAX_BACKGROUND_SLIDES = 3
MAX_STAIN_SLIDES = 8


def batch_correction(tasks: Sequence[SlideTask]) -> tuple[Correction, list[str]]:
    """Return the correction of one panel and batch, and a line for each control that could not be read.

    `tasks` : see `background_tasks`
    """
    samples: list[BackgroundSample] = []
    colours: list[_Colours] = []
    notes: list[str] = []
    panel = tasks[0].panel.stained
    for task in tasks:
        try:
            with open_slide(task.path, task.scene, task.um_per_px) as slide:
                _, overview = prepare_slide(slide, task)
                found = _background_samples(task, overview)
                if panel.kind == "brightfield":
                    colours.append(_colours(slide, task, overview, found))
            samples += found
        except Exception as error:
            notes.append(reason_of(error))
    if panel.kind == "fluorescence":
        correction = estimate_correction(samples, panel, tasks[0].batch)
        return correction, notes + [f"panel {tasks[0].panel_name}, batch {tasks[0].batch_name}: {n}" for n in correction.notes]
    glass = np.concatenate([c.glass for c in colours]) if colours else np.zeros((0, 3), np.float32)
    white = np.median(glass, axis=0).astype(np.float64) if len(glass) else np.zeros(3)
    stain, source = fit_stain(stains[panel.stain], [c.tissue for c in colours], white, panel.stain_vectors)
    reader = marker_reader(panel, (), np.inf, stain.vectors)
    for c in colours:
        for sample in c.samples:
            sample.values = reader.convert(c.raw)
    correction = estimate_correction(samples, panel, tasks[0].batch)
    return replace(correction, stain_vectors=stain.vectors, stain_source=source, glass=white), notes


@dataclass
class _Colours:
    """A brightfield slide's overview (3, h, w), optical density of its glass and of its tissue (n, 3), and what else it tells."""

    raw: FloatArray
    glass: FloatArray
    tissue: FloatArray
    samples: list[BackgroundSample]


def _colours(slide: Slide, task: SlideTask, overview: SlideOverview, samples: list[BackgroundSample]) -> _Colours:
    tissue = np.logical_or.reduce([s.tissue for s in samples]) if samples else np.zeros(overview.mask.shape, bool)
    glass = optical_density(overview.raw)[:, samples[0].glass].T if samples else np.zeros((0, 3), np.float32)
    density = sample_density(slide, tissue, overview.factor, task.imaging.blur_um / slide.um_per_px)
    return _Colours(overview.raw, glass, density, samples)


def _background_samples(task: SlideTask, overview: SlideOverview) -> list[BackgroundSample]:
    whole = np.zeros(overview.mask.shape, bool)
    outlines: list[BoolArray] = []
    for piece in overview.pieces:
        outline = np.zeros_like(whole)
        outline[piece.y0 : piece.y1, piece.x0 : piece.x1] = piece.outline & overview.mask[piece.y0 : piece.y1, piece.x0 : piece.x1]
        outlines.append(outline)
        whole |= outline
    glass = glass_mask(whole, overview.values, overview.um)
    samples = []
    for row in task.pieces:
        if row.piece > len(outlines):
            continue  # told when the section itself is measured
        tissue = outlines[row.piece - 1] if row.piece else whole
        samples.append(BackgroundSample(row.role, overview.values, tissue, glass, row.marker))
    return samples


def background_tasks(tasks: Sequence[SlideTask]) -> dict[tuple[str, str], list[SlideTask]]:
    """Return, per panel and batch, the slides that tell its background: all with controls, else the first few with samples.

    In brightfield a few with samples always: they show the colours of all stains.
    """
    groups: dict[tuple[str, str], list[SlideTask]] = {}
    for task in tasks:
        groups.setdefault((task.panel_name, task.batch_name), []).append(task)
    chosen: dict[tuple[str, str], list[SlideTask]] = {}
    for key, members in groups.items():
        controls = [t for t in members if any(p.role in (*WITHOUT_LESION, "uninjured") for p in t.pieces)]
        if members[0].panel.kind == "brightfield":
            others = [t for t in members if not any(t is c for c in controls)]
            chosen[key] = controls + others[:MAX_STAIN_SLIDES]
        else:
            chosen[key] = controls or members[:MAX_BACKGROUND_SLIDES]
    return chosen


def correction_facts(correction: Correction, panel: PanelSettings) -> dict[str, Any]:
    """Return a correction for run.json."""
    colours = {} if correction.stain_vectors is None else dict(zip(stains[panel.stain].components, correction.stain_vectors, strict=False))
    return {
        "offset": {m: round(float(o), 4) for m, o in zip(panel.stained.markers, correction.offset, strict=True)},
        "source": dict(zip(panel.stained.markers, correction.source, strict=True)),
        "unmix": [[round(float(v), 6) for v in row] for row in correction.unmix],
        "autofluorescence": {m: round(v, 6) for m, v in correction.autofluorescence.items()},
        "bleed_through": [
            {"into": into, "from": origin, "share": round(k.share, 6), "source": k.source, "single_stain": k.measured}
            for (into, origin), k in sorted(correction.leaks.items())
        ],
        "stain_vectors": {name: [round(float(v), 4) for v in vector] for name, vector in colours.items()},
        "stain_source": dict(zip(colours, correction.stain_source, strict=True)),
    }
