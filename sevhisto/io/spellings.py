"""One name in two spellings: two animals, two batches or two routes to a computer, and one to the eye."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import pandas as pd

from sevhisto.config import StudyConfig
from sevhisto.io.sheets import FREE_TEXT, PENDING, runs
from sevhisto.schema import ANIMALS_SHEET
from sevhisto.types import Problem

# Cyrillic and Greek letters that look like Latin ones: the same id to the eye, another one to a computer
_LOOKALIKES = str.maketrans("АВЕЅІЈКМНОРСТХасеоријхуѕΑΒΕΖΗΙΚΜΝΟΡΤΥΧο", "ABESIJKMHOPCTXaceopujxysABEZHIKMNOPTYXo")
_ABBREVIATED = {
    "iv": "intravenous",
    "ip": "intraperitoneal",
    "it": "intrathecal",
    "im": "intramuscular",
    "in": "intranasal",
    "icv": "intracerebroventricular",
    "sc": "subcutaneous",
    "po": "oral",
    "f": "female",
    "m": "male",
    "l": "left",
    "r": "right",
}
"""What people write short in one row, and in full in the next: routes, sexes, sides."""
LEVELS = {
    "slides.csv": ("batch",),
    "animals.csv": ("sex", "species", "strain", "age", "injury_level", "block", "cage"),
    "motor.csv": ("test", "side", "rater"),
}
"""Columns that sort rows into groups. Others are held against the words that they may hold."""


class Cell(NamedTuple):
    """A text and where it stands: a sheet and its row, or a setting of study.toml (row 0)."""

    text: str
    place: str
    row: int = 0


def spelling_key(text: str) -> str:
    """Return what an id looks like to the eye: without case, blanks, unicode forms, look-alike letters and leading zeros of numbers."""
    plain = unicodedata.normalize("NFKC", text).translate(_LOOKALIKES).casefold()
    return re.sub(r"(?<!\d)0+(?=\d)", "", " ".join(plain.split()), flags=re.ASCII)


def level_key(text: str) -> str:
    """Return what a group's name says: as `spelling_key`, without dots and hyphens between words, abbreviations in full."""
    plain = re.sub(r"\.(?!\d)", "", spelling_key(text))
    plain = re.sub(r"(?<=[^\W_])-(?=[^\W_])|[\s_]+", " ", plain)
    plain = re.sub(r"(?<=[^\W\d_]) (?=[^\W\d_])", "", plain)
    return _ABBREVIATED.get(plain, plain)


def near_equal(cells: Iterable[Cell], where: str, what: str = "ids", key: Callable[[str], str] = spelling_key) -> list[Problem]:
    """Return a Problem for each set of texts that differ by their spelling only, with the places of each; empty and open cells are none."""
    groups: dict[str, dict[str, list[Cell]]] = {}
    for cell in cells:
        if cell.text not in ("", PENDING):
            groups.setdefault(key(cell.text), {}).setdefault(cell.text, []).append(cell)
    twice = [spellings for spellings in groups.values() if len(spellings) > 1]
    shown = [" and ".join(itertools.starmap(_shown, spellings.items())) for spellings in twice]
    return [Problem(where, f"{what} that are hard to tell apart: {told}", "use one spelling everywhere") for told in shown]


def _shown(text: str, cells: list[Cell]) -> str:
    odd = f" = {ascii(text)[1:-1]}" if any(ord(c) > 127 for c in text) else ""
    rows = {place: [c.row for c in cells if c.place == place and c.row] for place in dict.fromkeys(c.place for c in cells)}
    places = [f"{place}, row{'s' * (len(r) > 1)} {runs(r)}" if r else place for place, r in rows.items()]
    return f"{text!r}{odd} ({'; '.join(places)})"


def spelling_problems(slides: pd.DataFrame, animals: pd.DataFrame, motor: pd.DataFrame, config: StudyConfig | None) -> list[Problem]:
    """Return ids over all sheets, and names of groups (levels of a factor), that stand there in two spellings."""
    sheets = {"slides.csv": slides, "animals.csv": animals, "motor.csv": motor}
    ids = [cell for name, frame in sheets.items() for cell in _column(frame, "animal", name)]
    found = near_equal(ids, "column animal of slides.csv, animals.csv and motor.csv")
    for animal, rows in slides.groupby("animal", sort=False):
        found += near_equal(_column(rows, "section", "slides.csv"), f"slides.csv, sections of animal {animal}")
    settings = _settings(config) if config is not None else {}
    for name, columns in LEVELS.items():
        own = _own_levels(animals) if name == "animals.csv" else []
        for column in (*columns, *own):
            cells = [*_column(sheets[name], column, name), *settings.pop(column, ())]
            found += near_equal(cells, f"{name}, column {column}", "texts", level_key)
    for what, cells in settings.items():
        found += near_equal(cells, f"study.toml: {what}", "texts", level_key)
    return found


def _column(frame: pd.DataFrame, column: str, name: str) -> Iterator[Cell]:
    return (Cell(str(v), name, int(str(row))) for row, v in frame[column].items()) if column in frame else iter(())


def _settings(config: StudyConfig) -> dict[str, list[Cell]]:
    """Return the names of study.toml that sort animals or sections into groups, by what they are."""
    protocols = config.protocols.items()
    return {
        "batch": [Cell(name, f"study.toml: batches.{name}") for name in config.batches],
        "test": [Cell(config.motor.test, "study.toml: motor.test")],
        "panels": [Cell(name, f"panels.{name}") for name in config.panels],
        "protocols": [Cell(name, f"protocols.{name}") for name in config.protocols],
        "route": [Cell(p.route, f"protocols.{name}.route") for name, p in protocols],
        "vehicle": [Cell(p.vehicle, f"protocols.{name}.vehicle") for name, p in protocols],
    }


def _own_levels(animals: pd.DataFrame) -> list[str]:
    """Return a lab's own columns that sort animals into groups: at least every other text stands in another row too."""
    own = [c for c in animals.columns if c not in (*ANIMALS_SHEET.names, *FREE_TEXT)]
    texts = {c: [str(v) for v in animals[c] if str(v) not in ("", PENDING)] for c in own}
    return [c for c, cells in texts.items() if len({level_key(v) for v in cells}) <= len(cells) / 2]
