"""What `sevhisto compare` gives beside contrasts and relations: exposure, models of recovery, the chain from protocol to motor, design."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from sevhisto.columns import Table
from sevhisto.compare.composite import composite_rows
from sevhisto.compare.design import hidden
from sevhisto.compare.exposure import exposure, exposure_notes, unmatched_contrasts
from sevhisto.compare.links import links
from sevhisto.compare.longitudinal import longitudinal
from sevhisto.compare.mediation import CANNOT_SHOW
from sevhisto.compare.protocols import contrast_flags, study_contrasts
from sevhisto.config import StudyConfig
from sevhisto.decide.spread import section_spread
from sevhisto.schema import COMPOSITE_TABLE, DESIGN, EXPOSURE, MEDIATION, MODELS, SENSITIVITY, SHAPES


@dataclass
class Further:
    """Tables to write, flags of each contrast, and notes for the reader."""

    tables: list[tuple[Table, pd.DataFrame]] = field(default_factory=list)
    contrast_flags: dict[str, set[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Compared:
    """What was compared: animal table with the composite index, sections.csv, scores, animals sheet, groups, and the contrasts' rows.

    `groups` holds the animals that take part, `everybody` also those that are excluded. Names are as shown; `opened` where they are true.
    """

    animals: pd.DataFrame
    sections: pd.DataFrame
    motor: pd.DataFrame
    people: pd.DataFrame
    groups: pd.Series[str]
    everybody: pd.Series[str]
    comparisons: pd.DataFrame
    config: StudyConfig
    opened: bool


def further(of: Compared) -> Further:
    """Return everything that stands beside comparisons and relations."""
    parts = [
        delivered(of.people, of.everybody, of.config) if of.opened else Further(),
        recovery(of.motor, of.people, of.groups, of.config),
        chain(of.animals, of.people, of.groups, of.config, of.opened),
        Further([(DESIGN, hidden(section_spread(of.sections), of.comparisons, of.groups))]),
    ]
    flags = {name: found for part in parts for name, found in part.contrast_flags.items()}
    return Further([t for part in parts for t in part.tables], flags, [n for part in parts for n in part.notes])


def delivered(people: pd.DataFrame, groups: pd.Series[str], config: StudyConfig) -> Further:
    """Return the exposure of every animal and what the protocols confound: for open studies only, since a profile tells the group."""
    table = exposure(people, groups, config)
    plan = study_contrasts(config, set(groups))
    confounded = {c.name: contrast_flags(config, c) for c in plan}
    for name in unmatched_contrasts(table, config, plan):
        confounded[name].add("dose_unmatched")
    return Further([(EXPOSURE, table)], confounded, exposure_notes(table, config))


def recovery(motor: pd.DataFrame, people: pd.DataFrame, groups: pd.Series[str], config: StudyConfig) -> Further:
    """Return the models of the recovery curves; nothing where no animal of a group has scores."""
    scored = motor[(motor["test"] == config.motor.test) & motor["animal"].isin(set(groups.index))]
    if scored.empty:
        return Further()
    return Further([(MODELS, longitudinal(scored, groups, config, study_contrasts(config, set(groups)), people))])


def reference(groups: pd.Series[str], config: StudyConfig, opened: bool) -> list[str]:
    """Return the animals that the composite index is relative to: those of vehicle groups; all while groups must not be known."""
    vehicles = [n for n, p in config.protocols.items() if p.is_vehicle] if opened else []
    return [str(a) for a in groups.index[groups.isin(vehicles)]] or [str(a) for a in groups.index]


def chain(animals: pd.DataFrame, people: pd.DataFrame, groups: pd.Series[str], config: StudyConfig, opened: bool) -> Further:
    """Return what leads from protocol to matrix to motor outcome; `animals` holds the rows of `composite_rows`."""
    shapes, mediation, sensitivity = links(animals, groups, config, study_contrasts(config, set(groups)), people)
    tables = [(SHAPES, shapes), (MEDIATION, mediation), (SENSITIVITY, sensitivity)]
    index = animals[animals["metric"] == "index"]
    if len(index):
        whose = "vehicle" if opened and set(reference(groups, config, True)) != set(map(str, groups.index)) else "all"
        shown = index.rename(columns={"value": "index"})[["animal", "marker", "index", "flags"]].assign(reference=whose)
        tables.append((COMPOSITE_TABLE, COMPOSITE_TABLE.conform(shown)))
    return Further(tables, notes=[CANNOT_SHOW] if len(mediation) else [])


def with_composite(animals: pd.DataFrame, groups: pd.Series[str], config: StudyConfig, opened: bool) -> pd.DataFrame:
    """Return the animal table with the rows of the composite matrix index."""
    rows = composite_rows(animals, config, reference(groups, config, opened))
    return pd.concat([animals, rows], ignore_index=True) if len(rows) else animals
