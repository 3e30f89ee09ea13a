"""Do the sheets of a study agree with each other, with study.toml and with the folder? Tables in, problems out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

import pandas as pd

from sevhisto.config import SLIDE_ROLES, StudyConfig
from sevhisto.io.channel_set import slide_files
from sevhisto.io.sheets import PENDING, whole
from sevhisto.registry import did_you_mean
from sevhisto.types import Problem

YES, NO = ("yes", "y", "true", "1"), ("", "no", "n", "false", "0")
_COPYING = (".partial", ".part", ".filepart", ".crdownload", ".download", ".tmp")
_UNSAFE_ID = re.compile(r"^[=@+]|[\x00-\x1f\x7f/\\]")


def yes_no(cell: str) -> bool | None:
    """Return a yes/no cell (empty is no), or None for anything else."""
    plain = cell.strip().casefold()
    return True if plain in YES else False if plain in NO else None


def _cells(frame: pd.DataFrame, column: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield (where, cell) of a column, cells still to be filled in left out."""
    if column in frame:
        for row, cell in frame[column].items():
            if cell != PENDING:
                yield f"{name}, row {row}, column {column}", cell


def _each(frame: pd.DataFrame, column: str, name: str, wrong: Callable[[str], tuple[str, str] | None]) -> list[Problem]:
    found = ((where, wrong(cell)) for where, cell in _cells(frame, column, name))
    return [Problem(where, *told) for where, told in found if told]


def unsafe_ids(sheets: Mapping[str, pd.DataFrame]) -> list[Problem]:
    """Return ids that could do harm; `sheets` by file name."""
    return [p for name, frame in sheets.items() for field in ("animal", "section") for p in _each(frame, field, name, _unsafe)]


def _unsafe(cell: str) -> tuple[str, str] | None:
    if _UNSAFE_ID.search(cell.strip()):
        return f"{cell!r} is no id: a spreadsheet or a folder would take it for something else", "use letters, digits, - and _"
    return None


def slide_problems(slides: pd.DataFrame, config: StudyConfig | None, animals: pd.DataFrame) -> list[Problem]:
    """Panels, roles, animals, positions, numbers, and rows that say the same thing twice."""
    name = "slides.csv"
    found: list[Problem] = []
    if config is not None:
        found += _each(slides, "panel", name, _among(list(config.panels), "panel", "study.toml"))
    found += _each(slides, "role", name, _among(list(SLIDE_ROLES), "role", "the roles"))
    for column in ("animal", "section", "panel", "batch", "role"):
        found += _each(slides, column, name, lambda cell: None if cell.strip() else ("is empty", "every row needs it"))
    found += _single_stains(slides, config)
    samples = slides[slides["role"] == "sample"]
    known = [a.strip() for a in animals["animal"]]
    for where, cell in _cells(samples, "animal", name):
        if cell.strip() and cell.strip() not in known:
            found.append(Problem(where, f"animal {cell.strip()!r} is not in animals.csv", did_you_mean(cell.strip(), known)))
    for where, cell in _cells(samples, "position_um", name):
        if cell == "":
            remedy = "give the place along the cord in um, growing caudally; a lost section needs it too"
            found.append(Problem(where, "is empty", remedy))
    for column in ("piece", "scene"):
        found += _each(slides, column, name, _not_whole)
    found += _each(slides, "flipped", name, _yes_or_no)
    found += _each(slides, "um_per_px", name, lambda c: (f"{c!r} is not above 0", "give um per pixel") if _not_positive(c) else None)
    found += twice(slides, ("animal", "section", "panel"), name, "give each its own section id")
    return found + _pieces_twice(slides)


def _single_stains(slides: pd.DataFrame, config: StudyConfig | None) -> list[Problem]:
    """A single stain must name its marker, which its panel must have; no other slide has one."""
    found = []
    named = slides["marker"] if "marker" in slides else pd.Series("", index=slides.index)
    for row, role, panel, marker in zip(slides.index, slides["role"], slides["panel"], named, strict=True):
        where = f"slides.csv, row {row}, column marker"
        if role != "single_stain":
            if marker not in ("", PENDING):
                found.append(Problem(where, f"{marker!r} stands on a slide of role {role!r}", "only a single_stain slide names its marker"))
        elif marker == "":
            found.append(Problem(where, "is empty", "name the one marker that is stained on this slide"))
        elif config is not None and panel in config.panels and marker != PENDING:
            settings = config.panels[panel]
            known = [c.marker for c in settings.stained.channels if c.role != "autofluorescence"]
            if settings.kind == "brightfield":
                found.append(
                    Problem(where, "single stains tell the leaks of fluorescence", f"panel {panel!r} is brightfield: take the slide out")
                )
            elif marker not in known:
                found.append(Problem(where, f"{marker!r} is no stain of panel {panel!r}", did_you_mean(marker, known)))
    return found


