"""How extracellular matrix goes with motor recovery: regression within groups, over animals."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from sevhisto.compare.contrasts import carried_flags
from sevhisto.compare.endpoints import core_volume, impact, widen, with_endpoints
from sevhisto.config import StudyConfig
from sevhisto.metrics import COMPOSITE, COMPOSITE_PANEL, TISSUE, endpoint_name
from sevhisto.registry import join_flags
from sevhisto.schema import RELATIONS
from sevhisto.types import DoubleArray

_NAN = float("nan")
_MIN_DF = 3
_MATRIX: dict[str, tuple[str, ...]] = {
    "ecm": ("positive_volume_mm3", "fraction_pct", "area_um2"),
    "macrophage": ("fraction_of_cd68_pct",),
}
MODELS = ("within_arm", "adjusted", "pooled")


@dataclass(frozen=True)
class Fit:
    """Slope with 95 % t interval, p, and partial correlation; `flags` says why something is NaN."""

    n: int
    estimate: float = _NAN
    ci_low: float = _NAN
    ci_high: float = _NAN
    p: float = _NAN
    correlation: float = _NAN
    flags: frozenset[str] = frozenset()


def relate(
    animals: pd.DataFrame,
    motor: pd.DataFrame | None,
    groups: pd.Series[str],
    config: StudyConfig,
    covariates: pd.DataFrame | None = None,
    excluded: Collection[str] = (),
) -> pd.DataFrame:
    """Return `schema.RELATIONS`: every ECM endpoint against every motor endpoint, in three models.

    Parameters
    ----------
    animals : DataFrame
        Long animal table (`schema.ANIMALS`); motor rows may be in it.
    motor : DataFrame or None
        Motor summaries in the same layout (`summarise_motor`); None where `animals` holds them.
    groups : Series
        Animal to protocol; animals without a protocol of the study take no part.
    config : StudyConfig
    covariates : DataFrame, optional
        Indexed by animal; ``force_kdyn`` (or ``displacement_um``) is adjusted for, and ``dpi`` must not differ.
    excluded : collection of str
        Animals to leave out.

    Returns
    -------
    DataFrame
        Slopes are motor units per SD of the ECM endpoint within arms. ``within_arm``: motor ~ ecm + arm. ``adjusted``: also core
        volume, spared white matter, score on day 1 and force (or displacement), in this order, each where it is known, varies, and
        leaves 3 degrees of freedom. ``pooled``: motor ~ ecm, which group differences alone can create; not made of one group, where it is
        the first. Association, not cause.
    """
    long = animals if motor is None else pd.concat([animals[animals["zone"] != ""], motor], ignore_index=True)
    table = with_endpoints(long)
    arms = groups[groups.isin(list(config.protocols)) & ~groups.index.isin(list(excluded))].astype(str).sort_index()
    values, flags = widen(table, "value").reindex(arms.index), widen(table, "flags")
    extra = pd.DataFrame(index=arms.index) if covariates is None else covariates.reindex(arms.index)
    models = MODELS if len(set(arms)) > 1 else MODELS[:-1]
    rows = []
    for panel, ecm in ecm_endpoints(config, values.columns):
        for outcome in motor_endpoints(config, values.columns):
            candidates = _candidates(config, panel, outcome, values, extra)
            data = pd.DataFrame({"ecm": values[ecm], "motor": values[outcome], "arm": arms})
            known = data.dropna()
            common = {f for e in (ecm, outcome) for f in carried_flags(flags, e, list(known.index))}
            if "dpi" in extra.columns and len(set(extra.loc[known.index, "dpi"].dropna())) > 1:
                common.add("dpi_mixed")
            for model in models:
                fit, used = _fit_model(model, known, candidates, len(data), "dpi_mixed" in common)
                rows.append(_row(ecm, outcome, model, fit, used, common))
    return RELATIONS.conform(pd.DataFrame(rows, columns=RELATIONS.names))


def ecm_endpoints(config: StudyConfig, columns: Collection[str]) -> list[tuple[str, str]]:
    """Return (panel, column) of what stands for matrix, and for CD206 among CD68, in the core; only what was measured.

    The composite index belongs to no panel: severity is taken from the first panel's.
    """
    found = []
    for panel, settings in config.panels.items():
        for channel in settings.channels:
            found += [(panel, endpoint_name(panel, "core", channel.marker, m)) for m in _MATRIX.get(channel.role, ())]
    markers = dict.fromkeys(c.marker for p in config.panels.values() for c in p.channels if c.role == "ecm")
    if found and len(markers) > 1:
        found.append((found[0][0], endpoint_name(COMPOSITE_PANEL, "core", COMPOSITE, "index")))
    return [(panel, name) for panel, name in found if name in set(columns)]


def motor_endpoints(config: StudyConfig, columns: Collection[str]) -> list[str]:
    """Return the motor columns that are related to matrix; only what was measured."""
    names = [endpoint_name(config.motor.test, "", "", m) for m in ("auc", "plateau", "onset_day")]
    return [n for n in names if n in set(columns)]


def _candidates(config: StudyConfig, panel: str, outcome: str, values: pd.DataFrame, extra: pd.DataFrame) -> pd.DataFrame:
    day1 = endpoint_name(config.motor.test, "", "", "day1")
    names = [n for n in (core_volume(panel), _white_matter(config, values), day1) if n in values.columns and n != outcome]
    out = values[names].copy()
    hit = impact(extra)
    return out.assign(**{str(hit.name): hit})


def _white_matter(config: StudyConfig, values: pd.DataFrame) -> str:
    """Return the column of spared white matter that most animals have, drawn outlines before myelin stains; empty where there is none."""
    drawn = [endpoint_name(panel, "all", TISSUE, "spared_white_matter_mm2") for panel in config.panels]
    stained = [
        endpoint_name(panel, "all", channel.marker, "spared_white_matter_mm2")
        for panel, settings in config.panels.items()
        for channel in settings.channels
        if channel.role == "myelin"
    ]
    known = {name: int(np.count_nonzero(values[name].notna())) for name in (*drawn, *stained) if name in values.columns}
    return max(known, key=lambda name: known[name], default="")


def _row(ecm: str, outcome: str, model: str, fit: Fit, used: list[str], common: set[str]) -> dict[str, object]:
    flags = set(fit.flags) | common | ({"pooled_across_groups"} if model == "pooled" else set())
    covariates = ";".join([*(["arm"] if model != "pooled" else []), *used])
    values = {k: v for k, v in vars(fit).items() if k != "flags"}
    return {"ecm": ecm, "motor": outcome, "model": model, **values, "flags": join_flags(flags), "covariates": covariates}


def _fit_model(model: str, known: pd.DataFrame, candidates: pd.DataFrame, n_all: int, mixed: bool) -> tuple[Fit, list[str]]:
    if mixed:
        return Fit(len(known)), []
    sd = within_sd(known)
    chosen = _affordable(known, candidates) if model == "adjusted" else []
    data = known.join(candidates[chosen]).dropna()
    flags = {"missing_animals"} if len(data) < n_all else set()
    if model == "adjusted" and not chosen:
        return Fit(len(data), flags=frozenset(flags | {"no_covariates"})), []
    nuisance = _nuisance(data, chosen, arms=model != "pooled")
    fit = fit_slope(data["motor"].to_numpy(), data["ecm"].to_numpy() / (sd or _NAN), nuisance)
    return Fit(**{**vars(fit), "flags": fit.flags | flags}), chosen


def within_sd(known: pd.DataFrame) -> float:
    """Return the SD of column ecm pooled within column arm; NaN where no arm has two animals, 0 where nothing varies."""
    centred = known["ecm"] - known.groupby("arm")["ecm"].transform("mean")
    df = len(known) - known["arm"].nunique()
    by_arm = known.groupby("arm")["ecm"]
    varies = bool((by_arm.min() < by_arm.max()).any())
    return math.sqrt(float((centred**2).sum()) / df) if df > 0 and varies else (0.0 if df > 0 else _NAN)


def _affordable(known: pd.DataFrame, candidates: pd.DataFrame) -> list[str]:
    chosen: list[str] = []
    for name in candidates.columns:
        data = known.join(candidates[[*chosen, name]]).dropna()
        if not len(data):
            continue
        design = np.column_stack([data["ecm"].to_numpy(), _nuisance(data, [*chosen, name], arms=True)])
        scale = np.abs(design).max(axis=0)
        full_rank = bool((scale > 0).all()) and np.linalg.matrix_rank(design / scale) == design.shape[1]
        if full_rank and len(data) - design.shape[1] >= _MIN_DF:
            chosen.append(name)
    return chosen


def _nuisance(data: pd.DataFrame, covariates: list[str], arms: bool) -> DoubleArray:
    """Columns that the model adjusts for: one per arm (or a constant), then the covariates, centred."""
    base = pd.get_dummies(data["arm"], dtype=float).to_numpy() if arms else np.ones((len(data), 1))
    rest = data[covariates].to_numpy(dtype=np.float64)
    return np.column_stack([base, rest - rest.mean(axis=0)]) if len(data) else np.empty((0, 1))


def fit_slope(y: DoubleArray, x: DoubleArray, nuisance: DoubleArray) -> Fit:
    """Least squares of `y` on `x` and `nuisance`; slope of `x` with t interval on the residual df, partial r = t / sqrt(t2 + df).

    Below 3 residual degrees of freedom no interval is given (``too_few_animals``), below 1 no slope.
    """
    n, df = len(y), len(y) - 1 - nuisance.shape[1]
    if df < 1:
        return Fit(n, flags=frozenset({"too_few_animals"}))
    flags = frozenset({"too_few_animals"} if df < _MIN_DF else ())
    if not np.isfinite(x).all() or np.ptp(y) == 0 or _residual_share(x, nuisance) < 1e-8 or _residual_share(y, nuisance) < 1e-8:
        return Fit(n, flags=flags | {"no_variation"})
    design = np.column_stack([x, nuisance])
    inverse = np.linalg.pinv(design)
    beta = inverse @ y
    rest, slope = y - design @ beta, float(beta[0])
    se = float(np.sqrt((inverse @ inverse.T)[0, 0] * (rest @ rest / df)))
    t = slope / se if se > 0 else math.copysign(math.inf, slope)
    r = t / math.hypot(t, math.sqrt(df)) if math.isfinite(t) else math.copysign(1.0, slope)
    if df < _MIN_DF:
        return Fit(n, slope, correlation=r, flags=flags)
    half = float(stdtrit(df, 0.975)) * se
    return Fit(n, slope, slope - half, slope + half, float(2 * stdtr(df, -abs(t))), r, flags)


def _residual_share(v: DoubleArray, nuisance: DoubleArray) -> float:
    """Size of what `nuisance` leaves of `v`, relative to `v`."""
    rest = v - nuisance @ np.linalg.lstsq(nuisance, v, rcond=None)[0]
    size = float(np.linalg.norm(v))
    return float(np.linalg.norm(rest)) / size if size > 0 else 0.0
