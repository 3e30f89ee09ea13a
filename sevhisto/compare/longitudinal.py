"""The recovery curves as a whole: mixed models and onset as an interval, beside the per-animal summaries that come first (models.csv).

All are sensitivity analyses. Groups are compared at the mean of the visits (`level`) and in their change over time (`slope`, per unit of
ln day). Random intercepts and slopes per animal: with intercepts alone, a test of groups over days rejects three times too often.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from sevhisto.compare.endpoints import impact
from sevhisto.compare.mixed import MixedFit, fit_mixed
from sevhisto.compare.motor import summarise_motor, visit_scores
from sevhisto.compare.ordinal import OrdinalFit, Scores, fit_ordinal
from sevhisto.compare.permutation import permutation_test
from sevhisto.config import ContrastSettings, StudyConfig
from sevhisto.registry import join_flags
from sevhisto.schema import MODELS
from sevhisto.types import DoubleArray, IntArray

_NAN = float("nan")
_MIN_DF = 3


@dataclass(frozen=True)
class _Data:
    """Scores in long form: value, day and animal number (n,); per animal (m,) group number, block and covariates (m, c)."""

    value: DoubleArray
    day: DoubleArray
    animal: IntArray
    names: list[str]
    groups: list[str]
    group: IntArray
    blocks: IntArray
    covariates: pd.DataFrame
    unit: str

    @property
    def time(self) -> DoubleArray:
        """ln day, 0 at the mean of the visits."""
        return np.asarray(np.log(self.day) - np.log(np.unique(self.day)).mean(), np.float64)

    @property
    def adjust(self) -> DoubleArray:
        """Covariates of each score, centred, (n, c)."""
        table = self.covariates.to_numpy(np.float64)
        return np.asarray((table - table.mean(axis=0))[self.animal], np.float64)

    @property
    def df(self) -> float:
        """Animals less what is estimated between them."""
        return float(len(self.names) - len(self.groups) - self.covariates.shape[1])

    def by_group(self) -> DoubleArray:
        """One column for each group but the first, (n, g - 1)."""
        return np.asarray(self.group[self.animal][:, None] == np.arange(1, len(self.groups))[None, :], np.float64)

    def weights(self, c: ContrastSettings) -> DoubleArray:
        """Weight of each group in a contrast, (g,)."""
        return np.array([(g in c.a) / len(c.a) - (g in c.b) / len(c.b) for g in self.groups])


def longitudinal(
    motor: pd.DataFrame,
    groups: pd.Series[str],
    config: StudyConfig,
    contrasts: Sequence[ContrastSettings],
    people: pd.DataFrame,
) -> pd.DataFrame:
    """Return `schema.MODELS`: every contrast under a linear mixed model, two ordinal ones, and for the interval of onset.

    Parameters
    ----------
    motor : DataFrame
        Scores as in `schema.MOTOR`, of the animals that take part.
    groups : Series
        Animal to protocol.
    config : StudyConfig
    contrasts : what is compared; a contrast one of whose groups has no score is left out
    people : DataFrame
        Indexed by animal; ``force_kdyn`` (or ``displacement_um``) is adjusted for, ``block`` restricts permutations, both where known
        for every animal.

    Notes
    -----
    Scores are pooled where the test has a pooled scale (`motor.pooled_scale`). Day-1 scores are a covariate, not an outcome, where they
    are known and vary. Intervals: t with Satterthwaite's df (linear), or with animals less groups (ordinal, or a singular fit); standard
    errors of the ordinal models are widened by sqrt(animals / df), as REML would (Elff et al. 2021). p of the ordinal models: permutation
    of what each animal says beyond a model without groups, which is the score test for a shift, and exact for any number of animals
    without covariates. Onset: Gehan's generalised Wilcoxon scores, permuted.
    """
    data = _data(motor, groups, config, people)
    usable = [c for c in contrasts if {*c.a, *c.b} <= set(data.groups)]
    rows: list[dict[str, object]] = []
    if usable and len(data.groups) > 1:
        rows += [*_linear(data, usable), *_ordinal(data, usable, config), *_onset(motor, data, usable, config)]
    return MODELS.conform(pd.DataFrame([{"outcome": config.motor.test, **r} for r in rows], columns=MODELS.names))


def _data(motor: pd.DataFrame, groups: pd.Series[str], config: StudyConfig, people: pd.DataFrame) -> _Data:
    visits = visit_scores(motor, config.motor)
    visits = visits[visits["animal"].isin(set(groups.index))]
    first = visits[visits["day"] <= 1].groupby("animal")["value"].last()
    animals = [str(a) for a in groups.index if a in set(visits["animal"])]
    hit = impact(people)
    known = pd.DataFrame({"day1": first, str(hit.name): hit}).reindex(animals)
    used = [c for c in known.columns if known[c].notna().all() and np.ptp(known[c].to_numpy(np.float64)) > 0]
    n_groups = len(set(groups.loc[animals]))
    used = used[: max(len(animals) - n_groups - _MIN_DF, 0)]
    later = visits[visits["day"] > 1] if "day1" in used else visits
    later = later[later["animal"].isin(animals)]
    order = list(dict.fromkeys(groups.loc[animals]))
    block = people["block"].reindex(animals).fillna("").astype(str) if "block" in people else pd.Series("", index=animals)
    complete = bool((block != "").all())
    place = {a: i for i, a in enumerate(animals)}
    return _Data(
        later["value"].to_numpy(np.float64),
        later["day"].to_numpy(np.float64),
        np.array([place[a] for a in later["animal"]], np.int64),
        animals,
        order,
        np.array([order.index(g) for g in groups.loc[animals]], np.int64),
        np.unique(block if complete else np.zeros(len(animals)), return_inverse=True)[1].astype(np.int64),
        known[used],
        "pooled score" if config.motor.pooled_scale else "score",
    )


def _estimate(estimate: float, se: float, df: float) -> dict[str, object]:
    half = float(stdtrit(df, 0.975)) * se
    return {"estimate": estimate, "se": se, "df": df, "ci_low": estimate - half, "ci_high": estimate + half}


def _counts(data: _Data, c: ContrastSettings) -> dict[str, object]:
    inside = np.isin(np.array(data.groups)[data.group], [*c.a, *c.b])
    return {"contrast": c.name, "n_animals": int(inside.sum()), "n_scores": int(inside[data.animal].sum())}


def _linear(data: _Data, contrasts: Sequence[ContrastSettings]) -> Iterator[dict[str, object]]:
    """Yield the linear mixed model's rows: visits as factor, group, group x ln day, covariates; random intercept and slope."""
    days = np.unique(data.day)
    by_group, time = data.by_group(), data.time[:, None]
    sloped = len(days) > 2
    x = np.hstack([data.day[:, None] == days[None, :], by_group, *([by_group * time] if sloped else []), data.adjust]).astype(np.float64)
    z = np.hstack([np.ones_like(time), *([time] if sloped else [])])
    said = {"model": "linear_mixed", "covariates": ";".join(data.covariates.columns)}
    why = set()
    if data.df < _MIN_DF:
        why = {"too_few_animals"}
    elif np.linalg.matrix_rank(x) < x.shape[1] or np.ptp(data.value) == 0 or len(days) < 2:
        why = {"no_variation"}
    fit = None if why else fit_mixed(data.value, x, z, data.animal)
    for c in contrasts:
        for at, term in enumerate(("level", "slope") if sloped else ("level",)):
            row = {**said, **_counts(data, c), "term": term, "unit": data.unit + (" per ln day" if at else ""), "method": "not computed"}
            if fit is None:
                yield {**row, "flags": join_flags(why)}
                continue
            weights = np.zeros(x.shape[1])
            start = len(days) + at * (len(data.groups) - 1)
            weights[start : start + len(data.groups) - 1] = data.weights(c)[1:]
            yield {**row, **_linear_effect(fit, weights, data.df), **_spread(fit.random), "flags": _flags_of(fit.singular, c)}


