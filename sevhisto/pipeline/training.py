"""`sevhisto train`: outlines with classes become a pixel classifier, with its error on slides that it has not seen."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sevhisto import __version__
from sevhisto.engine import default_jobs, run_tasks
from sevhisto.imaging.classify import Inputs, corrected_inputs, input_names
from sevhisto.imaging.forest import grow
from sevhisto.imaging.learn import cautions, cross_validate, pixels_of_an_outline, sample_pixels
from sevhisto.io.annotations import outline_mask
from sevhisto.io.canary import need_codecs
from sevhisto.io.models import save_model
from sevhisto.io.slides import Slide, open_slide
from sevhisto.io.sources import Guard
from sevhisto.io.study import Study, load_study
from sevhisto.io.training import FOLDER, Example, class_problems, read_examples
from sevhisto.pipeline.measuring import reason_of, slide_reader
from sevhisto.pipeline.running import quiet, registry_problems, slide_tasks
from sevhisto.pipeline.sources import compared_sources, with_sources
from sevhisto.pipeline.stages import Progress, batch_corrections
from sevhisto.pipeline.tasks import SlideTask, file_sha256
from sevhisto.registry import did_you_mean
from sevhisto.report.classifiers import classifier_lines
from sevhisto.types import AnyArray, BoolArray, FloatArray, IntArray, PixelModel, Problem, SevhistoError, SlideError, StudyError

FINEST_UM = 1.5
N_SCALES = 4
STROKE_UM = 5.0


@dataclass(frozen=True)
class TrainSummary:
    """What was learned: the model, where it is, what it learned from and its error in words, and the panel's lines for study.toml."""

    path: Path
    model: PixelModel
    lines: tuple[str, ...]
    setting: str


@dataclass(frozen=True)
class _Lesson:
    """One slide with outlines to learn from."""

    task: SlideTask
    drawn: Path
    classes: tuple[str, ...]
    scales_um: tuple[float, ...]
    stroke_um: float
    seed: int
    most: int


@dataclass(frozen=True)
class _Learned:
    """Labelled pixels of one slide: (n_features, n), (n,) class and (n,) outline; outlines per class; and the slide's sha256."""

    values: FloatArray
    labels: IntArray
    outline: IntArray
    outlines: tuple[int, ...]
    sha256: str


def train(
    root: Path,
    name: str,
    panel: str = "",
    *,
    who: str = "",
    finest_um: float | None = None,
    stroke_um: float = STROKE_UM,
    seed: int = 1,
    jobs: int | None = None,
    progress: Progress = quiet,
) -> TrainSummary:
    """Learn a classifier from the outlines in training/ on slides of one panel, and write it to classifiers/<name>.npz.

    Parameters
    ----------
    panel : may be left out where the outlines are on slides of one panel only
    who : person who drew; kept in the model
    finest_um : finest scale of its features (sigma), doubled three times; None takes 1.5, or the largest pixel if that is more
    stroke_um : width of lines and points that have none of their own
    seed : the same outlines, slides and seed give the same bytes

    Raises
    ------
    StudyError
        The study, the name, or what was drawn is wrong: nothing was written.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ._-]*", name):
        raise StudyError(Problem("NAME", f"{name!r} cannot be a file name", "use letters, digits, - and _"))
    study = load_study(root)
    wrong = registry_problems(study)
    if wrong:
        raise StudyError(wrong)
    everything = slide_tasks(study)
    panel = _panel(study, everything, panel)
    tasks = [t for t in everything if t.panel_name == panel and _drawn(study, t) is not None]
    coarsest, outlines = _surveyed(study, tasks, panel)
    classes = tuple(sorted(outlines))
    finest = finest_um or max(FINEST_UM, coarsest)
    if finest < coarsest / 1.001:
        what = f"{finest:g} um is finer than the largest pixel of these slides, {coarsest:.3g} um"
        raise StudyError(Problem("--finest-um", what, "give that or more, or leave it out"))
    scales = tuple(finest * 2.0**i for i in range(N_SCALES))
    jobs = jobs or default_jobs()
    seen = compared_sources(study, partial(run_tasks, jobs=jobs), progress)
    tasks = corrected_tasks(with_sources(everything, *seen), with_sources(tasks, *seen), jobs, progress)
    most = pixels_of_an_outline(list(outlines.values()))
    lessons = [_Lesson(t, _sure(_drawn(study, t)), classes, scales, stroke_um, seed, most) for t in tasks]
    learned = _learned(lessons, jobs, progress)
    animals = [_animal(study, t) for t in tasks]
    model = _model(learned, animals, tasks[0], classes, scales, who, seed)
    path = study.root / "classifiers" / f"{name}.npz"
    save_model(path, model)
    lines = classifier_lines(model.classes, model.inputs, len(model.facts["slides"]), model.facts)
    return TrainSummary(path, model, tuple(lines), _setting(panel, name, model))


def _drawn(study: Study, task: SlideTask) -> Path | None:
    return study.training(task.path.relative_to(study.slides_dir).as_posix(), task.scene)


def _sure(path: Path | None) -> Path:
    assert path is not None
    return path


def _animal(study: Study, task: SlideTask) -> str:
    """Return whose tissue a slide shows: it is left out together with the animal's other slides."""
    animals = sorted({str(study.slides.loc[p.row, "animal"]) for p in task.pieces})
    return animals[0] or str(study.slides.loc[task.pieces[0].row, "file"])


