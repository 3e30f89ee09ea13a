"""Strokes with classes drawn in a window: kept where `sevhisto train` reads them, the answer on a section, and its use in study.toml."""

from __future__ import annotations

import io
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from sevhisto.config import parse_config
from sevhisto.imaging.classify import Classifier, Inputs, corrected_inputs
from sevhisto.io.annotations import Outline
from sevhisto.io.files import write_bytes_atomic
from sevhisto.io.key import codes
from sevhisto.io.models import load_model
from sevhisto.io.outlines import Feature, collection_bytes, feature_of, features_in, outlines_of_features
from sevhisto.io.slides import Slide, open_slide
from sevhisto.io.study import Study, load_study, paths_for
from sevhisto.io.toml_text import with_entry, with_value
from sevhisto.io.training import FOLDER, read_examples
from sevhisto.pipeline.measuring import slide_reader
from sevhisto.pipeline.naming import Names
from sevhisto.pipeline.reviewing import Place, open_review
from sevhisto.pipeline.running import is_open, quiet, slide_tasks
from sevhisto.pipeline.stages import Progress
from sevhisto.pipeline.tasks import SlideTask
from sevhisto.pipeline.training import corrected_tasks
from sevhisto.types import EVEN_CHANCE, AnyArray, Problem, SevhistoError, Shown

MADE_HERE = "sevhisto_stroke"
"""Metadata of strokes that were drawn in the viewer; what comes from QuPath lacks it, and is never changed."""
ANSWER_UM = 2.0
BLOCK_PX = 1024


@dataclass
class Lesson:
    """What is drawn on the slide of one section to learn from.

    Attributes
    ----------
    task : the slide
    um_per_px : its pixel size
    path : the file of its strokes, there or not
    kept : features that were drawn elsewhere, as they stand in the file
    strokes : areas and lines that were drawn here, each named by its class
    """

    task: SlideTask
    um_per_px: float
    path: Path
    kept: tuple[Feature, ...]
    strokes: tuple[Outline, ...]

    def open(self) -> Slide:
        """Open the slide, to show its own pixels."""
        return open_slide(self.task.path, self.task.scene, self.task.um_per_px)

    def save(self, strokes: Sequence[Outline]) -> None:
        """Keep these strokes and no others of this window; SevhistoError where they cannot be written: the earlier ones are untouched."""
        features = [*self.kept, *map(_marked, strokes)]
        if features:
            write_bytes_atomic(self.path, collection_bytes(features))
        elif self.path.is_file():
            self.path.unlink()
        self.strokes = tuple(strokes)


def _marked(outline: Outline) -> Feature:
    feature = feature_of(outline)
    feature["properties"]["metadata"] = {MADE_HERE: "1"}
    return feature


def _is_ours(feature: Feature) -> bool:
    return MADE_HERE in ((feature.get("properties") or {}).get("metadata") or {})


def open_lesson(root: Path, place: Place) -> Lesson:
    """Return what is drawn on the slide of a section, which is named as the results name it.

    SevhistoError where the section or its slide is gone, or its outlines are in an ImageJ file.
    """
    study = load_study(root)
    task = _task_of(study, place)
    found = study.training(_file(study, task), task.scene)
    if found is not None and found.suffix.lower() not in (".geojson", ".json"):
        remedy = "draw on this slide in ImageJ, or save its outlines as GeoJSON"
        raise SevhistoError(Problem(f"{FOLDER}/", "the outlines of this slide are in an ImageJ file, which is not changed here", remedy))
    features = features_in(found) if found is not None else []
    path = found or next(p for p in paths_for(study.root / FOLDER, _file(study, task), task.scene, (".geojson",)))
    with open_slide(task.path, task.scene, task.um_per_px) as slide:
        um = slide.um_per_px
    ours = outlines_of_features(f for f in features if _is_ours(f))
    return Lesson(task, um, path, tuple(f for f in features if not _is_ours(f)), tuple(ours))


def classes_drawn(root: Path, panel: str) -> list[str]:
    """Return the classes that are drawn on any slide of a panel, and those that its classifier is used for."""
    study = load_study(root)
    found = list(study.config.panels[panel].classes.values())
    for task in slide_tasks(study):
        drawn = study.training(_file(study, task), task.scene) if task.panel_name == panel else None
        found += [e.name for e in read_examples(drawn, (2**31, 2**31))[0]] if drawn is not None else []
    return sorted(set(found))


def _file(study: Study, task: SlideTask) -> str:
    return task.path.relative_to(study.slides_dir).as_posix()


def _task_of(study: Study, place: Place) -> SlideTask:
    names = Names.of(codes(study), is_open(study))
    rows = {(*names.shown(r["animal"], r["section"]), r["panel"]): int(str(i)) for i, r in study.slides.iterrows()}
    for task in slide_tasks(study):
        if rows.get(place) in [p.row for p in task.pieces]:
            return task
    raise SevhistoError(Problem(", ".join(place), "is no section of slides.csv any more", "run the study again"))


