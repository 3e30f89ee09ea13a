"""Permutation p of a linear contrast: every arrangement where they can be counted, a seeded sample where not."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from sevhisto.types import AnyArray, DoubleArray, IntArray

TIE = 1e-9
"""Two statistics closer than this, relative to the data, count as equal."""
_CHUNK = 10_000
_KEPT = 1_000_000  # permuted weights that are kept for the next endpoint: 8 MB


@dataclass(frozen=True)
class Permutation:
    """Two-sided p, the smallest p any data of this layout could give, arrangements examined, and whether that was all of them."""

    p: float
    p_min: float
    arrangements: int
    exact: bool


def permutation_test(values: DoubleArray, weights: DoubleArray, blocks: IntArray, permutations: int, seed: int) -> Permutation:
    """Permute the weights of a contrast among animals, within blocks, and count statistics at least as far from their expectation.

    Parameters
    ----------
    values, weights : (n,) float64
        One value per animal and its weight in the contrast; the weights sum to 0. Animals of equal weight are exchangeable, so a
        contrast of pooled groups of equal size has as many arrangements as the two sides alone.
    blocks : (n,) int64
        Randomisation block of each animal. Without blocks the expectation of the statistic is 0.
    permutations : int
        Above this many arrangements a Monte-Carlo sample of this size is drawn, and p is (count + 1) / (size + 1).
    seed : int
        Of the sample.

    Returns
    -------
    Permutation
    """
    layout = [np.flatnonzero(blocks == b) for b in np.unique(blocks)]
    centred = values - values.mean()
    for index in layout:
        centred[index] -= centred[index].mean()
    observed = abs(float(weights @ centred))
    limit = observed - TIE * max(observed, float(np.abs(centred).max() * np.abs(weights).max()))
    total = math.prod(_arrangement_count(weights[i]) for i in layout)
    p_min = (2 if all(_mirrored(weights[i]) for i in layout) else 1) / total if total > 1 else 1.0
    if total <= permutations:
        statistics = _every_statistic([(weights[i], centred[i]) for i in layout])
        return Permutation(float(np.mean(np.abs(statistics) >= limit)), p_min, total, True)
    place = np.concatenate(layout)
    chunks = _chunks(tuple(weights[place]), tuple(map(len, layout)), permutations, seed)
    count = sum(int(np.sum(np.abs(chunk @ centred[place]) >= limit)) for chunk in chunks)
    return Permutation((count + 1) / (permutations + 1), max(p_min, 1 / (permutations + 1)), permutations, False)


def _arrangement_count(weights: DoubleArray) -> int:
    count = math.factorial(len(weights))
    for size in np.unique(weights, return_counts=True)[1]:
        count //= math.factorial(int(size))
    return count


def _mirrored(weights: DoubleArray) -> bool:
    """Whether every arrangement has one with the opposite statistic: then no p below 2 / arrangements exists."""
    ordered = np.sort(weights - weights.mean())
    return bool(np.allclose(ordered, -ordered[::-1]))


def _every_statistic(parts: list[tuple[DoubleArray, DoubleArray]]) -> DoubleArray:
    statistics = np.zeros(1)
    for weights, centred in parts:
        classes, sizes = np.unique(weights, return_counts=True)
        within = classes[_label_rows(tuple(int(s) for s in sizes))] @ centred
        statistics = (statistics[:, None] + within[None, :]).ravel()
    return statistics


@lru_cache(maxsize=16)
def _label_rows(sizes: tuple[int, ...]) -> npt.NDArray[np.int8]:
    """Every distinct order of ``sizes[k]`` labels k: shape (arrangements, sum(sizes)) int8."""
    n = sum(sizes)
    rows: AnyArray = np.full((1, n), -1, dtype=np.int8)
    for label, size in enumerate(sizes):
        free = np.nonzero(rows == -1)[1].reshape(len(rows), -1)
        picks = np.array(list(itertools.combinations(range(free.shape[1]), size)), dtype=np.intp).reshape(-1, size)
        chosen = free[:, picks].reshape(-1, size)
        rows = np.repeat(rows, len(picks), axis=0)
        np.put_along_axis(rows, chosen, np.int8(label), axis=1)
    return rows


def _chunks(weights: tuple[float, ...], sizes: tuple[int, ...], permutations: int, seed: int) -> Iterable[DoubleArray]:
    """Return permuted weights, (size, n) each. The same for every endpoint of a study: kept, where that takes little memory."""
    few = permutations * len(weights) <= _KEPT
    return _kept_chunks(weights, sizes, permutations, seed) if few else _sampled(weights, sizes, permutations, seed)


@lru_cache(maxsize=8)
def _kept_chunks(weights: tuple[float, ...], sizes: tuple[int, ...], permutations: int, seed: int) -> tuple[DoubleArray, ...]:
    return tuple(_sampled(weights, sizes, permutations, seed))


def _sampled(weights: tuple[float, ...], sizes: tuple[int, ...], permutations: int, seed: int) -> Iterator[DoubleArray]:
    rng = np.random.default_rng(seed)
    parts = np.split(np.array(weights), np.cumsum(sizes)[:-1])
    for start in range(0, permutations, _CHUNK):
        size = min(_CHUNK, permutations - start)
        yield np.hstack([rng.permuted(np.tile(part, (size, 1)), axis=1) for part in parts])