def _panel(study: Study, tasks: Sequence[SlideTask], asked: str) -> str:
    known = list(study.config.panels)
    if asked and asked not in known:
        raise StudyError(Problem("--panel", f"unknown panel {asked!r}", did_you_mean(asked, known)))
    drawn = sorted({t.panel_name for t in tasks if _drawn(study, t) is not None})
    if asked or len(drawn) == 1:
        return asked or drawn[0]
    if not drawn:
        remedy = f"draw outlines with classes in QuPath or ImageJ and save them as {FOLDER}/<image file name>.geojson (or .zip)"
        raise StudyError(Problem(f"{FOLDER}/", "holds no outlines of slides of the study", remedy))
    raise StudyError(Problem("--panel", f"there are outlines on slides of panels {', '.join(drawn)}", "name one of them"))


def _surveyed(study: Study, tasks: Sequence[SlideTask], panel: str) -> tuple[float, Counter[str]]:
    """Return the largest pixel of the slides (um), and the number of outlines of each class; StudyError with everything that is wrong."""
    problems: list[Problem] = []
    outlines: Counter[str] = Counter()
    sizes = []
    for task in tasks:
        try:
            with open_slide(task.path, task.scene, task.um_per_px) as slide:
                sizes.append(slide.um_per_px)
                examples, wrong = read_examples(_sure(_drawn(study, task)), slide.shape)
            outlines.update(e.name for e in examples)
            problems += wrong
        except SevhistoError as error:
            problems += error.problems
    problems += [] if problems else class_problems(outlines, panel)
    if problems:
        raise StudyError(problems)
    return max(sizes), outlines


def corrected_tasks(everything: Sequence[SlideTask], tasks: Sequence[SlideTask], jobs: int, progress: Progress) -> list[SlideTask]:
    """Return tasks with the correction of their batch, which slides among `everything` tell; StudyError where one cannot be made."""
    batches = {(t.panel_name, t.batch_name) for t in tasks}
    corrections, notes = batch_corrections(
        [t for t in everything if (t.panel_name, t.batch_name) in batches], partial(run_tasks, jobs=jobs), progress
    )
    lacking = sorted(batches - set(corrections))
    if lacking:
        raise StudyError([Problem(f"panel {p}, batch {b}", "its background could not be measured", "; ".join(notes)) for p, b in lacking])
    return [replace(t, correction=corrections[t.panel_name, t.batch_name]) for t in tasks]


def _learned(lessons: Sequence[_Lesson], jobs: int, progress: Progress) -> list[_Learned]:
    found: dict[int, _Learned] = {}
    problems = []
    progress("slides to learn from", 0, len(lessons))
    for i, result in run_tasks(learn_slide, lessons, jobs):
        if isinstance(result, BaseException):
            problems.append(Problem(f"{FOLDER}/{lessons[i].drawn.name}", reason_of(result), "see the slide and the outlines on it"))
        else:
            found[i] = result
        progress("slides to learn from", len(found), len(lessons))
    if problems:
        raise StudyError(problems)
    return [found[i] for i in range(len(lessons))]