def _linear_effect(fit: MixedFit, weights: DoubleArray, df: float) -> dict[str, object]:
    estimate, se, found = fit.effect(weights, df)
    p = float(2 * stdtr(found, -abs(estimate) / se))
    method = "REML; t with animals less groups as df" if fit.singular else "REML; t with Satterthwaite df"
    return {**_estimate(estimate, se, found), "p": p, "method": method}


def _spread(random: DoubleArray) -> dict[str, object]:
    sd = np.sqrt(np.diagonal(random))
    return {"intercept_sd": float(sd[0]), "slope_sd": float(sd[1]) if len(sd) > 1 else _NAN}


def _flags_of(singular: bool, c: ContrastSettings) -> str:
    return join_flags(({"singular_fit"} if singular else set()) | (set() if c.planned else {"exploratory"}))


def _ordinal(data: _Data, contrasts: Sequence[ContrastSettings], config: StudyConfig) -> Iterator[dict[str, object]]:
    """Yield the ordinal models' rows: group, ln day and its square, covariates; random intercept, or intercept and slope."""
    time = data.time[:, None]
    category = np.unique(np.floor(data.value + 0.5), return_inverse=True)[1].astype(np.int64)
    shared = np.hstack([time, time**2 - (time**2).mean(), data.adjust]) if len(np.unique(data.day)) > 2 else np.hstack([time, data.adjust])
    for model, z in (("ordinal_mixed", np.ones_like(time)), ("ordinal_mixed_slope", np.hstack([np.ones_like(time), time]))):
        said = {"model": model, "term": "level", "unit": "log odds", "covariates": ";".join(data.covariates.columns)}
        why = {"too_few_animals"} if data.df < _MIN_DF else {"no_variation"} if category.max() == 0 else set()
        null = full = None
        if not why:
            null = fit_ordinal(Scores(category, shared, z, data.animal), with_covariance=False)
            full = fit_ordinal(Scores(category, np.hstack([shared, data.by_group()]), z, data.animal))
        for c in contrasts:
            row = {**said, **_counts(data, c), "method": "not computed", "flags": join_flags(why)}
            yield row if null is None or full is None else {**row, **_ordinal_effect(data, c, null, full, shared.shape[1], config)}


