"""A study: a folder with study.toml, three sheets and the slides."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from sevhisto.columns import NUMBER, Table
from sevhisto.config import ProtocolSettings, StudyConfig, parse_config
from sevhisto.io import crosscheck
from sevhisto.io import labels as label_images
from sevhisto.io.annotations import SUFFIXES
from sevhisto.io.deliveries import delivery_problems
from sevhisto.io.hand_thresholds import JOURNAL as THRESHOLDS
from sevhisto.io.hand_thresholds import held, place_problems, read_hand_thresholds, with_hand_thresholds
from sevhisto.io.models import FOLDER as CLASSIFIERS
from sevhisto.io.sheets import ID_COLUMNS, PENDING, numbers, pending, read_sheet, spreadsheet_problems
from sevhisto.io.spellings import spelling_problems
from sevhisto.io.training import FOLDER as TRAINING
from sevhisto.mistakes import not_toml
from sevhisto.registry import did_you_mean
from sevhisto.schema import ANIMALS_SHEET, MOTOR, SLIDES
from sevhisto.types import Problem, StudyError

_LARGEST_TOML, _MOST_DOTS = 1_000_000, 500
INIT = "`sevhisto init SLIDES` drafts the study files from the images"
ONE_GROUP = "all animals"
"""The group of a study that declares none."""
# what an arm can be told by, apart from the protocol itself
_BLINDED_ANIMALS = ("animal", "sex", "species", "strain", "age", "injury_level", "dpi", "excluded", "exclusion_reason")


@dataclass(frozen=True)
class Study:
    """A study as its files state it, checked.

    Attributes
    ----------
    root : folder of study.toml
    config : the settings
    slides : one row per piece of tissue, in file order; index ``row`` = line in slides.csv. piece, scene are int64 (0, all tissue, and 1
        where not given);
        position_um, um_per_px float64 (NaN where not given); flipped bool; the others str
    animals : one row per animal; every column of the schema (empty or NaN where not given) and those that the lab added; excluded bool
    motor : one row per score; test is BBB where not given
    """

    root: Path
    config: StudyConfig
    slides: pd.DataFrame
    animals: pd.DataFrame
    motor: pd.DataFrame

    @property
    def slides_dir(self) -> Path:
        """The folder of the images."""
        return self.root / self.config.study.slides_dir

    @property
    def results_dir(self) -> Path:
        """The folder of the results."""
        return self.root / "results"

    def slide_path(self, file: str) -> Path:
        """Return the path of an image that slides.csv names."""
        return self.slides_dir / file

    def corrections(self, file: str, scene: int = 1) -> Path | None:
        """Return the outlines that a person drew for one scene of an image, or None; StudyError where several files could be meant."""
        return self._drawn("corrections", file, scene)

    def training(self, file: str, scene: int = 1) -> Path | None:
        """Return the outlines with classes from which a classifier learns, as `corrections` returns those that are measured by."""
        return self._drawn(TRAINING, file, scene)

    def _drawn(self, folder: str, file: str, scene: int) -> Path | None:
        found = [path for path in paths_for(self.root / folder, file, scene, SUFFIXES) if path.is_file()]
        if len(found) > 1:
            names = " and ".join(p.name for p in found)
            raise StudyError(Problem(f"{folder}/", f"{names} are both for {file}", "keep one of them"))
        return found[0] if found else None

    def classifier(self, panel: str) -> Path | None:
        """Return the file of the trained classifier that a panel names, whether it is there or not; None where it names none."""
        name = self.config.panels[panel].classifier
        return self.root / CLASSIFIERS / f"{name}.npz" if name else None

    def labels(self, file: str, scene: int, panel: str) -> Path | None:
        """Return the label image of nuclei of one scene of an image; None where there is none, or none is used.

        StudyError where several files could be meant, or one file could be for several images.
        """
        if not self.config.labelled(panel):
            return None
        folder = self.root / self.config.study.labels_dir
        found = [path for path in paths_for(folder, file, scene, label_images.SUFFIXES) if path.is_file()]
        names = " and ".join(p.name for p in found)
        if len(found) > 1:
            raise StudyError(Problem(f"{folder.name}/", f"{names} are both for {file}", "keep one of them"))
        others = {(f, s) for f, s in zip(self.slides["file"], self.slides["scene"], strict=True) if f and (f, s) != (file, scene)}
        for other, number in sorted(others):
            if found and found[0] in paths_for(folder, other, int(number), label_images.SUFFIXES):
                what = f"{names} could be for {file} or {other}"
                raise StudyError(Problem(f"{folder.name}/", what, "name it after the whole file name, ending included: <image file>.tif"))
        return found[0] if found else None

    def blinded(self) -> Study:
        """Return a copy that cannot tell the groups: no protocols, contrasts or motor scores, and no column that differs between arms."""
        config = self.config.model_copy(update={"protocols": {}, "contrasts": []})
        kept = [c for c in self.animals.columns if c in _BLINDED_ANIMALS]
        return replace(self, config=config, animals=self.animals[kept].copy(), slides=self.slides.copy(), motor=self.motor.iloc[:0].copy())


def label_name(file: str, scene: int) -> str:
    """Return the name, in the folder of label images, of the one for a scene of an image."""
    return f"{image_stem(file.replace('*', 'all'))}{'' if scene == 1 else f'_scene{scene}'}.tif"


def image_stem(file: str) -> str:
    """Return the relative path of an image without its ending; ``.ome.tif`` is one ending."""
    return re.sub(r"(\.ome)?\.[^./]+$", "", file, flags=re.IGNORECASE)


def paths_for(folder: Path, file: str, scene: int, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """Yield where something that belongs to a scene of an image can lie in a folder: by the image's name, with and without its ending."""
    tail = "" if scene == 1 else f"_scene{scene}"
    file = file.replace("*", "all")  # a set of one file per channel
    for base in dict.fromkeys((file, image_stem(file))):
        for suffix in suffixes:
            yield folder / f"{base}{tail}{suffix}"