def _not_whole(cell: str) -> tuple[str, str] | None:
    return None if cell == "" or whole(cell) else (f"{cell!r} is not a whole number of 1 or more", "count from 1")


def _not_positive(cell: str) -> bool:
    try:
        return float(cell.replace(",", ".")) <= 0
    except ValueError:
        return False  # not a number at all: told elsewhere


def _among(known: list[str], what: str, place: str) -> Callable[[str], tuple[str, str] | None]:
    def wrong(cell: str) -> tuple[str, str] | None:
        return None if cell in ("", *known) else (f"{what} {cell!r} is not in {place}", did_you_mean(cell, known))

    return wrong


def _declared(protocols: list[str]) -> Callable[[str], tuple[str, str] | None]:
    def wrong(cell: str) -> tuple[str, str] | None:
        near = did_you_mean(cell, protocols)
        remedy = near if protocols else f"declare [protocols.{cell}], left empty where the group was given nothing"
        return None if cell in ("", *protocols) else (f"protocol {cell!r} is not in study.toml", remedy)

    return wrong


def _yes_or_no(cell: str) -> tuple[str, str] | None:
    return (f"{cell!r} is neither yes nor no", "write yes, or leave it empty") if yes_no(cell) is None else None


def _pieces_twice(slides: pd.DataFrame) -> list[Problem]:
    there = slides[slides["file"] != ""].copy()
    for column, default in (("piece", 0), ("scene", 1)):
        there[column] = [(whole(c) or c) if c else default for c in there[column]] if column in there else default
    remedy = "number the pieces on a slide 1, 2, 3 in slide order, one row each"
    found = twice(there, ("file", "scene", "piece"), "slides.csv", remedy)
    for (file, _), rows in there.groupby(["file", "scene"], sort=False):
        if len(rows) > 1 and 0 in set(rows["piece"]) and len(set(rows["piece"])) > 1:
            row = rows.index[list(rows["piece"]).index(0)]
            found.append(Problem(f"slides.csv, row {row}, column piece", f"is empty, but {file} has several rows", remedy))
    return found


def twice(frame: pd.DataFrame, columns: Sequence[str], name: str, remedy: str) -> list[Problem]:
    """Return a Problem for each set of rows that agree in all of `columns`."""
    present = [c for c in columns if c in frame]
    stripped = frame[present].map(lambda v: v.strip() if isinstance(v, str) else v)
    complete = stripped[(stripped != PENDING).all(axis=1)]
    found = []
    for values, rows in complete.groupby(present, sort=False, dropna=False):
        if len(rows) > 1:
            said = ", ".join(f"{c} {v}" for c, v in zip(present, values if isinstance(values, tuple) else (values,), strict=True))
            found.append(Problem(f"{name}, rows {', '.join(map(str, rows.index))}", f"stand for the same thing ({said})", remedy))
    return found


def file_problems(slides: pd.DataFrame, folder: Path) -> list[Problem]:
    """Files that are missing, or that lie outside the folder of the slides."""
    found: list[Problem] = []
    checked: dict[str, tuple[str, str] | None] = {"": None}
    for where, cell in _cells(slides, "file", "slides.csv"):
        if cell not in checked:
            checked[cell] = _file_wrong(cell, folder)
            told = checked[cell]
            if told:
                found.append(Problem(where, *told))
    return found


def _file_wrong(cell: str, folder: Path) -> tuple[str, str] | None:
    windows = PureWindowsPath(cell)
    if windows.is_absolute() or windows.drive or cell.startswith(("/", "\\")) or ".." in windows.parts:
        return f"{cell!r} leaves the folder of the slides", f"give the path inside {folder.name}/, such as R01/R01_s01.tif"
    path = folder / cell
    try:
        files = [p for p in slide_files(path) if p.exists()]
    except OSError as error:  # such as a name that is too long
        return f"cannot be opened: {error.strerror}", "give the name of the image file"
    going = [p for p in files for end in _COPYING if p.with_name(p.name + end).exists()]
    if going:
        return f"a copy of {going[0].name} is still under way, or was broken off", "wait for it, or copy the file again"
    if files:  # links too must stay inside
        inside = all(p.resolve().is_relative_to(folder.resolve()) for p in files)
        return None if inside else (f"{cell!r} is a link that leaves the folder of the slides", "put the file itself there")
    present = [p.relative_to(folder).as_posix() for p in sorted(path.parent.glob("*"))] if path.parent.is_dir() else []
    near = did_you_mean(cell, present)
    remedy = near if near.startswith("did you mean") else f"put it into {folder}; a lost section has an empty file cell"
    return f"there is no file {cell!r} in {folder.name}/", remedy


