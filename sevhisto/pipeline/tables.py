"""From records to the tables of results/, under the names that may be seen."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from sevhisto.compare.endpoints import wide
from sevhisto.compare.motor import summarise_motor
from sevhisto.config import StudyConfig, settings_hash
from sevhisto.decide.animal_table import animal_table
from sevhisto.decide.bridge import Bridge
from sevhisto.decide.controls import missing_controls, sentences
from sevhisto.decide.pools import ThresholdKey
from sevhisto.decide.profiles import BorderPool, profile_table
from sevhisto.decide.rows import SectionRow, SectionSummary, summarise
from sevhisto.decide.section_table import section_table
from sevhisto.decide.thresholds import Threshold, find_thresholds
from sevhisto.io.exclusions import Exclusion
from sevhisto.io.key import Key, with_codes
from sevhisto.io.records import load_tallies
from sevhisto.io.store import read_parquet, read_table, write_frame, write_parquet, write_table
from sevhisto.io.study import Study, image_stem
from sevhisto.pipeline.accepting import Accepted, settled
from sevhisto.pipeline.excluding import covering, signature, whole_animals
from sevhisto.pipeline.tasks import PieceOutcome
from sevhisto.registry import join_flags, split_flags
from sevhisto.schema import ANIMALS, CELLS, PROFILES, RECORDS, SECTIONS, STATUS, THRESHOLDS
from sevhisto.schema_evidence import EXCLUSIONS, ODC_SCI_EXCLUSIONS, PROVENANCE
from sevhisto.tallies import Tallies

QUIET_FLAGS = {
    "contour_unreviewed",
    "contour_accepted",
    "contour_carried",
    "no_lesion",
    "no_landmark",
    "stain_vectors_assumed",
    "no_nuclear_channel",
    "cells_by_bodies",
    "axis_uncertain",
}
"""Flags that say what a section is, not that something is wrong with it: they leave its status ok."""


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
    """Every table of a run, in memory; `outlines` holds what was traced on each section, by row of slides.csv."""

    status: pd.DataFrame
    sections: pd.DataFrame
    cells: pd.DataFrame
    profiles: pd.DataFrame
    animals: pd.DataFrame
    wide: pd.DataFrame
    thresholds: pd.DataFrame
    records: pd.DataFrame
    frozen: dict[str, str]
    outlines: dict[int, Traced]
    notes: list[str]


def decide(study: Study, outcomes: list[PieceOutcome], names: Names, exclusions: list[Exclusion], accepted: Accepted) -> Results:
    """Return the tables of a study from the records of its sections, without what is left out."""
    study = replace(study, config=_shown_batches(study, names))
    by_row = {o.row: o for o in outcomes}
    aside: list[SectionSummary] = []
    summaries: list[SectionSummary] = []
    border = BorderPool(study.config.thresholds.per_image)
    cells: list[pd.DataFrame] = []
    status: list[dict[str, Any]] = []
    outlines: dict[int, Traced] = {}
    for row, outcome, record in _rows(study, by_row, names, exclusions, accepted):
        flags = set() if record is None else set(record.meta["flags"]) | _unsigned(study, outcome, record, exclusions)
        status.append(_status_row(study, row, outcome, flags, names))
        sure = None if record is None else record.meta.get("core_confidence")
        status[-1]["core_confidence"] = np.nan if sure is None else float(sure)
        if record is not None:
            row.record = record
            if row.status == "excluded":
                aside.append(_put_aside(summarise(row, study.config)))
            else:
                border.add(row)
                summaries.append(summarise(row, study.config))
                cells.append(_cell_rows(row, record))
            outlines[outcome.row] = Traced(record.contour, flags, record.meta.get("excluded_areas", []))
            row.record = None
    thresholds = find_thresholds(summaries, study.config)
    sections = section_table(summaries, thresholds, study.config)
    listed = _with_verdicts(pd.DataFrame(status), sections)
    shown = listed[[*STATUS.names, "position_um", "role"]]
    no_rows = {names.animals[e.animal]: e.panel for e in exclusions if not e.section}  # an animal, or a panel of it, is gone altogether
    kept = [no_rows.get(a, "none") not in ("", p) for a, p in zip(shown["animal"], shown["panel"], strict=True)]
    animals = animal_table(sections, shown[kept], study.config)
    gone = {names.animals[a] for a in whole_animals(exclusions)}
    motor = motor_rows(study, names)
    animals = _joined(animals, motor[~motor["animal"].isin(gone)])
    frozen = {
        "contours": settings_hash({_identity(study, number): traced.digest for number, traced in outlines.items()}),
        "thresholds": settings_hash(sorted([*_true_batch(k, study, names), t.value] for k, t in thresholds.items() if t.value == t.value)),
    }
    return Results(
        STATUS.conform(listed[STATUS.names]),
        _joined(sections, section_table([s for s in aside if _has_thresholds(s, thresholds)], thresholds, study.config)),
        _all_cells(cells),
        profile_table(sections, shown, border, thresholds),
        animals,
        wide(animals),
        _threshold_rows(thresholds),
        listed[RECORDS.names],
        frozen,
        outlines,
        [*missing_controls(study.slides), *sentences(t.doubts for t in thresholds.values())],
    )


def _shown_batches(study: Study, names: Names) -> StudyConfig:
    """Return the settings with batches called as in the results."""
    batches = {names.batch(name): batch for name, batch in study.config.batches.items()}
    return study.config.model_copy(update={"batches": batches})


def _unsigned(study: Study, outcome: PieceOutcome, record: Tallies, exclusions: list[Exclusion]) -> set[str]:
    areas = record.meta.get("excluded_areas", [])
    place = tuple(study.slides.loc[outcome.row, ["animal", "section", "panel"]])
    return set() if not areas or signature(exclusions, place, areas) is not None else {"exclusion_unsigned"}


def _true_batch(key: ThresholdKey, study: Study, names: Names) -> ThresholdKey:
    """Return the key of a threshold with its batch's true name: what is frozen must not change with the names."""
    batches = {names.batch(batch): batch for batch in study.slides["batch"]}
    return key[0], batches[key[1]], key[2]