def load_study(root: Path) -> Study:
    """Read a study; StudyError holds everything that is wrong with its files, before a pixel is read."""
    root = Path(root)
    if not root.is_dir():
        raise StudyError(Problem(str(root), "there is no such folder", "give the folder that holds study.toml"))
    if not (root / "study.toml").is_file():
        raise StudyError(Problem(str(root), "is not a study: it has no study.toml", INIT))
    config, problems = _config(root / "study.toml")
    sheets: dict[str, tuple[pd.DataFrame, pd.DataFrame]] = {}
    usable = True
    for table, file, needed in ((SLIDES, "slides.csv", True), (ANIMALS_SHEET, "animals.csv", True), (MOTOR, "motor.csv", False)):
        text, typed, found, whole = _sheet(root / file, table, needed)
        sheets[file] = text, typed
        problems += found
        usable &= whole
    if usable:
        problems += _cross(root, config, sheets)
    by_hand = held(read_hand_thresholds(root))
    if config is not None and usable:
        batches = sheets["slides.csv"][0]["batch"]
        remedy = f"correct study.toml or slides.csv, or move {THRESHOLDS} away"
        problems += [Problem(THRESHOLDS, p.what, remedy) for t in by_hand for p in place_problems(t, config, batches)]
    if problems or config is None:
        raise StudyError(problems)
    config = with_hand_thresholds(config, by_hand)
    slides = _complete(sheets["slides.csv"][1], SLIDES)
    animals = _complete(sheets["animals.csv"][1], ANIMALS_SHEET)
    motor = _complete(sheets["motor.csv"][1], MOTOR)
    for column, default in (("piece", 0), ("scene", 1)):
        slides[column] = [int(c) if c else default for c in slides[column]]
    slides["flipped"] = [bool(crosscheck.yes_no(c)) for c in slides["flipped"]]
    animals["excluded"] = [bool(crosscheck.yes_no(c)) for c in animals["excluded"]]
    motor["test"] = motor["test"].replace("", "BBB")
    config = _one_group(config, animals, slides)
    return Study(root, config, slides, animals, motor)


def _one_group(config: StudyConfig, animals: pd.DataFrame, slides: pd.DataFrame) -> StudyConfig:
    """Return the settings with a protocol for a study of one group that was given nothing, which `animals` then names."""
    sampled = animals["animal"].isin(slides.loc[slides["role"] == "sample", "animal"])
    if config.protocols or not sampled.any():
        return config
    animals.loc[sampled, "protocol"] = ONE_GROUP
    return config.model_copy(update={"protocols": {ONE_GROUP: ProtocolSettings()}})


def _config(path: Path) -> tuple[StudyConfig | None, list[Problem]]:
    try:
        if path.stat().st_size > _LARGEST_TOML:
            return None, [Problem(path.name, f"is larger than {_LARGEST_TOML // 1000} kB", "is this the right file?")]
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
        long = next((i for i, line in enumerate(text.split("\n"), 1) if line.count(".") > _MOST_DOTS), 0)
        if long:  # the time that tomllib takes grows with the square of the parts of a key
            return None, [
                Problem(f"{path.name}, line {long}", f"holds more than {_MOST_DOTS} dots", "is this the right file? divide the line")
            ]
        data = tomllib.loads(text)
        leaves = list(_leaves(data, ()))
    except OSError as error:
        return None, [Problem(path.name, f"cannot be read: {error.strerror}", "check its permissions")]
    except UnicodeDecodeError:
        return None, [Problem(path.name, "is not UTF-8", "save it as UTF-8")]
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        return None, [not_toml(path.name, text, str(error))]
    left_open = tuple(f"{path.name}: {'.'.join(place)}" for place, value in leaves if value == PENDING)
    problems = [Problem(place, "is still to be filled in", "replace the ?") for place in left_open]
    problems += [
        Problem(f"{path.name}: {'.'.join(place)}", f"{value} is not a finite number", "correct this value")
        for place, value in leaves
        if isinstance(value, float) and not math.isfinite(value)
    ]
    try:
        return parse_config(data), problems
    except StudyError as error:
        return None, problems + [p for p in error.problems if not _told(p, left_open)]


