"""Colocalisation over what scrambled blocks give, with an interval and p from the sections of the animal."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import stdtr, stdtrit

from sevhisto.decide.metrics import SCRAMBLE_METRICS, TOO_FEW, Measured
from sevhisto.decide.stack import Selection, Stack
from sevhisto.types import DoubleArray

PARTS = ("signal_in_cd68", "signal_joint", "scrambled_in_cd68", "scrambled_signal")


def scramble_metrics(stack: Stack, selection: Selection, marker: int) -> list[Measured]:
    """Return Manders' coefficient over that of scrambled blocks, its 95 % interval, and p of 1, for a marker in a zone.

    Both coefficients are ratios of sums over the sections. Interval and p (two-sided) are those of the jackknife of the log ratio over
    sections, with the t distribution [Efron and Stein 1981]; the sections of one animal are what varies. Fewer than 3 give neither.
    """
    parts = np.stack([stack.values[name][selection.member, selection.source, marker] for name in PARTS], axis=1)
    if np.isnan(parts).any():
        return [(name, math.nan, {"not_tallied"}) for name in SCRAMBLE_METRICS]
    ratio = _ratio(parts.sum(axis=0))
    if math.isnan(ratio):
        empty = not parts[:, 1].sum() > 0 or not parts[:, 3].sum() > 0
        return [(name, math.nan, {"no_signal" if empty else "empty_denominator"}) for name in SCRAMBLE_METRICS]
    low, high, p = _by_sections(parts[(parts[:, 1] > 0) & (parts[:, 3] > 0)], ratio)
    why = {"too_few_sections"} if math.isnan(p) else set()
    return [(SCRAMBLE_METRICS[0], ratio, set()), *((n, v, why) for n, v in zip(SCRAMBLE_METRICS[1:], (low, high, p), strict=True))]


def _ratio(sums: DoubleArray) -> float:
    inside, signal, by_chance, paired = sums
    return float(inside / signal * paired / by_chance) if signal > 0 and by_chance > 0 else math.nan


def _by_sections(parts: DoubleArray, ratio: float) -> tuple[float, float, float]:
    n = len(parts)
    without = np.array([_ratio(parts.sum(axis=0) - row) for row in parts])
    if n < TOO_FEW or not (without > 0).all() or not ratio > 0:  # NaN is not above 0 either
        return (math.nan,) * 3
    logs = np.log(without)
    error = math.sqrt((n - 1) / n * float(((logs - logs.mean()) ** 2).sum()))
    if error == 0:
        return (math.nan,) * 3
    half = float(stdtrit(n - 1, 0.975)) * error
    p = 2 * float(stdtr(n - 1, -abs(math.log(ratio)) / error))
    return ratio * math.exp(-half), ratio * math.exp(half), p