def _with_verdicts(listed: pd.DataFrame, sections: pd.DataFrame) -> pd.DataFrame:
    """Return the list of sections with what the section table advises."""
    of_section, said = list(STATUS.key), ["verdict", "reasons"]
    advice = sections.drop_duplicates(of_section)[[*of_section, *said]]
    joined = listed.drop(columns=said, errors="ignore").merge(advice, on=of_section, how="left", validate="one_to_one")
    joined[said] = joined[said].fillna("")
    return joined


def _identity(study: Study, row: int) -> str:
    """Return a section's true name: the order of the rows changes when codes become names, and must not look like a changed contour."""
    line = study.slides.loc[row]
    return json.dumps([line["panel"], line["animal"], line["section"]])


def write_results(folder: Path, results: Results, stamp: set[str]) -> None:
    """Write every table, with the flags of the whole study; each is complete or absent, never half-written."""
    for table, frame in (
        (STATUS, results.status),
        (SECTIONS, results.sections),
        (PROFILES, results.profiles),
        (THRESHOLDS, results.thresholds),
        (RECORDS, results.records),
        (ANIMALS, results.animals),
    ):
        write_table(folder / table.name, stamped(frame, stamp), table)
    write_parquet(folder / "cells.parquet", stamped(results.cells, stamp), CELLS)
    write_frame(folder / "animals_wide.csv", stamped(results.wide, stamp))


def stamped(frame: pd.DataFrame, stamp: set[str]) -> pd.DataFrame:
    """Return a table with the flags of the whole study on each row: in its column ``flags``, or in one called ``stamp``."""
    if not stamp:
        return frame
    if "flags" in frame.columns:
        return frame.assign(**{"flags": [join_flags(split_flags(f) | stamp) for f in frame["flags"]]})
    return frame.assign(stamp=join_flags(stamp))


def restamp(folder: Path, stamp: set[str]) -> None:
    """Put flags of the whole study onto the tables of the last run, where they do not stand yet."""
    if not stamp or all(stamp <= split_flags(f) for f in read_table(folder / STATUS.name, STATUS)["flags"]):
        return
    for table in (SECTIONS, PROFILES, THRESHOLDS, RECORDS, PROVENANCE, EXCLUSIONS, ODC_SCI_EXCLUSIONS, ANIMALS, STATUS):
        write_table(folder / table.name, stamped(read_table(folder / table.name, table), stamp), table)
    write_parquet(folder / "cells.parquet", stamped(read_parquet(folder / "cells.parquet", CELLS), stamp), CELLS)
    write_frame(folder / "animals_wide.csv", stamped(wide(read_table(folder / ANIMALS.name, ANIMALS)), stamp))