def _told(problem: Problem, places: tuple[str, ...]) -> bool:
    return f"{PENDING!r}" in problem.what or any(problem.where == p or problem.where.startswith(f"{p}.") for p in places)


def _leaves(item: Any, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(item, dict):
        for key, value in item.items():
            yield from _leaves(value, (*place, key))
    elif isinstance(item, list):
        for i, value in enumerate(item, 1):
            yield from _leaves(value, (*place, str(i)))
    else:
        yield place, item


def _sheet(path: Path, table: Table, needed: bool) -> tuple[pd.DataFrame, pd.DataFrame, list[Problem], bool]:
    """Return the sheet as text and typed, its problems, and whether its columns are there (else rows cannot be checked)."""
    empty = pd.DataFrame({c.name: pd.Series(dtype="float64" if c.kind == NUMBER else object) for c in table.columns})
    if not path.is_file():
        missing = [Problem(path.name, f"is missing in {path.parent}", INIT)] if needed else []
        return empty, empty, missing, not needed
    text, problems = read_sheet(path, table)
    whole = "delimiter" in text.attrs and not any(p.what.startswith("column ") and p.what.endswith(" is missing") for p in problems)
    typed, wrong = numbers(text, table, path.name)
    return text, typed, problems + pending(text, path.name) + spreadsheet_problems(text, path.name) + wrong, whole


def _cross(root: Path, config: StudyConfig | None, sheets: dict[str, tuple[pd.DataFrame, pd.DataFrame]]) -> list[Problem]:
    slides, animals, (motor, scores) = sheets["slides.csv"][0], sheets["animals.csv"][0], sheets["motor.csv"]
    found = spelling_problems(slides, animals, motor, config)
    found += crosscheck.unsafe_ids({name: text for name, (text, _) in sheets.items()})
    found += crosscheck.slide_problems(slides, config, animals)
    found += crosscheck.animal_problems(animals, slides, config)
    found += delivery_problems(animals, sheets["animals.csv"][1], config)
    found += crosscheck.motor_problems(motor, scores, animals, config)
    if not len(slides):
        found.append(Problem("slides.csv", "lists no section", "add one row per piece of tissue"))
    if config is not None:
        folder = root / config.study.slides_dir
        if folder.is_dir():
            found += crosscheck.file_problems(slides, folder) + crosscheck.results_problems(root / "results", folder)
        else:
            remedy = "put the images there, or set slides_dir in [study] of study.toml"
            found.append(Problem(str(folder), "there is no such folder", remedy))
    return found + [p for folder in ("corrections", TRAINING) for p in _stray_outlines(root / folder, slides)]


def _stray_outlines(folder: Path, slides: pd.DataFrame) -> list[Problem]:
    """Outlines that belong to no slide would be left out, and nobody would notice."""
    present = [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
    scenes = slides["scene"] if "scene" in slides else pd.Series("1", index=slides.index)
    pairs = {(f, int(s) if s.isdigit() else 1) for f, s in zip(slides["file"], scenes, strict=True) if f not in ("", PENDING)}
    owners: dict[Path, set[str]] = {}
    for file, scene in sorted(pairs):
        for path in paths_for(folder, file, scene, SUFFIXES):
            owners.setdefault(path, set()).add(file)
    known = [p.relative_to(folder).as_posix() for p in owners if p.suffix == ".geojson" and p.is_relative_to(folder)]
    found = []
    for path in present:
        name = path.relative_to(folder).as_posix()
        if path not in owners:
            found.append(Problem(f"{folder.name}/{name}", "belongs to no slide of slides.csv", did_you_mean(name, known)))
        elif len(owners[path]) > 1:
            what = f"could belong to {' or '.join(sorted(owners[path]))}"
            found.append(Problem(f"{folder.name}/{name}", what, "name it after the whole file name, ending included"))
    return found


def _complete(frame: pd.DataFrame, table: Table) -> pd.DataFrame:
    """Return all columns of the table in order, then the lab's own; ids without blanks around them."""
    out = frame.copy()
    out.attrs.clear()
    for column in table.columns:
        if column.name not in out:
            out[column.name] = float("nan") if column.kind == NUMBER else ""
    for name in out.columns[[not pd.api.types.is_float_dtype(d) for d in out.dtypes]]:
        cells = [v.strip() if name in ID_COLUMNS else v for v in out[name]]
        out[name] = pd.Series(cells, index=out.index, dtype=object)
    return out[[*table.names, *(c for c in out.columns if c not in table.names)]]
