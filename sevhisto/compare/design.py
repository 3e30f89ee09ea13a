"""What the design hides: how alike sections of one animal are, and the p that counting sections or cells would claim (design.csv)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import fdtri, ndtr, stdtr

from sevhisto.metrics import METRIC_UNITS, endpoint_name
from sevhisto.registry import join_flags
from sevhisto.schema import DESIGN, SPREAD
from sevhisto.types import BoolArray, DoubleArray

_NAN = float("nan")


@dataclass(frozen=True)
class Components:
    """Variance between animals of one arm and between sections of one animal; sections per animal; ICC with 95 % interval."""

    between: float
    within: float
    sections: float
    icc: float
    icc_low: float
    icc_high: float

    @property
    def design_effect(self) -> float:
        """1 + (sections per animal - 1) ICC: by how much the variance of a mean over sections is larger than if they were independent."""
        return 1 + (self.sections - 1) * self.icc


def components(n: DoubleArray, mean: DoubleArray, sum_squares: DoubleArray, arm: DoubleArray) -> Components:
    """Return the components of a one-way analysis of variance of sections in animals, pooled over arms.

    Parameters
    ----------
    n, mean, sum_squares : (animals,) float64, of each animal's sections
    arm : (animals,) number of the arm

    Notes
    -----
    ICC(1) = (MSB - MSW) / (MSB + (k - 1) MSW), k the effective number of sections (Searle 1992), with the interval from F. A negative
    ICC is kept; the variance between animals is then 0. NaN where no arm has two animals or no animal two sections.
    """
    arms, a = np.unique(arm, return_inverse=True)
    total = np.bincount(a, n)
    centre = np.bincount(a, n * mean) / total
    df_b, df_w = len(n) - len(arms), float(n.sum()) - len(n)
    if df_b < 1 or df_w < 1:
        return Components(_NAN, _NAN, float(n.mean()) if len(n) else _NAN, _NAN, _NAN, _NAN)
    msb = float((n * (mean - centre[a]) ** 2).sum()) / df_b
    msw = float(sum_squares.sum()) / df_w
    k = float(n.sum() - (np.bincount(a, n**2) / total).sum()) / df_b
    if msb == 0 and msw == 0:
        return Components(0.0, 0.0, float(n.mean()), _NAN, _NAN, _NAN)
    ratio = msb / msw if msw > 0 else math.inf
    low, high = ratio / fdtri(df_b, df_w, 0.975), ratio * fdtri(df_w, df_b, 0.975)
    icc, icc_low, icc_high = (1.0 if f == math.inf else (f - 1) / (f + k - 1) for f in (ratio, low, high))
    return Components(max((msb - msw) / k, 0.0), msw, float(n.mean()), icc, icc_low, icc_high)


def p_of_sections(n: DoubleArray, mean: DoubleArray, sum_squares: DoubleArray, arm: DoubleArray, shares: dict[float, float]) -> float:
    """Return Welch's p as if every section were an animal: what must not be reported. `shares`: arm to its weight in the contrast."""
    estimate = variance = below = 0.0
    for number, share in shares.items():
        own = arm == number
        count = float(n[own].sum())
        if count < 2:
            return _NAN
        centre = float((n * mean)[own].sum()) / count
        spread = (float(sum_squares[own].sum()) + float((n * (mean - centre) ** 2)[own].sum())) / (count - 1)
        part = share**2 * spread / count
        estimate, variance, below = estimate + share * centre, variance + part, below + part**2 / (count - 1)
    return float(2 * stdtr(variance**2 / below, -abs(estimate) / math.sqrt(variance))) if variance > 0 else _NAN


def p_of_cells(positive: DoubleArray, cells: DoubleArray, in_a: BoolArray) -> float:
    """Return the p of a comparison of two proportions as if every cell were an animal: what must not be reported."""
    x = np.array([positive[in_a == side].sum() for side in (True, False)])
    total = np.array([cells[in_a == side].sum() for side in (True, False)])
    if not np.isfinite([*x, *total]).all() or total.min() == 0:
        return _NAN
    pooled = x.sum() / total.sum()
    variance = pooled * (1 - pooled) * (1 / total).sum()
    return float(2 * ndtr(-abs(x[0] / total[0] - x[1] / total[1]) / math.sqrt(variance))) if variance > 0 else _NAN


def hidden(spread: pd.DataFrame, comparisons: pd.DataFrame, groups: pd.Series[str]) -> pd.DataFrame:
    """Return `schema.DESIGN`: one row per compared endpoint that sections stand behind, and contrast.

    Parameters
    ----------
    spread : DataFrame
        `schema.SPREAD`.
    comparisons : DataFrame
        `schema.COMPARISONS`: the right p stands there.
    groups : Series
        Animal to protocol, of the animals that take part.
    """
    table = SPREAD.conform(spread)
    table = table[table["animal"].isin(set(groups.index)) & table["metric"].isin(list(METRIC_UNITS))]
    names = [endpoint_name(*key) for key in table[["panel", "zone", "marker", "metric"]].itertuples(index=False, name=None)]
    by_endpoint = dict(tuple(table.groupby(np.array(names, dtype=object), sort=False))) if len(table) else {}
    rows = []
    for line in comparisons.to_dict("records"):
        own = by_endpoint.get(line["endpoint"])
        if own is not None:
            rows.append(_row(own, line["endpoint"], line["contrast"], line["p"], (line["group_a"], line["group_b"]), groups))
    return DESIGN.conform(pd.DataFrame(rows, columns=DESIGN.names))


def _row(own: pd.DataFrame, endpoint: str, contrast: str, p: float, sides: tuple[str, str], groups: pd.Series[str]) -> dict[str, object]:
    a, b = (side.split("+") for side in sides)
    arm_names = groups.loc[own["animal"]].to_numpy(object)
    every = {name: float(i) for i, name in enumerate(dict.fromkeys(arm_names))}
    arm = np.array([every[name] for name in arm_names])
    n, mean, squares = (own[c].to_numpy(np.float64) for c in ("n_sections", "mean", "sum_squares"))
    found = components(n, mean, squares, arm)
    inside = np.isin(arm_names, [*a, *b])
    shares = {every[g]: share for side, sign in ((a, 1), (b, -1)) for g in side if g in every for share in [sign / len(side)]}
    complete = len(shares) == len(a) + len(b)
    flags = set() if math.isfinite(found.icc) else {"no_variation" if found.within == 0 else "too_few_animals"}
    total = float(n[inside].sum())
    positive, cells = (own.loc[inside, c].to_numpy(np.float64) for c in ("n_positive_cells", "n_cells"))
    return {
        "endpoint": endpoint,
        "contrast": contrast,
        "n_animals": int(inside.sum()),
        "n_sections": int(total),
        "sections_per_animal": found.sections,
        "between": found.between,
        "within": found.within,
        "icc": found.icc,
        "icc_low": found.icc_low,
        "icc_high": found.icc_high,
        "design_effect": found.design_effect,
        "n_effective": total / found.design_effect if found.design_effect > 0 else _NAN,
        "p": p,
        "p_sections": p_of_sections(n, mean, squares, arm, shares) if complete else _NAN,
        "n_cells": float(cells.sum()),
        "p_cells": p_of_cells(positive, cells, np.isin(arm_names[inside], a)),
        "flags": join_flags(flags),
    }
