"""From protocol to matrix to motor outcome: shapes and mediation, over the endpoints that a study has (shapes.csv, mediation.csv)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sevhisto.compare.contrasts import carried_flags
from sevhisto.compare.endpoints import impact, widen, with_endpoints
from sevhisto.compare.mediation import RHO, Mediation, mediate
from sevhisto.compare.relations import ecm_endpoints, motor_endpoints
from sevhisto.compare.shapes import find_shape
from sevhisto.config import ContrastSettings, StudyConfig
from sevhisto.metrics import COMPOSITE, COMPOSITE_PANEL, endpoint_name
from sevhisto.registry import join_flags
from sevhisto.schema import MEDIATION, SENSITIVITY, SHAPES

DRAWS = 5000
_ENOUGH = 60
"""Animals below which mediation is flagged: with a = b = 0.39 some 70 are needed (Fritz and MacKinnon 2007)."""


@dataclass(frozen=True)
class _Study:
    values: pd.DataFrame
    flags: pd.DataFrame
    arms: pd.Series[str]
    people: pd.DataFrame
    config: StudyConfig

    def mixed_days(self, animals: pd.Index) -> bool:
        """Whether these animals were killed at different days."""
        return "dpi" in self.people and len(set(self.people["dpi"].reindex(animals).dropna())) > 1


def links(
    animals: pd.DataFrame,
    groups: pd.Series[str],
    config: StudyConfig,
    contrasts: Sequence[ContrastSettings],
    people: pd.DataFrame,
    excluded: Collection[str] = (),
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Return `schema.SHAPES`, `schema.MEDIATION` and `schema.SENSITIVITY`.

    Parameters
    ----------
    animals : DataFrame
        Long animal table, with the rows of the composite index.
    groups : Series
        Animal to protocol.
    contrasts : the planned ones are taken; a mediator stands between a contrast and its outcome
    people : DataFrame
        Indexed by animal; ``force_kdyn`` (or ``displacement_um``) is adjusted for, ``dpi`` must not differ.
    excluded : collection of str

    Notes
    -----
    Mediators of motor outcome are volumes of matrix in the core and their composite; the CD206 share of macrophages stands between the
    contrast and each of these volumes. Covariates are force and the day-1 score, where they are known, vary and leave 3 df.
    """
    table = with_endpoints(animals)
    arms = groups[groups.isin(list(config.protocols)) & ~groups.index.isin(list(excluded))].astype(str).sort_index()
    study = _Study(widen(table, "value").reindex(arms.index), widen(table, "flags"), arms, people.reindex(arms.index), config)
    shapes = [_shape(study, ecm, outcome) for _, ecm in ecm_endpoints(config, study.values.columns) for outcome in _motor(study)]
    rows, curves = [], []
    for c in (c for c in contrasts if c.planned):
        for mediator, outcome in _chains(study):
            found, covariates, more = _mediation(study, c, mediator, outcome)
            who = {"contrast": c.name, "mediator": mediator, "outcome": outcome}
            told = {k: v for k, v in vars(found).items() if k not in ("flags", "curve")}
            rows.append({**who, **told, "covariates": covariates, "flags": join_flags(set(found.flags) | more | {"exploratory"})})
            if found.curve is not None:
                parts = zip(RHO, found.curve, strict=True)
                curves += [{**who, "rho": rho, "indirect": v[0], "ci_low": v[1], "ci_high": v[2]} for rho, v in parts]
    frames = [pd.DataFrame(r, columns=t.names) for r, t in ((shapes, SHAPES), (rows, MEDIATION), (curves, SENSITIVITY))]
    return SHAPES.conform(frames[0]), MEDIATION.conform(frames[1]), SENSITIVITY.conform(frames[2])


def _motor(study: _Study) -> list[str]:
    return motor_endpoints(study.config, study.values.columns)


def _shape(study: _Study, ecm: str, outcome: str) -> dict[str, object]:
    known = pd.DataFrame({"ecm": study.values[ecm], "motor": study.values[outcome]}).dropna()
    flags = {f for e in (ecm, outcome) for f in carried_flags(study.flags, e, list(known.index))}
    flags |= {"missing_animals"} if len(known) < len(study.arms) else set()
    row: dict[str, object] = {"ecm": ecm, "motor": outcome, "n": len(known), "shape": ""}
    if study.mixed_days(known.index):
        return {**row, "flags": join_flags(flags | {"dpi_mixed"})}
    found = find_shape(known["ecm"].to_numpy(np.float64), known["motor"].to_numpy(np.float64), study.arms.loc[known.index])
    return {**row, **{k: v for k, v in vars(found).items() if k != "flags"}, "flags": join_flags(flags | found.flags)}


def _chains(study: _Study) -> Iterator[tuple[str, str]]:
    """Yield mediator and outcome of each chain whose endpoints were measured."""
    here = set(study.values.columns)
    volumes = [e for _, e in ecm_endpoints(study.config, here) if e.endswith("positive_volume_mm3")]
    composite = endpoint_name(COMPOSITE_PANEL, "core", COMPOSITE, "index")
    outcomes = [endpoint_name(study.config.motor.test, "", "", m) for m in ("auc", "plateau", "onset_day")]
    for mediator in (*volumes, *([composite] if composite in here else [])):
        yield from ((mediator, outcome) for outcome in outcomes if outcome in here)
    for share in (e for _, e in ecm_endpoints(study.config, here) if "_CD206_" in e):
        yield from ((share, volume) for volume in volumes)


def _mediation(study: _Study, c: ContrastSettings, mediator: str, outcome: str) -> tuple[Mediation, str, set[str]]:
    arms = study.arms[study.arms.isin([*c.a, *c.b])]
    data = pd.DataFrame({"x": arms.isin(c.a).astype(float), "m": study.values[mediator], "y": study.values[outcome]}).loc[arms.index]
    known = data.dropna()
    flags = {f for e in (mediator, outcome) for f in carried_flags(study.flags, e, list(known.index))}
    flags |= ({"missing_animals"} if len(known) < len(data) else set()) | ({"few_for_mediation"} if len(known) < _ENOUGH else set())
    if study.mixed_days(known.index):
        return Mediation(len(known)), "", flags | {"dpi_mixed"}
    if known["x"].nunique() < 2:
        return Mediation(len(known)), "", flags | {"too_few_animals"}
    day1 = endpoint_name(study.config.motor.test, "", "", "day1")
    severity = pd.DataFrame(index=known.index)
    hit = impact(study.people)
    for name, column in ((str(hit.name), hit), (day1, study.values.get(day1))):
        values = None if column is None else column.reindex(known.index)
        if values is not None and values.notna().all() and np.ptp(values) > 0 and len(known) - 4 - severity.shape[1] >= 3:
            severity[name] = values - values.mean()
    flags |= set() if severity.shape[1] else {"no_covariates"}
    x, m, y = (known[k].to_numpy(np.float64) for k in "xmy")
    found = mediate(x, m, y, severity.to_numpy(np.float64), DRAWS, study.config.comparison.seed)
    return found, ";".join(severity.columns), flags
