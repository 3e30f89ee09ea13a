"""The effect of one contrast on one endpoint: difference, interval, standardised difference, ratio, p; and corrections for many."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from sevhisto.compare.linear import NAN, interval, layout, shares_of, t_interval, t_test
from sevhisto.compare.permutation import permutation_test
from sevhisto.types import DoubleArray, IntArray, Problem, SevhistoError


@dataclass(frozen=True)
class Effect:
    """Mean of the group means of a minus that of b, in the endpoint's unit, with everything that is said about it.

    What cannot be computed is NaN, and `flags` (names of the flag registry) says why.
    """

    n_a: int
    n_b: int
    estimate: float = NAN
    ci_low: float = NAN
    ci_high: float = NAN
    hedges_g: float = NAN
    ratio: float = NAN
    ratio_low: float = NAN
    ratio_high: float = NAN
    p: float = NAN
    p_min: float = NAN
    p_welch: float = NAN
    method: str = "not computed"
    flags: frozenset[str] = frozenset()


def contrast(
    groups_a: Sequence[npt.ArrayLike],
    groups_b: Sequence[npt.ArrayLike],
    blocks_a: Sequence[npt.ArrayLike] | None = None,
    blocks_b: Sequence[npt.ArrayLike] | None = None,
    permutations: int = 10_000,
    seed: int = 1,
) -> Effect:
    """Compare the mean of group means of `a` with that of `b`; one value is one animal.

    Parameters
    ----------
    groups_a, groups_b : sequences of (n_group,) arrays
        Finite values per animal, one array per group.
    blocks_a, blocks_b : like the groups, or None
        Randomisation block of each animal. Where groups never meet in a block (``block_confounded``), estimate and interval do without.
    permutations : int
        Largest number of arrangements that are all counted; beyond it, the size of the Monte-Carlo sample.
    seed : int
        Of the Monte-Carlo sample.

    Returns
    -------
    Effect
        Interval: 95 %, Welch's t for a linear contrast with Satterthwaite's df; with blocks the groups are compared within them
        (`linear.layout`). Hedges g: SD pooled over the groups, exact gamma correction (Hedges 1981). Ratio: of the geometric means, by
        the same contrast on logarithms. p: permutation of the group labels among all animals of the contrast (within blocks), group
        sizes kept; it tests that no group differs from any other.

    Raises
    ------
    SevhistoError
        If a value is not finite, or only one side has blocks.
    """
    groups = [np.asarray(g, dtype=np.float64) for g in (*groups_a, *groups_b)]
    if not all(np.isfinite(g).all() for g in groups):
        raise SevhistoError(Problem("contrast", "a value is not finite", "leave animals without a value out"))
    shares, sizes = shares_of(len(groups_a), len(groups_b)), tuple(map(len, groups))
    n_a, n_b = sum(sizes[: len(groups_a)]), sum(sizes[len(groups_a) :])
    if min(sizes) == 0:
        return Effect(n_a, n_b, flags=frozenset({"too_few_animals"}))
    flags = {"too_few_animals"} if min(sizes) < 2 else set()
    everything = np.concatenate(groups)
    if np.ptp(everything) == 0:
        ratio = 1.0 if everything[0] > 0 else NAN
        flags |= {"no_variation"} | (set() if everything[0] > 0 else {"ratio_undefined"})
        return Effect(n_a, n_b, estimate=0.0, ratio=ratio, flags=frozenset(flags))
    if "too_few_animals" not in flags and all(np.ptp(g) == 0 for g in groups):
        flags.add("no_spread")
    blocks = _blocks(blocks_a, blocks_b, len(everything))
    where = layout(sizes, shares, None if blocks is None else tuple(blocks.tolist()))
    if blocks is not None and not where.blocked:
        flags.add("block_confounded")
    found = interval(everything, where)
    test = permutation_test(
        everything, where.weights, np.zeros(len(everything), np.int64) if blocks is None else blocks, permutations, seed
    )
    if test.p_min >= 0.05:
        flags.add("cannot_reach_0.05")
    positive = float(everything.min()) > 0
    estimate, low, high = t_interval(found)
    ratio, ratio_low, ratio_high = map(float, np.exp(t_interval(interval(np.log(everything), where)))) if positive else (NAN,) * 3
    if not positive:
        flags.add("ratio_undefined")
    elif estimate * (ratio - 1) < 0:
        flags.add("scales_disagree")
    within = [" within blocks" if used else "" for used in (where.blocked, blocks is not None)]
    told = "no interval" if math.isnan(low) else f"Welch t interval{within[0]}"
    method = f"{told}; {'exact' if test.exact else 'Monte-Carlo'} permutation{within[1]} ({test.arrangements})"
    effect = Effect(n_a, n_b, estimate, low, high, hedges_g(groups, estimate), ratio, ratio_low, ratio_high)
    return replace(effect, p=test.p, p_min=test.p_min, p_welch=t_test(found), method=method, flags=frozenset(flags))


def _blocks(a: Sequence[npt.ArrayLike] | None, b: Sequence[npt.ArrayLike] | None, n: int) -> IntArray | None:
    if a is None and b is None:
        return None
    if a is None or b is None:
        raise SevhistoError(Problem("contrast", "blocks are known on one side only", "give the block of every animal"))
    labels = [str(label) for group in (*a, *b) for label in np.asarray(group).tolist()]
    if len(labels) != n:
        raise SevhistoError(Problem("contrast", f"{n} values but {len(labels)} blocks", "give the block of every animal"))
    return np.unique(np.array(labels, dtype=str), return_inverse=True)[1].astype(np.int64)


def hedges_g(groups: Sequence[DoubleArray], estimate: float) -> float:
    """Return `estimate` over the SD pooled within groups, times J = gamma(df/2) / (sqrt(df/2) gamma((df-1)/2)); NaN where undefined."""
    df = sum(len(g) - 1 for g in groups)
    if min(map(len, groups)) < 2 or all(np.ptp(g) == 0 for g in groups):
        return NAN
    pooled = math.sqrt(sum((len(g) - 1) * float(g.var(ddof=1)) for g in groups) / df)
    correction = math.exp(gammaln(df / 2) - gammaln((df - 1) / 2)) / math.sqrt(df / 2)
    return correction * estimate / pooled


def holm(p: npt.ArrayLike) -> DoubleArray:
    """Return Holm's adjusted p values; NaN stays NaN and is not counted as a test."""
    return _adjusted(p, lambda ordered, rank: np.maximum.accumulate(ordered * (len(ordered) - rank)))


def benjamini_hochberg(p: npt.ArrayLike) -> DoubleArray:
    """Return Benjamini-Hochberg q values; NaN stays NaN and is not counted as a test."""
    return _adjusted(p, lambda ordered, rank: np.minimum.accumulate((ordered * len(ordered) / (rank + 1))[::-1])[::-1])


def _adjusted(p: npt.ArrayLike, rule: Callable[[DoubleArray, DoubleArray], DoubleArray]) -> DoubleArray:
    """Apply `rule` to the known p in rising order and their ranks from 0."""
    out = np.array(p, dtype=np.float64)
    known = np.flatnonzero(np.isfinite(out))
    order = known[np.argsort(out[known], kind="stable")]
    out[order] = np.minimum(rule(out[order], np.arange(len(order), dtype=np.float64)), 1.0)
    return out
