"""What the report and the figures for papers are made from, and which results they show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from sevhisto.report.gallery import SectionCard

MAX_GUESSED = 4  # endpoints shown where none is declared


@dataclass
class ReportInputs:
    """All that the report shows; tables are as `sevhisto.schema` describes them.

    Attributes
    ----------
    blinded : groups are codes; said at the top
    banner_flags : flags of the whole study, such as ``changed_after_unblinding``
    sections : sections.csv; only its numbers of rows and animals are told
    motor : columns animal, day, score, for the test that is analysed
    groups : group (code or name) of each animal, index animal; its order is the order of the groups in all figures
    thresholds : columns panel, batch, marker, threshold, source, n_controls
    exposure : exposure.csv; None until the study is open
    delivery_profiles : columns protocol, half_life_min, hour, amount
    models, mediation, sensitivity, shapes, design : the tables of these names that `compare` writes
    run : run.json
    cards : every listed section, in the order of the gallery
    zones_um : distances from the core at which zones end (um)
    notes : what the design of the study limits, one sentence each
    settings : the settings as text
    primary : endpoints to show first; empty takes those of role primary, or core volumes and the motor curve
    motor_label : name and top of the motor scale, for the axis
    excluded : `schema_evidence.EXCLUSIONS`
    balance : `schema_evidence.EXCLUSION_BALANCE`, once groups are known
    opened : when the key was opened; empty while it is closed
    blind : whether the study is blind
    n_listed : animals of the study, those left out too
    """

    study_name: str
    blinded: bool
    status: pd.DataFrame
    animals: pd.DataFrame
    wide: pd.DataFrame
    groups: pd.Series
    sections: pd.DataFrame | None = None
    comparisons: pd.DataFrame | None = None
    relations: pd.DataFrame | None = None
    motor: pd.DataFrame | None = None
    specifications: pd.DataFrame | None = None
    profiles: pd.DataFrame | None = None
    thresholds: pd.DataFrame | None = None
    exposure: pd.DataFrame | None = None
    delivery_profiles: pd.DataFrame | None = None
    models: pd.DataFrame | None = None
    mediation: pd.DataFrame | None = None
    sensitivity: pd.DataFrame | None = None
    shapes: pd.DataFrame | None = None
    design: pd.DataFrame | None = None
    run: Mapping[str, Any] = field(default_factory=dict)
    cards: Sequence[SectionCard] = ()
    zones_um: Sequence[float] = ()
    banner_flags: Sequence[str] = ()
    notes: Sequence[str] = ()
    settings: str = ""
    primary: Sequence[str] = ()
    motor_label: str = "BBB score"
    excluded: pd.DataFrame | None = None
    balance: pd.DataFrame | None = None
    opened: str = ""
    blind: bool = True
    n_listed: int = 0


def by_animal(inputs: ReportInputs) -> pd.DataFrame:
    """Return the wide table with the animals as index."""
    return inputs.wide.set_index("animal") if "animal" in inputs.wide.columns else inputs.wide


def shown_endpoints(inputs: ReportInputs, wide: pd.DataFrame) -> list[str]:
    """Return the endpoints that get a figure: as declared, else a few that most studies ask for."""
    if inputs.primary:
        return [e for e in inputs.primary if e in wide.columns]
    if inputs.comparisons is not None and (inputs.comparisons["role"] == "primary").any():
        rows = inputs.comparisons[inputs.comparisons["role"] == "primary"]
        return [e for e in dict.fromkeys(rows["endpoint"]) if e in wide.columns]
    measured = [c for c in wide.columns if wide[c].notna().any()]
    volumes = [c for c in measured if "_core_" in c and c.endswith("positive_volume_mm3")]
    return (volumes + [c for c in measured if c.endswith("_auc_score_days") and "early" not in c])[:MAX_GUESSED]


def split_relations(relations: pd.DataFrame | None, shown: Sequence[str]) -> tuple[pd.DataFrame | None, pd.DataFrame | None]:
    """Return the relations that get a figure (those of the shown endpoints, else of the first pair) and those that stand in a table."""
    if relations is None or relations.empty:
        return None, None
    asked = relations["ecm"].isin(shown)
    if (asked & relations["motor"].isin(shown)).any():
        asked &= relations["motor"].isin(shown)
    if not asked.any():
        asked = (relations["ecm"] == relations["ecm"].iloc[0]) & (relations["motor"] == relations["motor"].iloc[0])
    return relations[asked], relations[~asked]
