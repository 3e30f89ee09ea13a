"""Do the image files fit what the study says of them? Metadata only: no pixel is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from sevhisto.config import LABELS, WITHOUT_LESION
from sevhisto.io.annotations import name_problems, read_annotations
from sevhisto.io.channels import match_channels
from sevhisto.io.comparable import Imaged, differences, imaged
from sevhisto.io.labels import label_problems
from sevhisto.io.models import load_model
from sevhisto.io.pixelsize import reconcile
from sevhisto.io.scene import SceneInfo
from sevhisto.io.slides import slide_info
from sevhisto.io.study import Study, label_name
from sevhisto.io.training import class_problems, read_examples
from sevhisto.types import Problem, SevhistoError, SlideError, StudyError


def check_files(study: Study) -> list[Problem]:
    """Return everything that is wrong with the study's image files and drawn outlines; `inspect_files` tells the notes too."""
    return inspect_files(study)[0]


def inspect_files(study: Study) -> tuple[list[Problem], list[str]]:
    """Open the metadata of each image once.

    Returns
    -------
    problems : files that cannot be read; no such scene; no pixel size, or two that disagree; channels that are not there; colour where
        fluorescence is expected, and the reverse; time series; outlines that cannot be read or whose name means nothing; outlines to
        learn from that have no class or lie outside; pixels that are too coarse for a classifier
    notes : what is no fault, but should be known: Z stacks, pixel sizes that differ within a panel, exposure, gain, light, objective or bit
        depth that differ within a batch, lines and points among outlines
    """
    problems: list[Problem] = []
    notes: list[str] = []
    sizes: dict[str, dict[str, str]] = {}
    alike: list[Imaged] = []
    drawn: dict[str, set[str]] = {}
    listed = study.slides[study.slides["file"] != ""]
    for file, rows in listed.groupby("file", sort=False):
        where = f"slides.csv, row {rows.index[0]}, file {file}"
        try:
            scenes = slide_info(study.slide_path(str(file)))
        except SlideError as error:
            problems += [Problem(where, p.what, p.remedy) for p in error.problems]
            continue
        for scene, same in rows.groupby("scene", sort=True):
            where = f"slides.csv, row {same.index[0]}, file {file}"
            found, told, um = _scene(study, scenes, int(str(scene)), same, where)
            problems += found
            notes += told
            if int(str(scene)) <= len(scenes):
                problems += _labels(study, scenes[int(str(scene)) - 1], same, where)
                problems += _training(study, scenes[int(str(scene)) - 1], same, drawn)
            if not found:
                alike += _imaged(study, scenes[int(str(scene)) - 1], same)
            if um is not None:
                sizes.setdefault(str(same["panel"].iloc[0]), {}).setdefault(f"{um:.3g}", str(file))
                problems += [replace(p, where=where) for panel in dict.fromkeys(same["panel"]) for p in _too_coarse(study, panel, um)]
    for panel, by_size in sizes.items():
        if len(by_size) > 1:
            said = ", ".join(f"{um} um ({file})" for um, file in by_size.items())
            notes.append(f"panel {panel}: pixel sizes differ between files: {said}")
    notes += differences(alike)
    problems += [p for panel, names in drawn.items() for p in class_problems(names, panel)]
    found, told = _outlines(study, listed)
    folder = study.root / study.config.study.labels_dir
    if study.config.imaging.segmenter != LABELS and folder.is_dir():
        notes.append(f"{folder.name}/ is not used: imaging.segmenter is {study.config.imaging.segmenter!r}, not {LABELS!r}")
    return problems + found + _flats(study), notes + told


def _flats(study: Study) -> list[Problem]:
    """Images of an even field that cannot be read."""
    problems = []
    for name, batch in study.config.batches.items():
        for file in () if batch.shading is None else dict.fromkeys(batch.shading.flat.values()):
            try:
                n = len(slide_info(study.root / file)[0].channels)
            except SlideError as error:
                problems += [Problem(f"study.toml: batches.{name}.shading.flat", f"{p.where}: {p.what}", p.remedy) for p in error.problems]
                continue
            if n != 1:
                where = f"study.toml: batches.{name}.shading.flat"
                problems.append(Problem(where, f"{file} has {n} channels", "give an image of one channel for each marker"))
    return problems


