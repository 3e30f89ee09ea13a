"""What `sevhisto compare` gives beside contrasts and relations: exposure and what the design confounds, models of the recovery curves."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from sevhisto.columns import Table
from sevhisto.compare.exposure import exposure, exposure_notes, unmatched_contrasts
from sevhisto.compare.longitudinal import longitudinal
from sevhisto.compare.protocols import contrast_flags, study_contrasts
from sevhisto.config import StudyConfig
from sevhisto.schema import EXPOSURE, MODELS


@dataclass
class Further:
    """Tables to write, flags of each contrast, and notes for the reader."""

    tables: list[tuple[Table, pd.DataFrame]] = field(default_factory=list)
    contrast_flags: dict[str, set[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


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
