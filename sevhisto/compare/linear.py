"""The linear contrast behind every comparison: weights of the animals, and a t interval that does not assume equal variances.

Without randomisation blocks this is Welch's interval. With them groups are compared within blocks, by least squares on group and block:
the variance of each group is taken from what group and block leave over (HC2 of MacKinnon and White 1985), and the degrees of freedom
match its first two moments (Satterthwaite 1946; Bell and McCaffrey 2002), with the variance that each group shows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import stdtr, stdtrit

from sevhisto.types import DoubleArray

NAN = float("nan")
_DIGITS = 12  # weights that differ by less than this are equal: animals that carry them can be exchanged


@dataclass(frozen=True)
class Layout:
    """Where the animals of a contrast stand; n animals in the order of their groups.

    Attributes
    ----------
    weights : (n,) share of each animal in the estimate, they sum to 0 overall and, where `blocked`, in each block
    squares : (n,) factors of the squared residuals in the variance of the estimate
    residuals : (n, n) matrix that takes values to residuals
    group : (n,) number of each animal's group
    shares : of each group in the contrast
    blocked : groups are compared within blocks
    """

    weights: DoubleArray
    squares: DoubleArray
    residuals: DoubleArray
    group: tuple[int, ...]
    shares: tuple[float, ...]
    blocked: bool

    def estimate(self, values: DoubleArray) -> float:
        """Return the contrast of these values; without blocks exactly that of the group means."""
        if self.blocked:
            return float(self.weights @ values)
        ends = np.cumsum(np.bincount(self.group))
        return float(sum(s * part.mean() for s, part in zip(self.shares, np.split(values, ends[:-1]), strict=True)))


@lru_cache(maxsize=256)
def layout(sizes: tuple[int, ...], shares: tuple[float, ...], blocks: tuple[int, ...] | None = None) -> Layout:
    """Return the layout of groups of these sizes, each with its share in the contrast.

    Where blocks are given but no block holds what is to be compared, they are left out and `blocked` is False.
    """
    group = np.repeat(np.arange(len(sizes)), sizes)
    plain = (group[:, None] == np.arange(len(sizes))[None, :]).astype(np.float64)
    design, wanted = plain, np.asarray(shares, np.float64)
    if blocks is not None:
        each = np.asarray(blocks)
        design = np.hstack([plain, (each[:, None] == np.unique(each)[None, 1:]).astype(np.float64)])
        wanted = np.append(wanted, np.zeros(design.shape[1] - len(sizes)))
    inverse = np.linalg.pinv(design)
    weights = wanted @ inverse
    if not np.allclose(weights @ design, wanted, atol=1e-9):
        return layout(sizes, shares)
    if blocks is None:
        weights = np.repeat(np.asarray(shares) / np.asarray(sizes), sizes)
    scale = float(np.abs(weights).max())
    weights = np.round(weights / scale, _DIGITS) * scale if blocks is not None else weights
    hat = design @ inverse
    left = 1 - np.diagonal(hat)
    squares = np.divide(weights**2, left, out=np.zeros(len(weights)), where=left > 1e-9)
    return Layout(weights, squares, np.eye(len(group)) - hat, tuple(group.tolist()), shares, blocks is not None)


def interval(values: DoubleArray, where: Layout) -> tuple[float, float, float]:
    """Return estimate, standard error and degrees of freedom; the last two NaN where a group has one animal or nothing varies."""
    estimate = where.estimate(values)
    group = np.array(where.group)
    if np.bincount(group).min() < 2 or all(np.ptp(values[group == g]) == 0 for g in np.unique(group)):
        return estimate, NAN, NAN
    rest = where.residuals @ values
    free = np.bincount(group, np.diagonal(where.residuals))
    spread = np.bincount(group, rest**2)
    largest = float(spread.max())
    if largest <= (1e-9 * float(np.abs(values).max())) ** 2 or (free < 1e-9).any():
        return estimate, NAN, NAN
    variance = float(where.squares @ rest**2)
    each = np.sqrt(spread / largest / free)[group]  # relative, so that squares of tiny variances do not vanish
    form = each[:, None] * ((where.residuals * where.squares) @ where.residuals) * each[None, :]
    df = float(np.trace(form)) ** 2 / float((form**2).sum())
    return estimate, math.sqrt(variance), df


def t_interval(found: tuple[float, float, float], level: float = 0.95) -> tuple[float, float, float]:
    """Return estimate and bounds from estimate, standard error and degrees of freedom; NaN bounds where these are NaN."""
    estimate, se, df = found
    half = NAN if math.isnan(se) else float(stdtrit(df, (1 + level) / 2)) * se
    return estimate, estimate - half, estimate + half


def t_test(found: tuple[float, float, float]) -> float:
    """Return the two-sided p of the t statistic; NaN where it has no standard error."""
    estimate, se, df = found
    return NAN if math.isnan(se) else float(2 * stdtr(df, -abs(estimate) / se))


def shares_of(n_a: int, n_b: int) -> tuple[float, ...]:
    """Return the share of each group in the mean of the first `n_a` groups less that of the other `n_b`."""
    return (*[1 / n_a] * n_a, *[-1 / n_b] * n_b)
