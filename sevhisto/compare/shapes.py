"""Is less matrix always better, or is there a best amount? A declared comparison of three models within arms (shapes.csv).

None, a line, or a parabola, by the small-sample criterion AICc (Hurvich and Tsai 1989): the simplest model within 2 of the best is taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from sevhisto.compare.relations import fit_slope
from sevhisto.types import DoubleArray

_NAN = float("nan")
WITHIN = 2.0
"""Difference of AICc up to which the simpler model is kept."""


@dataclass(frozen=True)
class Shape:
    """AICc of the three models; the parabola's second-order term with interval and p; where it turns; and the word for it."""

    n: int
    aicc_none: float = _NAN
    aicc_linear: float = _NAN
    aicc_curved: float = _NAN
    quadratic: float = _NAN
    ci_low: float = _NAN
    ci_high: float = _NAN
    p: float = _NAN
    turning_point: float = _NAN
    shape: str = ""
    flags: frozenset[str] = frozenset()


def aicc(y: DoubleArray, design: DoubleArray) -> float:
    """Return AICc of least squares of `y` (n,) on `design` (n, p), the residual variance counted as a parameter."""
    n, k = len(y), design.shape[1] + 1
    rest = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    return float(n * math.log(2 * math.pi * max(float(rest @ rest), 1e-300) / n) + n + 2 * k + 2 * k * (k + 1) / (n - k - 1))


def find_shape(ecm: DoubleArray, motor: DoubleArray, arm: pd.Series[str]) -> Shape:
    """Return how `motor` goes with `ecm` within arms.

    ``none``, ``linear``, ``curved``, or ``non_monotonic``: the slope changes its sign within the middle 90 % of the data. The second-order
    term is in motor units per squared SD of the centred ecm; its turning point in ecm units.
    """
    n = len(motor)
    arms = pd.get_dummies(arm, dtype=float).to_numpy()
    if n - arms.shape[1] - 2 < 3:
        return Shape(n, flags=frozenset({"too_few_animals"}))
    sd = float(ecm.std(ddof=1))
    if sd == 0 or np.ptp(motor) == 0:
        return Shape(n, flags=frozenset({"no_variation"}))
    x = (ecm - ecm.mean()) / sd
    fit = fit_slope(motor, x**2, np.column_stack([x, arms]))
    if not math.isfinite(fit.estimate):
        return Shape(n, flags=fit.flags)
    line, curve = np.column_stack([arms, x]), np.column_stack([arms, x, x**2])
    values = [aicc(motor, d) for d in (arms, line, curve)]
    beta = np.linalg.lstsq(curve, motor, rcond=None)[0]
    turn = -beta[-2] / (2 * beta[-1]) if beta[-1] else _NAN
    best = next(i for i, v in enumerate(values) if v <= min(values) + WITHIN)
    word = ("none", "linear", "non_monotonic" if _turns(motor, curve, np.quantile(x, [0.05, 0.95])) else "curved")[best]
    turning = float(ecm.mean() + sd * turn)
    return Shape(n, values[0], values[1], values[2], fit.estimate, fit.ci_low, fit.ci_high, fit.p, turning, word, fit.flags)


def _turns(motor: DoubleArray, design: DoubleArray, ends: DoubleArray) -> bool:
    """Return whether the slope of the parabola has another sign at each end, both by a one-sided t test at 0.05 (Lind and Mehlum 2010)."""
    inverse = np.linalg.inv(design.T @ design)
    beta = inverse @ design.T @ motor
    df = len(motor) - design.shape[1]
    rest = motor - design @ beta
    at = np.zeros((2, design.shape[1]))
    at[:, -2], at[:, -1] = 1.0, 2 * ends
    slope = at @ beta
    limit = stdtrit(df, 0.95) * np.sqrt(float(rest @ rest) / df * np.einsum("ip,pq,iq->i", at, inverse, at))
    return bool(slope[0] * slope[1] < 0 and (np.abs(slope) > limit).all())
