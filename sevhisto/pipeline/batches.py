"""What the slides of a panel and batch tell together: its background, its stain colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from sevhisto.config import WITHOUT_LESION, PanelSettings
from sevhisto.imaging.background import BackgroundSample, estimate_correction, glass_mask, offsets_of
from sevhisto.imaging.overview import SlideOverview, marker_reader
from sevhisto.imaging.shading import flat_of, flattened
from sevhisto.imaging.stains import fit_stain, optical_density, sample_density, stains
from sevhisto.io.canary import need_codecs
from sevhisto.io.patience import patiently
from sevhisto.io.slides import Slide, open_slide
from sevhisto.io.sources import Guard
from sevhisto.pipeline.measuring import prepare_slide, reason_of
from sevhisto.pipeline.shading import ShadingView, batch_shading, shading_facts, view_shading
from sevhisto.pipeline.tasks import SlideTask
from sevhisto.types import BoolArray, Correction, FloatArray, OutputError, Shading, SlideError

MAX_BACKGROUND_SLIDES = 3
MAX_STAIN_SLIDES = 8


def batch_correction(tasks: Sequence[SlideTask]) -> tuple[Correction, list[str]]:
    """Return the correction of one panel and batch, and a line for each control that could not be read.

    `tasks` : see `background_tasks`
    """
    seen = _Seen([], [], [], [])
    notes: list[str] = []
    panel = tasks[0].panel.stained
    telling = {id(t) for t in _telling(tasks)}
    for task in tasks:
        try:
            patiently(partial(_add, seen, task, id(task) in telling))
        except OutputError:
            raise
        except Exception as error:
            notes.append(reason_of(error))
    called = f"panel {tasks[0].panel_name}, batch {tasks[0].batch_name}"
    if panel.kind == "fluorescence":
        shading: Shading | None = None
        told: list[str] = []
        if tasks[0].batch.shading is not None:
            shading, told = batch_shading(tasks[0], seen.views, offsets_of(seen.samples, panel)[0])
            for values, flat, factor in seen.planes:  # in place: the samples share them
                values[:] = flattened(values, flat_of(shading, *flat), 0, 0, factor)
        correction = replace(estimate_correction(seen.samples, panel, tasks[0].batch), shading=shading)
        return correction, notes + [f"{called}: {n}" for n in (*told, *correction.notes)]
    if tasks[0].batch.shading is not None:
        notes.append(f"{called}: shading is corrected in fluorescence only; nothing was divided out")
    return _brightfield(seen, tasks[0]), notes


@dataclass
class _Seen:
    """What the slides of a batch show: samples of background, in brightfield colours; where shading is asked for, views, and each
    overview that the samples share with pixel size, shape of its slide, and factor.
    """

    samples: list[BackgroundSample]
    colours: list[_Colours]
    views: list[ShadingView]
    planes: list[tuple[FloatArray, tuple[float, tuple[int, int]], int]]


def _add(seen: _Seen, task: SlideTask, tells: bool) -> None:
    """Add a slide, which must stay what it was; one that does not tell the background is there for its shading."""
    if task.refused:
        raise SlideError(task.refused)
    need_codecs(task.path)
    guard = Guard(task.path, task.sha256)
    with open_slide(task.path, task.scene, task.um_per_px) as slide:
        _look(seen, slide, task, tells)
    guard.check()


def _look(seen: _Seen, slide: Slide, task: SlideTask, tells: bool) -> None:
    # all that can fail stands before what is added: it may be called again
    _, overview = prepare_slide(slide, task)
    found = _background_samples(task, overview)
    shading = task.batch.shading
    if task.panel.kind == "brightfield":
        seen.colours.append(_colours(slide, task, overview, found))
    elif shading is not None and found:
        tissue = np.logical_or.reduce([s.tissue for s in found])
        seen.views.append(view_shading(slide, overview, tissue, found[0].glass, shading))
        if tells:
            seen.planes.append((overview.values, (slide.um_per_px, slide.shape), overview.factor))
    if tells:
        seen.samples += found


def _brightfield(seen: _Seen, task: SlideTask) -> Correction:
    panel, colours = task.panel.stained, seen.colours
    glass = np.concatenate([c.glass for c in colours]) if colours else np.zeros((0, 3), np.float32)
    white = np.median(glass, axis=0).astype(np.float64) if len(glass) else np.zeros(3)
    stain, source = fit_stain(stains[panel.stain], [c.tissue for c in colours], white, panel.stain_vectors)
    reader = marker_reader(panel, (), np.inf, stain.vectors)
    for c in colours:
        for sample in c.samples:
            sample.values = reader.convert(c.raw)
    correction = estimate_correction(seen.samples, panel, task.batch)
    return replace(correction, stain_vectors=stain.vectors, stain_source=source, glass=white)


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

    In brightfield a few with samples always: they show the colours of all stains. All slides where shading is estimated.
    """
    groups: dict[tuple[str, str], list[SlideTask]] = {}
    for task in tasks:
        groups.setdefault((task.panel_name, task.batch_name), []).append(task)
    return {key: members if _estimates_shading(members[0]) else _telling(members) for key, members in groups.items()}


def _estimates_shading(task: SlideTask) -> bool:
    return task.panel.kind == "fluorescence" and task.batch.shading is not None and task.batch.shading.estimate


def _telling(members: Sequence[SlideTask]) -> list[SlideTask]:
    """Return those of a batch's slides that tell its background; of these, and of all, the same."""
    controls = [t for t in members if any(p.role in (*WITHOUT_LESION, "uninjured") for p in t.pieces)]
    if members[0].panel.kind == "brightfield":
        known = {id(t) for t in controls}
        others = [t for t in members if id(t) not in known]
        return controls + others[:MAX_STAIN_SLIDES]
    return controls or list(members[:MAX_BACKGROUND_SLIDES])


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
        "shading": shading_facts(correction.shading, panel),
    }