def results_problems(results: Path, folder: Path) -> list[Problem]:
    """Results must not lead into the folder of the slides: nothing is ever written there."""
    home, own = folder.resolve(), results.parent.resolve() / results.name
    links = [p for p in (sorted(results.iterdir()) if results.is_dir() else ()) if p.is_symlink()]
    found = []
    for place in (results, *links):
        real = place.resolve()
        beside = home == own.parent and real.is_relative_to(own)  # slides that lie beside study.toml
        if real.is_relative_to(home) and not beside:
            remedy = "take the link away, or set slides_dir in [study] to the folder of the images"
            found.append(Problem(str(place), "lies in the folder of the slides, which is never written to", remedy))
    return found


def animal_problems(animals: pd.DataFrame, slides: pd.DataFrame, config: StudyConfig | None) -> list[Problem]:
    """Animals that stand twice, protocols that study.toml does not know, exclusions without a reason."""
    name = "animals.csv"
    found = _each(animals, "animal", name, lambda cell: None if cell.strip() else ("is empty", "every row needs an animal id"))
    stripped = animals.assign(animal=[a.strip() for a in animals["animal"]])
    for animal, rows in stripped[~stripped["animal"].isin(["", PENDING])].groupby("animal", sort=False):
        if len(rows) > 1:
            arms = list(dict.fromkeys(rows["protocol"]))
            told = f"is in two protocols: {', '.join(arms)}" if len(arms) > 1 else f"stands {len(rows)} times"
            found.append(Problem(f"{name}, rows {', '.join(map(str, rows.index))}", f"animal {animal!r} {told}", "keep one row per animal"))
    if config is not None:
        found += _each(animals, "protocol", name, _declared(list(config.protocols)))
    sampled = {a.strip() for a in slides.loc[slides["role"] == "sample", "animal"]}
    grouped = config is None or config.protocols or any(stripped["protocol"] != "")  # else it is one group that was given nothing
    for row, animal, protocol in stripped[["animal", "protocol"]].itertuples():
        if protocol == "" and animal in sampled and grouped:
            found.append(Problem(f"{name}, row {row}, column protocol", "is empty", f"name the protocol of animal {animal!r}"))
    found += _each(animals, "excluded", name, _yes_or_no)
    if "excluded" in animals:
        reasons = animals["exclusion_reason"] if "exclusion_reason" in animals else [""] * len(animals)
        for row, cell, reason in zip(animals.index, animals["excluded"], reasons, strict=True):
            if yes_no(cell) and not reason:
                found.append(Problem(f"{name}, row {row}, column exclusion_reason", "is empty", "say why the animal is excluded"))
    return found


def motor_problems(motor: pd.DataFrame, typed: pd.DataFrame, animals: pd.DataFrame, config: StudyConfig | None) -> list[Problem]:
    """Unknown animals, scores off the scale, empty cells, one score given twice."""
    name = "motor.csv"
    known = [a.strip() for a in animals["animal"]]
    found = []
    for where, cell in _cells(motor, "animal", name):
        if cell.strip() not in known:
            found.append(Problem(where, f"animal {cell.strip()!r} is not in animals.csv", did_you_mean(cell.strip(), known)))
    for column in ("day", "score"):
        found += _each(motor, column, name, lambda c: None if c else ("is empty", "give the number, or delete the row"))
    tests = motor["test"].replace("", "BBB") if "test" in motor else pd.Series("BBB", index=motor.index)
    if config is not None:
        scale = config.motor
        for row, score in typed.loc[tests == scale.test, "score"].items():
            if score < 0 or score > scale.maximum:
                what = f"{score:g} is not on the scale of {scale.test}, 0 to {scale.maximum:g}"
                found.append(Problem(f"{name}, row {row}, column score", what, "correct the score, or [motor] maximum in study.toml"))
        if len(motor) and not (tests == scale.test).any():
            what = f"holds no score of test {scale.test!r}, which [motor] of study.toml names"
            found.append(Problem(f"{name}, column test", what, did_you_mean(scale.test, sorted(set(tests)))))
    same: dict[str, Any] = {"test": tests}
    given = typed.assign(**same, animal=[a.strip() for a in motor["animal"]]).dropna(subset=["day"])
    return found + twice(given, ("animal", "day", "test", "side", "rater"), name, "keep one score")