def _rows(
    study: Study, outcomes: Mapping[int, PieceOutcome], names: Names, exclusions: list[Exclusion], accepted: Accepted
) -> Iterator[tuple[SectionRow, PieceOutcome, Tallies | None]]:
    """Yield the sections in order of their shown names, each with its record, one record in memory at a time."""
    slides = study.slides.assign(shown=[names.animals[a] for a in study.slides["animal"]])
    for index, line in slides.sort_values(["panel", "shown", "position_um", "section"], kind="stable").iterrows():
        outcome = outcomes.get(int(str(index)), PieceOutcome(int(str(index)), None, "the section was lost: slides.csv has no file for it"))
        place = (line["animal"], line["section"], line["panel"])
        record = None if outcome.record is None else settled(load_tallies(outcome.record), place, accepted)
        status = "failed" if record is None else "flagged" if set(record.meta["flags"]) - QUIET_FLAGS else "ok"
        named = (*names.shown(line["animal"], line["section"]), line["panel"], names.batch(line["batch"]), line["role"])
        row = SectionRow(*named, float(line["position_um"]), status, outcome.reason)
        excluded = covering(exclusions, *place)
        if excluded is not None:
            row.status, row.reason = "excluded", ": ".join(t for t in (excluded.reason, names.written(excluded.note)) if t)
        yield row, outcome, record


def _status_row(study: Study, row: SectionRow, outcome: PieceOutcome, flags: set[str], names: Names) -> dict[str, Any]:
    return {
        "animal": row.animal,
        "section": row.section,
        "panel": row.panel,
        "file": names.files[str(study.slides.loc[outcome.row, "file"])],
        "status": row.status,
        "flags": join_flags(flags),
        "reason": names.clean(row.reason.replace(f"{study.root}{os.sep}", "")),
        "position_um": row.position_um,
        "role": row.role,
        "batch": row.batch,
        "record": "" if outcome.record is None else outcome.record.name,
    }


def _cell_rows(row: SectionRow, record: Tallies) -> pd.DataFrame:
    columns = {name: values for name, values in record.cells.items() if name != "side"}
    n = len(next(iter(columns.values()))) if columns else 0
    identity = {"animal": row.animal, "section": row.section, "panel": row.panel, "cell": np.arange(1, n + 1)}
    return pd.DataFrame({**identity, **columns}, index=range(n))


def _all_cells(parts: list[pd.DataFrame]) -> pd.DataFrame:
    filled = [p for p in parts if len(p)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame({name: [] for name in CELLS.names})


def _put_aside(summary: SectionSummary) -> SectionSummary:
    summary.flags = summary.flags | {"excluded"}
    return summary


def _has_thresholds(summary: SectionSummary, thresholds: Mapping[ThresholdKey, Threshold]) -> bool:
    """Return whether a section left out can be decided: thresholds never come from such, and its batch may have no other."""
    return all((summary.row.panel, summary.row.batch, marker) in thresholds for marker in summary.markers)


def _joined(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([first, second], ignore_index=True) if len(first) and len(second) else second if len(second) else first


def motor_rows(study: Study, names: Names) -> pd.DataFrame:
    """Return the motor endpoints of every animal as rows of the animal table; none without scores."""
    if not (study.motor["test"] == study.config.motor.test).any():
        return ANIMALS.conform(pd.DataFrame(columns=ANIMALS.names))
    deaths = study.animals.set_index("animal")["death_day"].dropna()
    motor = summarise_motor(study.motor, study.config.motor, deaths)
    motor["animal"] = [names.animals[a] for a in motor["animal"]]
    return ANIMALS.conform(motor.sort_values(["animal", "metric"], kind="stable"))


def _threshold_rows(thresholds: Mapping[ThresholdKey, Threshold]) -> pd.DataFrame:
    rows = [
        (
            *(*key, t.value, t.source, t.raw, t.n_controls, join_flags(set(t.flags)), t.puncta, t.of_cells, t.local),
            *(", ".join(t.controls), "; ".join(t.doubts[d] for d in sorted(t.doubts)), *_bridge_cells(t.bridge)),
        )
        for key, t in sorted(thresholds.items())
    ]
    return THRESHOLDS.conform(pd.DataFrame(rows, columns=THRESHOLDS.names))


def _bridge_cells(bridge: Bridge | None) -> tuple[float, float, float, str]:
    if bridge is None:
        return (np.nan, np.nan, np.nan, "")
    return bridge.factor, bridge.low, bridge.high, ", ".join(bridge.sections)
