"""Who belongs to which group, by name or by code, and what the design of the study limits."""

from __future__ import annotations

import itertools

import pandas as pd

from sevhisto.compare.protocols import design_notes, dose_problems
from sevhisto.config import ContrastSettings, StudyConfig
from sevhisto.io.key import Key
from sevhisto.io.study import Study
from sevhisto.pipeline.naming import Names
from sevhisto.pipeline.running import is_open


def study_groups(study: Study, key: Key, names: Names) -> tuple[pd.Series[str], StudyConfig, pd.DataFrame]:
    """Return animal to group, the settings with groups named alike, and the animals sheet by shown name."""
    people = study.animals.assign(shown=[names.animals[a] for a in study.animals["animal"]]).set_index("shown")
    people = people[people["protocol"].isin(list(study.config.protocols))]
    if is_open(study):
        order = {p: i for i, p in enumerate(study.config.protocols)}
        people = people.iloc[sorted(range(len(people)), key=lambda i: (order[people["protocol"].iloc[i]], people.index[i]))]
        return people["protocol"].rename_axis("animal"), study.config, people
    groups = people["protocol"].map(key.groups).rename_axis("animal").sort_values(kind="stable")
    return groups, _coded_config(study.config, key, set(people["protocol"])), people


def _coded_config(config: StudyConfig, key: Key, present: set[str]) -> StudyConfig:
    """Return the settings with protocols under group codes, and every pair of groups that have animals as a contrast.

    The planned contrasts would tell the groups by their pattern (all but one against one: the vehicle), and so would those that follow from
    doses and durations.
    """
    protocols = {key.groups[name]: p for name, p in config.protocols.items()}
    pairs = [
        ContrastSettings(name=f"{a} - {b}", a=[a], b=[b]) for a, b in itertools.combinations(sorted(key.groups[n] for n in present), 2)
    ]
    return config.model_copy(update={"protocols": dict(sorted(protocols.items())), "contrasts": pairs})


def design_limits(study: Study) -> list[str]:
    """Return what the design limits, one sentence each; while groups are codes, only that."""
    if not is_open(study):
        return ["While groups are codes every pair of them is compared: which contrasts are planned would tell what the codes stand for."]
    return [*design_notes(study.config), *(f"{p.what}." for p in dose_problems(study.config))]
