"""The tables of results/: under which names they may be seen, and how they are written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from sevhisto.compare.endpoints import wide
from sevhisto.compare.motor import summarise_motor
from sevhisto.io.parquet import parquet_parts, write_parquet
from sevhisto.io.store import read_table, write_frame, write_table
from sevhisto.io.study import Study
from sevhisto.pipeline.cells import Cells
from sevhisto.pipeline.facts import last_facts, sealed
from sevhisto.pipeline.naming import Names
from sevhisto.pipeline.stages import Tick, no_tick
from sevhisto.registry import join_flags, split_flags
from sevhisto.schema import ANIMALS, CELLS, PROFILES, RECORDS, SECTIONS, STATUS, THRESHOLDS
from sevhisto.schema_evidence import EXCLUSIONS, ODC_SCI_EXCLUSIONS, PROVENANCE


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