def _labels(study: Study, info: SceneInfo, rows: pd.DataFrame, where: str) -> list[Problem]:
    """Label images that are not there, could be for several images, or do not fit."""
    file, problems = str(rows["file"].iloc[0]), []
    for panel in dict.fromkeys(rows["panel"]):
        try:
            path = study.labels(file, info.scene, panel)
        except StudyError as error:
            problems += error.problems
            continue
        if path is not None:
            problems += [Problem(where, f"{p.where}: {p.what}", p.remedy) for p in label_problems(path, info.shape)]
        elif study.config.labelled(panel) and not set(rows.loc[rows["panel"] == panel, "role"]) <= set(WITHOUT_LESION):
            problems.append(
                Problem(where, "has no label image", f"put it at {study.config.study.labels_dir}/{label_name(file, info.scene)}")
            )
    return problems


def _training(study: Study, info: SceneInfo, rows: pd.DataFrame, drawn: dict[str, set[str]]) -> list[Problem]:
    """What is wrong with the outlines to learn from; their classes are added to `drawn` by panel."""
    try:
        path = study.training(str(rows["file"].iloc[0]), info.scene)
    except StudyError as error:
        return error.problems
    if path is None:
        return []
    examples, problems = read_examples(path, info.shape)
    for panel in dict.fromkeys(rows["panel"]):
        drawn.setdefault(panel, set()).update(e.name for e in examples)
    return problems


def _too_coarse(study: Study, panel: str, um: float) -> list[Problem]:
    path = study.classifier(panel)
    try:
        return [] if path is None else load_model(path).too_coarse(um)
    except SevhistoError:
        return []  # told once for the panel


def _scene(
    study: Study, scenes: Sequence[SceneInfo], scene: int, rows: pd.DataFrame, where: str
) -> tuple[list[Problem], list[str], float | None]:
    if scene > len(scenes):
        what = f"scene {scene} is not there: the file has {len(scenes)}"
        return [Problem(where, what, "correct `scene` in slides.csv")], [], None
    info = scenes[scene - 1]
    problems: list[Problem] = []
    um = None
    stated = sorted(set(rows["um_per_px"].dropna()))
    if len(stated) > 1:
        said = " and ".join(f"{v:g}" for v in stated)
        problems.append(Problem(where, f"slides.csv gives pixel sizes {said} um for one image", "keep one of them"))
    else:
        try:
            um = reconcile(study.slide_path(str(rows["file"].iloc[0])), info.calibrations, stated[0] if stated else None).um
        except SlideError as error:
            problems += [Problem(where, p.what, p.remedy) for p in error.problems]
    if info.n_t > 1:
        problems.append(Problem(where, f"is a time series of {info.n_t} frames", "save the frame to be measured as a file of its own"))
    for panel in dict.fromkeys(rows["panel"]):
        try:
            match_channels(study.config.panels[panel], info.channels, f"{where}, panel {panel}")
        except SlideError as error:
            problems += error.problems
    notes = [f"{where}: a Z stack of {info.n_z} planes; its maximum projection is measured"] if info.n_z > 1 else []
    return problems, notes, um


def _imaged(study: Study, info: SceneInfo, rows: pd.DataFrame) -> list[Imaged]:
    first = rows.iloc[0]
    name = f"{first['file']}, scene {info.scene}" if first["scene"] != 1 else str(first["file"])
    found = []
    for panel, batch in dict.fromkeys(zip(rows["panel"], rows["batch"], strict=True)):
        found += imaged(info, study.config.panels[panel], panel, batch, name)
    return found


def _outlines(study: Study, listed: pd.DataFrame) -> tuple[list[Problem], list[str]]:
    problems: list[Problem] = []
    notes: list[str] = []
    for file, scene in dict.fromkeys(zip(listed["file"], listed["scene"], strict=True)):
        try:
            path = study.corrections(file, int(scene))
            if path is not None:
                outlines, told = read_annotations(path)
                problems += name_problems(outlines, f"corrections/{path.name}")
                notes += told
        except SevhistoError as error:
            problems += error.problems
    return problems, notes