def learn_slide(lesson: _Lesson) -> _Learned:
    """Return the labelled pixels of one slide."""
    task, correction = lesson.task, lesson.task.correction
    assert correction is not None
    if task.refused:
        raise SlideError(task.refused)
    need_codecs(task.path)
    sha256 = task.sha256 or file_sha256(task.path)
    guard = Guard(task.path, sha256)
    with open_slide(task.path, task.scene, task.um_per_px) as slide:
        reader = slide_reader(slide, task)
        names = input_names(task.panel)
        images = partial(corrected_inputs, names, task.panel, correction)
        inputs = Inputs(names, reader, images, lesson.scales_um, slide.um_per_px, slide.shape)
        examples, _ = read_examples(lesson.drawn, slide.shape)
        marks = [_mark(e, inputs, lesson) for e in examples]
        seed = [lesson.seed, int(sha256[:8], 16), task.scene]
        read = partial(_read, slide, reader.channels)
        values, labels, outline = sample_pixels(inputs, read, marks, seed, lesson.most)
    guard.check(whole=True)
    counts = tuple(sum(e.name == name for e in examples) for name in lesson.classes)
    return _Learned(values, labels, outline, counts, sha256)


def _read(slide: Slide, channels: tuple[int, ...], box: tuple[int, int, int, int]) -> AnyArray:
    return slide.read(channels, *box)


def _mark(example: Example, inputs: Inputs, lesson: _Lesson) -> tuple[int, tuple[int, int], BoolArray]:
    """Return the class of an outline, the corner on the grid of features of its surroundings, and which pixels of them it marks."""
    outline, step = example.outline, inputs.step
    points = np.concatenate([*outline.polygons, *outline.strokes]) / step
    width = max(outline.width_px, lesson.stroke_um / inputs.um) / step
    low = np.clip(np.floor(points.min(axis=0) - width), 0, inputs.grid).astype(int)
    high = np.clip(np.ceil(points.max(axis=0) + width) + 1, low, inputs.grid).astype(int)
    corner, shape = (int(low[0]), int(low[1])), (int(high[0] - low[0]), int(high[1] - low[1]))
    origin = float(corner[0] * step), float(corner[1] * step)
    mask = outline_mask([outline], shape, float(step), origin, lesson.stroke_um / inputs.um)
    return lesson.classes.index(example.name), corner, mask


def _model(
    learned: Sequence[_Learned],
    animals: Sequence[str],
    task: SlideTask,
    classes: tuple[str, ...],
    scales: tuple[float, ...],
    who: str,
    seed: int,
) -> PixelModel:
    values = np.concatenate([s.values for s in learned], axis=1)
    labels = np.concatenate([s.labels for s in learned])
    scene = np.repeat(np.arange(len(learned)), [len(s.labels) for s in learned])
    slide, animal = (np.unique(names, return_inverse=True)[1][scene] for names in ([s.sha256 for s in learned], animals))
    outline = np.unique(np.stack([scene, np.concatenate([s.outline for s in learned])]), axis=1, return_inverse=True)[1].ravel()
    pixels = np.bincount(labels, minlength=len(classes))
    if not pixels.all():
        empty = [c for c, n in zip(classes, pixels, strict=True) if not n]
        what = f"no pixel is left of {', '.join(empty)}: its outlines are smaller than a pixel, or covered by those of other classes"
        raise StudyError(Problem(f"{FOLDER}/", what, "draw larger ones, apart from the others"))
    error = cross_validate(values, labels, {"animal": animal, "slide": slide, "outline": outline}, len(classes), seed)
    forest = grow(values, labels, len(classes), seed)
    facts: dict[str, Any] = {
        "panel": task.panel_name,
        "kind": task.panel.kind,
        "stain": task.panel.stain,
        "who": who,
        "seed": seed,
        "version": __version__,
        "slides": sorted({s.sha256 for s in learned}),
        "animals": len(set(animals)),
        "outlines": {c: sum(s.outlines[i] for s in learned) for i, c in enumerate(classes)},
        "pixels": {c: int(n) for c, n in zip(classes, pixels, strict=True)},
        "out_of_sample": error.facts(),
        "cautions": cautions(error, classes),
    }
    trees = forest.feature, forest.threshold, forest.child, forest.share, forest.roots
    return PixelModel(classes, input_names(task.panel), scales, *trees, facts)


def _setting(panel: str, name: str, model: PixelModel) -> str:
    lines = [f"[panels.{panel}]", f'classifier = "{name}"', ""]
    lines += ["# after the channels of the file, one for each class to measure", f"[[panels.{panel}.channels]]"]
    lines += [f'channel = "{model.classes[0]}"', f'marker = "{model.classes[0]}"', 'role = "other"', 'source = "classifier"']
    return "\n".join(lines)
