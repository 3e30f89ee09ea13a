"""Does a contrast reach its outcome through a mediator? Exploratory: product of paths, percentile bootstrap over animals (mediation.csv).

What it cannot show: histology is taken at the end, after the scores, and an unmeasured factor such as severity can make the whole product.
How strong that factor must be is told by the correlation of errors at which nothing is left (Imai, Keele and Tingley 2010).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr

from sevhisto.types import DoubleArray

_NAN = float("nan")
RHO: DoubleArray = np.round(np.linspace(-0.9, 0.9, 37), 2)
"""Correlations of the errors of mediator and outcome for which the product is told."""
CANNOT_SHOW = (
    "Mediation is exploratory here and no proof of a cause: matrix is measured at the end, recovery before it, and a factor that moves "
    "both, such as the severity of the injury, can make all of it."
)


@dataclass(frozen=True)
class Mediation:
    """Paths with p (t), product with percentile interval, and its sensitivity.

    Attributes
    ----------
    a, b, direct, total : slopes: contrast on mediator; mediator on outcome given the contrast; contrast on outcome with and without it
    indirect, ci_low, ci_high : a times b
    p_joint : the larger of p_a and p_b: joint significance
    rho_zero : correlation of errors at which the product is 0
    curve : (37, 3), product and its interval for each of `RHO`
    """

    n: int
    a: float = _NAN
    p_a: float = _NAN
    b: float = _NAN
    p_b: float = _NAN
    direct: float = _NAN
    total: float = _NAN
    indirect: float = _NAN
    ci_low: float = _NAN
    ci_high: float = _NAN
    p_joint: float = _NAN
    rho_zero: float = _NAN
    curve: DoubleArray | None = None
    flags: frozenset[str] = frozenset()


def mediate(x: DoubleArray, mediator: DoubleArray, outcome: DoubleArray, covariates: DoubleArray, draws: int, seed: int) -> Mediation:
    """Return the mediation of `x` on `outcome` through `mediator`.

    Parameters
    ----------
    x : (n,) float64, 1 for side a and 0 for side b
    mediator, outcome : (n,) float64
    covariates : (n, c) float64, in both equations
    draws : bootstrap samples of animals, within the sides of the contrast
    seed : of the bootstrap
    """
    n = len(x)
    m_design = np.column_stack([np.ones(n), x, covariates])
    y_design = np.column_stack([m_design, mediator])
    if n - y_design.shape[1] < 3:
        return Mediation(n, flags=frozenset({"too_few_animals"}))
    if np.linalg.matrix_rank(_scaled(y_design)) < y_design.shape[1] or np.ptp(outcome) == 0:
        return Mediation(n, flags=frozenset({"no_variation"}))
    a, p_a = _slope(mediator, m_design, 1)
    b, p_b = _slope(outcome, y_design, -1)
    direct, total = _slope(outcome, y_design, 1)[0], _slope(outcome, m_design, 1)[0]
    whole = np.ones((1, n))
    point, rho_zero = _sensitivity(m_design, mediator, outcome, whole)
    samples, _ = _sensitivity(m_design, mediator, outcome, _weights(x, draws, seed))
    low, high = np.nanpercentile(samples, [2.5, 97.5], axis=0)
    at = int(np.flatnonzero(RHO == 0)[0])
    curve = np.column_stack([point[0], low, high])
    return Mediation(n, a, p_a, b, p_b, direct, total, a * b, low[at], high[at], max(p_a, p_b), float(rho_zero[0]), curve)


def _scaled(design: DoubleArray) -> DoubleArray:
    size = np.abs(design).max(axis=0)
    return np.asarray(design / np.where(size > 0, size, 1), np.float64)


def _slope(y: DoubleArray, design: DoubleArray, column: int) -> tuple[float, float]:
    """Return the slope of one column and its two-sided p by t."""
    inverse = np.linalg.inv(design.T @ design)
    beta = inverse @ design.T @ y
    df = len(y) - design.shape[1]
    rest = y - design @ beta
    se = math.sqrt(float(rest @ rest) / df * float(inverse[column, column]))
    return float(beta[column]), float(2 * stdtr(df, -abs(beta[column]) / se)) if se > 0 else 0.0


def _weights(x: DoubleArray, draws: int, seed: int) -> DoubleArray:
    """Return how often each animal is drawn, (draws, n): as many from each side as there are."""
    rng = np.random.default_rng(seed)
    out = np.zeros((draws, len(x)))
    for side in (0.0, 1.0):
        members = np.flatnonzero(x == side)
        out[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size=draws)
    return out


def _sensitivity(design: DoubleArray, mediator: DoubleArray, outcome: DoubleArray, weights: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    """Return the product for each sample and each of `RHO`, (draws, 37), and the correlation at which it is 0, (draws,).

    The product is a s_y / s_m (r - rho sqrt((1 - r^2) / (1 - rho^2))), with r, s_y and s_m the correlation and SDs of what the design
    leaves of outcome and mediator; at rho = 0 that is a times b. A sample that lacks what it takes is NaN.
    """
    both = np.column_stack([mediator, outcome])
    gram = np.einsum("dn,np,nq->dpq", weights, design, design, optimize=True)
    right = np.einsum("dn,np,nq->dpq", weights, design, both, optimize=True)
    fine = np.linalg.cond(gram / np.abs(gram).max(axis=(1, 2), keepdims=True)) < 1e12
    gram[~fine] = np.eye(design.shape[1])
    beta = np.linalg.solve(gram, right)
    rest = both[None] - np.einsum("np,dpq->dnq", design, beta)
    square = np.einsum("dn,dnq,dnr->dqr", weights, rest, rest)
    s_m, s_y = np.sqrt(square[:, 0, 0]), np.sqrt(square[:, 1, 1])
    with np.errstate(divide="ignore", invalid="ignore"):
        r = np.clip(square[:, 0, 1] / (s_m * s_y), -1, 1)
        scale = np.where(fine & (s_m > 0), beta[:, 1, 0] * s_y / s_m, np.nan)
    product = scale[:, None] * (r[:, None] - RHO[None, :] * np.sqrt((1 - r[:, None] ** 2) / (1 - RHO[None, :] ** 2)))
    return product, r