def _ordinal_effect(
    data: _Data, c: ContrastSettings, null: OrdinalFit, full: OrdinalFit, skip: int, config: StudyConfig
) -> dict[str, object]:
    weights = data.weights(c)[1:]
    flags = {"singular_fit"} if full.singular else set()
    out: dict[str, object] = {}
    block = full.covariance[skip:, skip:]
    if full.converged and np.isfinite(block).all():
        # Maximum likelihood takes what was fitted between animals for known: their variance comes out too small by df / animals.
        se = math.sqrt(float(weights @ block @ weights) * len(data.names) / data.df)
        out = _estimate(float(weights @ full.beta[skip:]), se, data.df)
    else:
        flags.add("not_converged")
    test = _permuted(null.score, data, c, config)
    method = f"maximum likelihood, SE widened for few animals; t with animals less groups as df; {test[1]} of the score"
    out |= {"p": test[0], "method": method, **_spread(full.factor @ full.factor.T)}
    return {**out, "flags": join_flags(flags | (set() if c.planned else {"exploratory"}))}


def _permuted(values: DoubleArray, data: _Data, c: ContrastSettings, config: StudyConfig) -> tuple[float, str]:
    """Return p of a contrast of per-animal values (m,) by permutation among its animals, and how it was made."""
    weights = data.weights(c)
    inside = np.isin(np.array(data.groups)[data.group], [*c.a, *c.b])
    sizes = np.bincount(data.group, minlength=len(data.groups))
    w = (weights / sizes)[data.group][inside]
    if np.ptp(values[inside]) == 0:
        return 1.0, "permutation"
    test = permutation_test(values[inside], w, data.blocks[inside], config.comparison.permutations, config.comparison.seed)
    return test.p, f"{'exact' if test.exact else 'Monte-Carlo'} permutation"


def _onset(motor: pd.DataFrame, data: _Data, contrasts: Sequence[ContrastSettings], config: StudyConfig) -> Iterator[dict[str, object]]:
    """Yield the comparison of onset, known only as lying between two visits, by Gehan's scores."""
    table = summarise_motor(motor, config.motor).set_index(["metric", "animal"])["value"]
    after = table["onset_after_day"].reindex(data.names).to_numpy(np.float64)
    by = table["onset_by_day"].reindex(data.names).fillna(np.inf).to_numpy(np.float64)
    for c in contrasts:
        inside = np.isin(np.array(data.groups)[data.group], [*c.a, *c.b])
        later = (after[:, None] >= by[None, :]) & inside[:, None] & inside[None, :]
        net = later.astype(np.float64) - later.T
        scores = net.sum(axis=1)
        sides = [np.isin(np.array(data.groups)[data.group], side) for side in (c.a, c.b)]
        estimate = float(net[np.ix_(*sides)].mean())
        p, method = _permuted(scores, data, c, config)
        row = {"model": "onset_interval", "term": "later", "unit": "share of pairs", "covariates": "", **_counts(data, c)}
        yield {
            **row,
            "estimate": estimate,
            "p": p,
            "method": f"Gehan; {method}",
            "flags": _flags_of(False, c),
        }
