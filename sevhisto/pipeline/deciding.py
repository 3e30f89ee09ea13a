"""From records to tables, in two readings: the thresholds of the study, then the rows that follow from them.

One record is in memory at a time, and what is held of a section in between is small: the largest study fits.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sevhisto.compare.endpoints import wide
from sevhisto.config import StudyConfig, settings_hash
from sevhisto.decide.animal_table import animal_table
from sevhisto.decide.bridge import Bridge
from sevhisto.decide.controls import missing_controls, sentences
from sevhisto.decide.pools import ThresholdKey
from sevhisto.decide.profiles import BorderPool, profile_table
from sevhisto.decide.quality import Signs, verdicts
from sevhisto.decide.rows import SectionRow, SectionSummary, summarise
from sevhisto.decide.section_table import Columns, joined, section_columns, stacked
from sevhisto.decide.thresholds import Threshold, find_thresholds
from sevhisto.io.exclusions import Exclusion
from sevhisto.io.records import load_tallies
from sevhisto.io.study import Study
from sevhisto.pipeline.accepting import Accepted, settled
from sevhisto.pipeline.cells import Cells, add_columns
from sevhisto.pipeline.excluding import covering, signature, whole_animals
from sevhisto.pipeline.naming import Names
from sevhisto.pipeline.stages import Progress, Tick, quiet
from sevhisto.pipeline.tables import Results, Traced, motor_rows
from sevhisto.pipeline.tasks import PieceOutcome
from sevhisto.registry import join_flags
from sevhisto.schema import RECORDS, STATUS, THRESHOLDS
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
Place = tuple[str, str, str]
"""Animal, section and panel under their true names."""


def decide(
    study: Study, outcomes: list[PieceOutcome], names: Names, exclusions: list[Exclusion], accepted: Accepted, progress: Progress = quiet
) -> Results:
    """Return the tables of a study from the records of its sections, without what is left out."""
    study = replace(study, config=_shown_batches(study, names))
    seen = _Seen(study, names, exclusions, accepted)
    thresholds = find_thresholds(seen.look({o.row: o for o in outcomes}, partial(progress, "thresholds")), study.config)
    decided = _Decided.of(seen.measured, thresholds, study.config, seen.tallies, partial(progress, "areas and counts"))
    sections = joined(decided.kept)
    decided.kept.clear()  # a third of what is held
    listed = _with_verdicts(pd.DataFrame(seen.status), sections)
    shown = listed[[*STATUS.names, "position_um", "role"]]
    no_rows = {names.animals[e.animal]: e.panel for e in exclusions if not e.section}  # an animal, or a panel of it, is gone altogether
    kept = [no_rows.get(a, "none") not in ("", p) for a, p in zip(shown["animal"], shown["panel"], strict=True)]
    animals = animal_table(sections, shown[kept], study.config, partial(progress, "animals"))
    gone = {names.animals[a] for a in whole_animals(exclusions)}
    motor = motor_rows(study, names)
    animals = _both(animals, motor[~motor["animal"].isin(gone)])
    true_batch = {names.batch(batch): batch for batch in study.slides["batch"].unique()}  # what is frozen must not change with the names
    frozen = {
        "contours": settings_hash({json.dumps(_identity(seen.places[row])): traced.digest for row, traced in seen.outlines.items()}),
        "thresholds": settings_hash(sorted([p, true_batch[b], m, t.value] for (p, b, m), t in thresholds.items() if t.value == t.value)),
    }
    return Results(
        STATUS.conform(listed[STATUS.names]),
        _both(sections, joined(decided.aside)),
        Cells([(m.row, m.record) for m in seen.measured if not m.left_out], seen.cell_columns, partial(progress, "cells")),
        profile_table(sections, shown, decided.border),
        animals,
        wide(animals),
        _threshold_rows(thresholds),
        listed[RECORDS.names],
        frozen,
        seen.outlines,
        [*missing_controls(study.slides), *sentences(t.doubts for t in thresholds.values())],
    )


@dataclass(frozen=True)
class _Measured:
    """A section that has a record; its row is without it."""

    row: SectionRow
    record: Path
    place: Place
    markers: tuple[str, ...]
    signs: Signs

    @property
    def left_out(self) -> bool:
        return self.row.status == "excluded"


@dataclass
class _Seen:
    """What the first reading leaves: rows of status.csv, outlines by row of slides.csv, what is to be decided, columns of its cells."""

    study: Study
    names: Names
    exclusions: list[Exclusion]
    accepted: Accepted
    status: list[dict[str, Any]] = field(default_factory=list)
    outlines: dict[int, Traced] = field(default_factory=dict)
    places: dict[int, Place] = field(default_factory=dict)
    measured: list[_Measured] = field(default_factory=list)
    cell_columns: dict[str, np.dtype[Any]] = field(default_factory=dict)

    def tallies(self, record: Path, place: Place) -> Tallies:
        """Return the tallies of a section as they count now."""
        return settled(load_tallies(record), place, self.accepted)

    def look(self, outcomes: Mapping[int, PieceOutcome], tick: Tick) -> Iterator[SectionSummary]:
        """Read every section in order of its shown names, and yield those that thresholds may come from."""
        slides = self.study.slides
        slides = slides.assign(row=slides.index, shown=[self.names.animals[a] for a in slides["animal"]])
        lines = slides.sort_values(["panel", "shown", "position_um", "section"], kind="stable").to_dict("records")
        for done, line in enumerate(lines, 1):
            number = int(line["row"])
            outcome = outcomes.get(number, PieceOutcome(number, None, "the section was lost: slides.csv has no file for it"))
            place = (line["animal"], line["section"], line["panel"])
            record = None if outcome.record is None else self.tallies(outcome.record, place)
            row, flags = self._row(line, place, outcome, record), set[str]()
            if record is not None and outcome.record is not None:
                flags = set(record.meta["flags"]) | self._unsigned(place, record)
                self.outlines[number] = Traced(record.contour, flags, record.meta.get("excluded_areas", []))
                self.places[number] = place
                summary = _summary(row, record, self.study.config)
                self.measured.append(_Measured(summary.row, outcome.record, place, summary.markers, Signs.of(summary)))
                if row.status != "excluded":
                    add_columns(self.cell_columns, record.cells)
                    yield summary
            self.status.append(self._status(line, row, outcome, flags, record))
            tick(done, len(lines))

    def _row(self, line: Mapping[Any, Any], place: Place, outcome: PieceOutcome, record: Tallies | None) -> SectionRow:
        status = "failed" if record is None else "flagged" if set(record.meta["flags"]) - QUIET_FLAGS else "ok"
        named = (*self.names.shown(line["animal"], line["section"]), line["panel"], self.names.batch(line["batch"]), line["role"])
        row = SectionRow(*named, float(line["position_um"]), status, outcome.reason)
        excluded = covering(self.exclusions, *place)
        if excluded is not None:
            row.status = "excluded"
            row.reason = ": ".join(t for t in (excluded.reason, self.names.written(excluded.note)) if t)
        return row

    def _unsigned(self, place: Place, record: Tallies) -> set[str]:
        areas = record.meta.get("excluded_areas", [])
        return set() if not areas or signature(self.exclusions, place, areas) is not None else {"exclusion_unsigned"}

    def _status(
        self, line: Mapping[Any, Any], row: SectionRow, outcome: PieceOutcome, flags: set[str], record: Tallies | None
    ) -> dict[str, Any]:
        sure = None if record is None else record.meta.get("core_confidence")
        return {
            "animal": row.animal,
            "section": row.section,
            "panel": row.panel,
            "file": self.names.files[line["file"]],
            "status": row.status,
            "flags": join_flags(flags),
            "reason": self.names.clean(row.reason.replace(f"{self.study.root}{os.sep}", "")) if row.reason else "",
            "position_um": row.position_um,
            "role": row.role,
            "batch": row.batch,
            "record": "" if outcome.record is None else outcome.record.name,
            "core_confidence": np.nan if sure is None else float(sure),
        }


@dataclass
class _Decided:
    """What the second reading leaves: rows of the section table, those of sections left out, and profiles about the lesion border."""

    kept: list[Columns] = field(default_factory=list)
    aside: list[Columns] = field(default_factory=list)
    border: list[pd.DataFrame] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        measured: Sequence[_Measured],
        thresholds: Mapping[ThresholdKey, Threshold],
        config: StudyConfig,
        tallies: Callable[[Path, Place], Tallies],
        tick: Tick,
    ) -> _Decided:
        """Read the sections again, an animal after the other."""
        chosen = [m for m in measured if not m.left_out or _has_thresholds(m, thresholds)]
        found = {out: verdicts([m.signs for m in chosen if m.left_out == out], thresholds, config) for out in (False, True)}
        decided, done = cls(), 0
        for _, mine in itertools.groupby(chosen, key=lambda m: (m.row.panel, m.row.animal)):
            border = BorderPool(config.thresholds.per_image)
            blocks: dict[bool, list[Columns]] = {False: [], True: []}
            for m in mine:
                record = tallies(m.record, m.place)
                if not m.left_out:
                    border.add(replace(m.row, record=record))
                summary = _summary(m.row, record, config)
                blocks[m.left_out].append(section_columns(summary, thresholds, config, found[m.left_out][m.signs.key]))
                done += 1
                tick(done, len(chosen))
            decided.kept += stacked(blocks[False])
            decided.aside += stacked(blocks[True])
            decided.border += border.rows(thresholds)
        return decided


def _summary(row: SectionRow, record: Tallies, config: StudyConfig) -> SectionSummary:
    """Return the summary of a section; one that is left out says so."""
    summary = summarise(replace(row, record=record), config)
    if row.status == "excluded":
        summary.flags = summary.flags | {"excluded"}
    return summary


def _has_thresholds(m: _Measured, thresholds: Mapping[ThresholdKey, Threshold]) -> bool:
    """Return whether a section left out can be decided: thresholds never come from such, and its batch may have no other."""
    return all((m.row.panel, m.row.batch, marker) in thresholds for marker in m.markers)


def _both(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([first, second], ignore_index=True) if len(first) and len(second) else second if len(second) else first


def _identity(place: Place) -> list[str]:
    """Return a section's true name: the order of the rows changes when codes become names, and must not look like a changed contour."""
    animal, section, panel = place
    return [panel, animal, section]


def _shown_batches(study: Study, names: Names) -> StudyConfig:
    """Return the settings with batches called as in the results."""
    batches = {names.batch(name): batch for name, batch in study.config.batches.items()}
    return study.config.model_copy(update={"batches": batches})


def _with_verdicts(listed: pd.DataFrame, sections: pd.DataFrame) -> pd.DataFrame:
    """Return the list of sections with what the section table advises."""
    of_section, said = list(STATUS.key), ["verdict", "reasons"]
    advice = sections.drop_duplicates(of_section)[[*of_section, *said]]
    joined = listed.drop(columns=said, errors="ignore").merge(advice, on=of_section, how="left", validate="one_to_one")
    joined[said] = joined[said].fillna("")
    return joined


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
