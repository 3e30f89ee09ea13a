"""From records to the specification curve: the study decided again, one choice at a time. No pixel is read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sevhisto.columns import as_frame
from sevhisto.compare.specifications import Specification
from sevhisto.config import StudyConfig
from sevhisto.decide.animal_table import animal_columns, listed_sections
from sevhisto.decide.bridge import Bridge
from sevhisto.decide.pools import ThresholdKey
from sevhisto.decide.rows import STUDIED_ROLES, SectionRow, summarise_shifted
from sevhisto.decide.section_table import Columns, section_columns, stacked
from sevhisto.decide.stack import SectionArrays
from sevhisto.decide.thresholds import Threshold, scale_thresholds
from sevhisto.decide.zones import AS_SET, CORE, ZoneShift, animal_zones
from sevhisto.engine import run_tasks
from sevhisto.io.records import load_tallies
from sevhisto.io.store import read_table
from sevhisto.registry import split_flags
from sevhisto.schema import ANIMALS, AS_ANALYSED, RECORDS, SECTIONS, STATUS, THRESHOLDS
from sevhisto.types import AnyArray

Variant = tuple[str, str]
THRESHOLDS_TIMES: dict[Variant, float] = {("threshold", f"x {factor:g}"): factor for factor in (0.7, 0.85, 1.15, 1.3)}
SHIFTS: dict[Variant, ZoneShift] = {
    ("lesion border", "50 um further in"): ZoneShift(border_um=-50.0),
    ("lesion border", "50 um further out"): ZoneShift(border_um=50.0),
    ("zone edges", "x 0.8"): ZoneShift(ring_scale=0.8),
    ("zone edges", "x 1.2"): ZoneShift(ring_scale=1.2),
}
LOCAL = ("background", "local")
AT_ONCE = 10
"""Animals that are decided together, at most."""
WORTH_A_PROCESS = 300
"""Sections that are decided in about the time that a process takes to come up."""
_OVER_GLOBAL = ("signal_", "cd68_joint", "n_cells_cd68", "fibre_", "positive_free", "autofluorescent", "cd206_")
"""Starts of columns that rest on intensity over the background of the batch, and have no form over the local one."""


@dataclass(frozen=True)
class _Task:
    """Some animals: their sections with their records, their listed sections, and the zones that are wanted."""

    sections: list[tuple[Path, SectionRow]]
    listed: pd.DataFrame
    config: StudyConfig
    thresholds: dict[ThresholdKey, Threshold]
    zones: list[str]


def _some_animals(task: _Task) -> dict[Variant, dict[str, AnyArray]]:
    """Return their columns of the animal table under every variant that changes sections, whose own rows would take ten times as much."""
    parts: dict[Variant, list[Columns]] = {variant: [] for variant in (*THRESHOLDS_TIMES, *SHIFTS)}
    scaled = {variant: scale_thresholds(task.thresholds, factor) for variant, factor in THRESHOLDS_TIMES.items()}
    for record, row in task.sections:
        plain, *shifted = summarise_shifted(replace(row, record=load_tallies(record)), task.config, (AS_SET, *SHIFTS.values()))
        for variant, thresholds in scaled.items():
            parts[variant].append(section_columns(plain, thresholds, task.config))
        for variant, summary in zip(SHIFTS, shifted, strict=True):
            parts[variant].append(section_columns(summary, task.thresholds, task.config))
    nothing = dict.fromkeys(SECTIONS.names, ())
    return {
        variant: animal_columns(SectionArrays.of(*stacked(blocks) or [nothing]), task.listed, task.config, task.zones)
        for variant, blocks in parts.items()
    }


@dataclass(frozen=True)
class LastRun:
    """The tables of the last run that the study is decided from again, and where its records are."""

    records: Path
    listed: pd.DataFrame
    status: pd.DataFrame
    sections: pd.DataFrame
    thresholds: pd.DataFrame
    animals: pd.DataFrame

    @classmethod
    def of(cls, results: Path) -> LastRun:
        """Read them from a results folder."""
        return cls(results / "records", *(read_table(results / t.name, t) for t in (RECORDS, STATUS, SECTIONS, THRESHOLDS, ANIMALS)))


def specifications(
    last: LastRun,
    config: StudyConfig,
    jobs: int = 1,
    tick: Callable[[int, int], None] = lambda done, total: None,
    excluded_motor: pd.DataFrame | None = None,
    zones: Collection[str] | None = None,
) -> Iterator[Specification]:
    """Yield the study as analysed and its variants: thresholds, lesion border, zone edges, background, flagged sections, each batch, each
    animal; and with what was excluded.

    Motor scores are the same in every variant but those that leave animals out.

    Parameters
    ----------
    jobs : processes that read records, where there are many
    tick : called with the sections done and their number
    excluded_motor : motor endpoints of excluded animals, as rows of the animal table; None where the study excludes nothing
    zones : those of the endpoints; the core is among them in any case. All where None
    """
    listed, status, sections, animals = last.listed, last.status, last.sections, last.animals
    yield Specification(AS_ANALYSED, "", animals)
    shown = status[STATUS.names].assign(position_um=listed["position_um"].to_numpy(), role=listed["role"].to_numpy())
    motor = animals[~animals["panel"].isin(set(config.panels))]
    wanted = [z for z in animal_zones(config) if zones is None or z in {*zones, CORE}]

    def with_motor(parts: list[dict[str, AnyArray]]) -> pd.DataFrame:
        return pd.concat([*(as_frame(block) for block in stacked(parts)), motor], ignore_index=True)

    def decided(rows: pd.DataFrame, with_status: pd.DataFrame) -> pd.DataFrame:
        return with_motor([animal_columns(SectionArrays.of(rows), listed_sections(with_status), config, wanted)])

    made = _decided_again(last, shown, config, wanted, jobs, tick)
    for choice, variant in list(made):
        yield Specification(choice, variant, with_motor(made.pop((choice, variant))))
    yield Specification(*LOCAL, decided(over_local_background(sections, config), shown))
    key = ["animal", "section", "panel"]
    for choice, variant, gone in _left_out(shown, listed):
        dropped = pd.MultiIndex.from_frame(shown.loc[gone, key])
        kept = sections[~pd.MultiIndex.from_frame(sections[key]).isin(dropped)]
        yield Specification(choice, variant, decided(kept, shown.assign(status=shown["status"].mask(gone, "excluded"))))
    if excluded_motor is not None:
        everything = shown.assign(status=shown["status"].mask((shown["status"] == "excluded") & (listed["record"] != "").to_numpy(), "ok"))
        table = pd.concat([decided(sections, everything), *([excluded_motor] if len(excluded_motor) else [])], ignore_index=True)
        yield Specification("with excluded", "", table, with_excluded=True)
    for animal in sorted(set(listed.loc[(listed["role"].isin(STUDIED_ROLES) & (shown["status"] != "excluded")).to_numpy(), "animal"])):
        yield Specification("without animal", animal, animals, frozenset({animal}))


def _decided_again(
    last: LastRun, shown: pd.DataFrame, config: StudyConfig, zones: list[str], jobs: int, tick: Callable[[int, int], None]
) -> dict[Variant, list[dict[str, AnyArray]]]:
    """Return the columns of the animal table of every variant that changes sections, in parts of some animals."""
    applied, listed = _thresholds(last.thresholds), last.listed
    there = (listed["record"] != "") & listed["role"].isin(STUDIED_ROLES) & (shown["status"] != "excluded").to_numpy()
    sections: dict[str, list[tuple[Path, SectionRow]]] = {}
    for line in listed[there].to_dict("records"):
        sections.setdefault(line["animal"], []).append((last.records / line["record"], _section_row(line)))
    studied = listed_sections(shown)
    animals = sorted(set(studied["animal"])) if sections else []
    jobs = min(jobs, 1 + int(there.sum()) // WORTH_A_PROCESS)
    n = min(AT_ONCE, max(1, len(animals) // (4 * jobs)))
    tasks = []
    for some in (animals[i : i + n] for i in range(0, len(animals), n)):
        theirs = [section for animal in some for section in sections.get(animal, [])]
        tasks.append(_Task(theirs, studied[studied["animal"].isin(some)], config, applied, zones))
    found: dict[int, dict[Variant, dict[str, AnyArray]]] = {}
    for i, tables in run_tasks(_some_animals, tasks, jobs):
        if isinstance(tables, BaseException):
            raise tables
        found[i] = tables
        tick(sum(len(tasks[k].sections) for k in found), int(there.sum()))
    return {variant: [found[i][variant] for i in sorted(found)] for variant in (*THRESHOLDS_TIMES, *SHIFTS)} if found else {}


def over_local_background(sections: pd.DataFrame, config: StudyConfig) -> pd.DataFrame:
    """Return the section table with what is positive over the local background; what has no such form is NaN.

    Nuclei are found by their contrast, and puncta by theirs: their numbers stay.
    """
    nuclei = {(name, p.marker_of_role("nuclei")) for name, p in config.panels.items()}
    counterstain = np.array([key in nuclei for key in zip(sections["panel"], sections["marker"], strict=True)], bool)
    changed: dict[str, Any] = {c: np.nan for c in sections.columns if c.startswith(_OVER_GLOBAL)}
    changed["n_cells"] = sections["n_cells"].where(counterstain)
    return sections.assign(positive_um2=sections.get("positive_local_um2", np.nan), **changed)


def _left_out(shown: pd.DataFrame, listed: pd.DataFrame) -> Iterator[tuple[str, str, pd.Series[bool]]]:
    studied = shown["role"].isin(STUDIED_ROLES)
    flagged = studied & (shown["status"] == "flagged")
    if flagged.any():
        yield "without flagged sections", f"{int(flagged.sum())} left out", flagged
    batches = sorted(set(listed.loc[studied.to_numpy(), "batch"]))
    for batch in batches if len(batches) > 1 else []:
        yield "without batch", batch, studied & (listed["batch"] == batch).to_numpy()


def _section_row(line: dict[Hashable, Any]) -> SectionRow:
    names = {name: line[name] for name in ("animal", "section", "panel", "batch", "role", "position_um")}
    return SectionRow(**names, status="ok")


def _thresholds(table: pd.DataFrame) -> dict[ThresholdKey, Threshold]:
    found = {}
    for t in table.to_dict("records"):
        key = (str(t["panel"]), str(t["batch"]), str(t["marker"]))
        flags = frozenset(split_flags(t["flags"]))
        found[key] = Threshold(
            t["threshold"],
            t["source"],
            t["raw"],
            int(t["n_controls"]),
            flags,
            t["puncta_threshold"],
            t["cell_threshold"],
            t.get("local_threshold", np.nan),
            bridge=Bridge(t["bridge_factor"], t["bridge_low"], t["bridge_high"], ()),
        )
    return found