# ---------------------------------------------------------------- the answer


def answer(root: Path, name: str, place: Sequence[str], out: Path, jobs: int = 1, progress: Progress = quiet) -> Path:
    """Write what a trained classifier says of a section to an NPZ file, and return its path.

    `labels` (h, w) uint8: 0 where no class has an even chance or there is no tissue, else the number of the class from 1;
    `um_per_px`; `corner_um`: y, x of the first pixel's centre on the slide; `classes`: their names.

    Raises
    ------
    SevhistoError
        There is no such classifier or section, or it does not fit its slide.
    """
    study = load_study(root)
    animal, section, panel = place
    task = _task_of(study, (animal, section, panel))
    (task,) = corrected_tasks(slide_tasks(study), [task], jobs, progress)
    review = open_review(root)
    row = review.row_of((animal, section, panel))
    if row is None:
        raise SevhistoError(Problem(", ".join(place), "was not measured in the last run", "run the study first"))
    model = load_model(study.root / "classifiers" / f"{name}.npz")
    with open_slide(task.path, task.scene, task.um_per_px) as slide:
        wrong = model.too_coarse(slide.um_per_px)
        if wrong:
            raise SevhistoError(wrong)
        assert task.correction is not None
        reader = slide_reader(slide, task)
        images = partial(corrected_inputs, model.inputs, task.panel, task.correction)
        inputs = Inputs(model.inputs, reader, images, model.scales_um, slide.um_per_px, slide.shape)
        record = review.record(row)
        labels, step = _labels(Classifier(model, {c: c for c in model.classes}, inputs), slide, record, progress)
        corner = (np.array(record.meta["corner_px"], float) + (step - 1) / 2) * slide.um_per_px
        um = slide.um_per_px * step
    written = io.BytesIO()
    np.savez_compressed(written, labels=labels, um_per_px=um, corner_um=corner, classes=np.array(model.classes))
    write_bytes_atomic(out, written.getvalue())
    return out


def _labels(classifier: Classifier, slide: Slide, record: Shown, progress: Progress) -> tuple[AnyArray, int]:
    """Return the class of every `step`-th pixel of a section, block by block."""
    top, left = (int(c) for c in record.meta["corner_px"])
    height, width = (int(n) for n in record.meta["shape_px"])
    step = max(1, round(ANSWER_UM / slide.um_per_px))
    tissue, factor = (record.masks["tissue"] > 0) & (record.masks["cavity"] == 0), int(record.meta["overview_factor"])
    labels = np.zeros((-(-height // step), -(-width // step)), np.uint8)
    side = BLOCK_PX // step * step
    blocks = [(y, x) for y in range(0, height, side) for x in range(0, width, side)]
    for done, (y, x) in enumerate(blocks, 1):
        rows, columns = np.arange(y, min(y + side, height), step), np.arange(x, min(x + side, width), step)
        seen = tissue[np.minimum(rows // factor, len(tissue) - 1)][:, np.minimum(columns // factor, tissue.shape[1] - 1)]
        if seen.any():
            box = top + y, top + min(y + side, height), left + x, left + min(x + side, width)
            y0, y1, x0, x1 = classifier.needs(box)
            raw = slide.read(classifier.inputs.reader.channels, y0, y1, x0, x1)
            planes = np.stack(list(classifier.planes(box, raw, (y0, x0)).values()))[:, step // 2 :: step, step // 2 :: step]
            best = np.where(planes.max(axis=0) >= EVEN_CHANCE, planes.argmax(axis=0) + 1, 0)
            part = best[: len(rows), : len(columns)]
            labels[y // step : y // step + part.shape[0], x // step : x // step + part.shape[1]] = (
                part * seen[: part.shape[0], : part.shape[1]]
            )
        progress("blocks of the section", done, len(blocks))
    return labels, step


# ---------------------------------------------------------------- its use


def use_classifier(root: Path, panel: str, name: str, class_name: str, role: str) -> None:
    """Write into study.toml that a class of a trained classifier is measured on a panel, as `sevhisto train` tells to.

    StudyError where that makes wrong settings, SevhistoError where the file cannot be changed: then nothing was written.
    """
    study = load_study(root)
    path = study.root / "study.toml"
    raw = path.read_bytes()
    text = with_value(raw.decode("utf-8-sig"), ("panels", panel), "classifier", name)
    if class_name not in study.config.panels[panel].classes.values():
        entry = {"channel": class_name, "marker": class_name, "role": role, "source": "classifier"}
        text = with_entry(text, ("panels", panel, "channels"), entry)
    parse_config(tomllib.loads(text.replace("\r\n", "\n")))
    write_bytes_atomic(path, (b"\xef\xbb\xbf" if raw.startswith(b"\xef\xbb\xbf") else b"") + text.encode())
