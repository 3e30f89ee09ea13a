"""The tables of results/: under which names they may be seen, and how they are written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from sevhisto.compare.endpoints import wide
from sevhisto.compare.motor import summarise_motor
from sevhisto.io.key import Key, with_codes
from sevhisto.io.parquet import parquet_parts, write_parquet
from sevhisto.io.store import read_table, write_frame, write_table
from sevhisto.io.study import Study, image_stem
from sevhisto.pipeline.cells import Cells
from sevhisto.pipeline.facts import last_facts, sealed
from sevhisto.pipeline.stages import Tick, no_tick
from sevhisto.registry import join_flags, split_flags
from sevhisto.schema import ANIMALS, CELLS, PROFILES, RECORDS, SECTIONS, STATUS, THRESHOLDS
from sevhisto.schema_evidence import EXCLUSIONS, ODC_SCI_EXCLUSIONS, PROVENANCE


@dataclass(frozen=True)
class Names:
    """How animals and files are called in the results: by code until the study is open.

    `key` is None for an open study; where it is not, names are also sought in sections, batches and what people wrote.
    """

    animals: Mapping[str, str]
    files: Mapping[str, str]
    key: Key | None = None

    @classmethod
    def of(cls, key: Key, is_open: bool) -> Names:
        """Return true names for an open study, codes otherwise."""
        if is_open:
            return cls({name: name for name in key.animals}, {name: name for name in key.files})
        return cls(key.animals, key.files, key)

    def shown(self, animal: str, section: str) -> tuple[str, str]:
        """Return what an animal and a section of it are called."""
        return (self.animals[animal], section) if self.key is None else self.key.shown(animal, section)

    def batch(self, batch: str) -> str:
        """Return what a stain batch is called."""
        return batch if self.key is None else self.key.batches.get(batch, batch)

    def written(self, text: str) -> str:
        """Return what a person wrote, without true names."""
        return text if self.key is None else self.key.hide(text)

    def clean(self, text: str) -> str:
        """Return a message without true names: an error often quotes the file, or the outlines that are named after it."""
        wholes, stems, lengths = self._parts

        def code_at(i: int, n: int) -> str | None:
            if i and _WORD.match(text[i - 1]):
                return None
            part, rest = text[i : i + n], text[i + n : i + n + 40]
            if part in wholes and not _WORD.match(rest):
                return wholes[part]
            return stems[part] if part in stems and _ENDING.match(rest) else None

        return with_codes(text, lengths, code_at)

    @cached_property
    def _parts(self) -> tuple[dict[str, str], dict[str, str], list[int]]:
        """Coded names with and without folder, their stems, and how long these are, longest first."""
        wholes: dict[str, str] = {}
        stems: dict[str, str] = {}
        for name, code in sorted(self.files.items(), key=lambda item: -len(item[0])):
            if name and name != code:
                stem = image_stem(name)
                for whole in (name, Path(name).name):
                    wholes.setdefault(whole, code)
                for part in (stem, Path(stem).name):
                    stems.setdefault(part, code)
        return wholes, stems, sorted({len(n) for n in (*wholes, *stems) if n}, reverse=True)


_WORD = re.compile(r"\w")
_ENDING = re.compile(r"(_scene\d+)?\.\w")
"""What follows the stem of a file's name: a stem such as 1 is a word of its own elsewhere."""


class Traced(NamedTuple):
    """Hash of a section's outlines, its flags, and the areas that a person drew to be left out."""

    digest: str
    flags: set[str]
    areas: list[dict[str, Any]]


@dataclass
class Results:
    """Every table of a run, in memory but for the cells; `outlines` holds what was traced on each section, by row of slides.csv."""

    status: pd.DataFrame
    sections: pd.DataFrame
    cells: Cells
    profiles: pd.DataFrame
    animals: pd.DataFrame
    wide: pd.DataFrame
    thresholds: pd.DataFrame
    records: pd.DataFrame
    frozen: dict[str, str]
    outlines: dict[int, Traced]
    notes: list[str]


def write_results(folder: Path, results: Results, stamp: set[str], tick: Tick = no_tick) -> None:
    """Write every table, with the flags of the whole study; each is complete or absent, never half-written."""
    write_parquet(folder / CELLS.name, (stamped(part, stamp) for part in results.cells), CELLS)
    tables = {
        STATUS: results.status,
        SECTIONS: results.sections,
        PROFILES: results.profiles,
        THRESHOLDS: results.thresholds,
        RECORDS: results.records,
        ANIMALS: results.animals,
    }
    for done, (table, frame) in enumerate(tables.items(), 1):
        write_table(folder / table.name, stamped(frame, stamp), table)
        tick(done, len(tables))
    write_frame(folder / "animals_wide.csv", stamped(results.wide, stamp))


def stamped(frame: pd.DataFrame, stamp: set[str]) -> pd.DataFrame:
    """Return a table with the flags of the whole study on each row: in its column ``flags``, or in one called ``stamp``."""
    if not stamp:
        return frame
    if "flags" in frame.columns:
        told = {f: join_flags(split_flags(f) | stamp) for f in frame["flags"].unique()}
        return frame.assign(flags=pd.Series([told[f] for f in frame["flags"]], frame.index, dtype=object))
    return frame.assign(stamp=join_flags(stamp))


def restamp(folder: Path, stamp: set[str]) -> None:
    """Put flags of the whole study onto the tables of the last run, where they do not stand yet."""
    if not stamp or all(stamp <= split_flags(f) for f in read_table(folder / STATUS.name, STATUS)["flags"]):
        return
    with sealed(folder, last_facts(folder)):
        for table in (SECTIONS, PROFILES, THRESHOLDS, RECORDS, PROVENANCE, EXCLUSIONS, ODC_SCI_EXCLUSIONS, ANIMALS, STATUS):
            write_table(folder / table.name, stamped(read_table(folder / table.name, table), stamp), table)
        write_parquet(folder / CELLS.name, (stamped(part, stamp) for part in parquet_parts(folder / CELLS.name, CELLS)), CELLS)
        write_frame(folder / "animals_wide.csv", stamped(wide(read_table(folder / ANIMALS.name, ANIMALS)), stamp))


def motor_rows(study: Study, names: Names) -> pd.DataFrame:
    """Return the motor endpoints of every animal as rows of the animal table; none without scores."""
    if not (study.motor["test"] == study.config.motor.test).any():
        return ANIMALS.conform(pd.DataFrame(columns=ANIMALS.names))
    deaths = study.animals.set_index("animal")["death_day"].dropna()
    motor = summarise_motor(study.motor, study.config.motor, deaths)
    motor["animal"] = [names.animals[a] for a in motor["animal"]]
    return ANIMALS.conform(motor.sort_values(["animal", "metric"], kind="stable"))
