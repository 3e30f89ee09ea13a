"""A random forest [Breiman 2001] on features in whole bins: grown from a seed, the same on every machine, and applied without looking back.

Trees split at the edges of bins (quantiles of the training pixels), so that growing is counting and a threshold is one of a few floats.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sevhisto.compiled import compiled
from sevhisto.types import AnyArray, DoubleArray, FloatArray, IntArray, PixelModel

N_TREES, MAX_DEPTH, MIN_LEAF, N_BINS = 32, 8, 8, 64


@dataclass(frozen=True)
class Forest:
    """Trees end to end; see types.PixelModel for the arrays."""

    feature: AnyArray
    threshold: FloatArray
    child: AnyArray
    share: FloatArray
    roots: AnyArray


def grow(values: FloatArray, labels: IntArray, n_classes: int, seed: int) -> Forest:
    """Return a forest that tells the classes apart.

    Every class weighs the same, however many pixels it has; a class without pixels is never found.

    Parameters
    ----------
    values : (n_features, n) float32, finite
    labels : (n,) int64, 0..n_classes - 1
    seed : for the bootstrap samples and the features tried at each node
    """
    edges = [_edges(row) for row in values]
    codes = np.stack([np.searchsorted(e, row, side="right").astype(np.uint8) for e, row in zip(edges, values, strict=True)])
    counts = np.bincount(labels, minlength=n_classes)
    weight = 1 / np.maximum(counts, 1)
    tried = max(round(np.sqrt(len(values))), 1)
    trees = [
        _grow_tree(codes, labels, weight, n_classes, np.array([seed, t], np.uint64), tried, MAX_DEPTH, MIN_LEAF) for t in range(N_TREES)
    ]
    starts = np.cumsum([0, *(len(t[0]) for t in trees)])
    feature, cut, child, share = (np.concatenate(parts) for parts in zip(*trees, strict=True))
    child = np.where(child > 0, child + np.repeat(starts[:-1], np.diff(starts)), 0).astype(np.int32)
    padded = np.array([np.pad(e, (0, N_BINS - len(e))) for e in edges], np.float32)
    return Forest(feature, padded[np.maximum(feature, 0), cut], child, share, starts[:-1].astype(np.int32))


def _edges(row: FloatArray) -> FloatArray:
    """Return at most N_BINS - 1 values, each the lowest of a bin."""
    return np.unique(np.quantile(row, np.arange(1, N_BINS) / N_BINS, method="higher").astype(np.float32))


@compiled
def _random(state: AnyArray) -> int:
    """Return 31 random bits [splitmix64, Steele 2014]."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return int((z ^ (z >> np.uint64(31))) >> np.uint64(33))


@compiled
def _best_split(
    codes: AnyArray, labels: IntArray, weight: DoubleArray, rows: IntArray, order: IntArray, tried: int, min_leaf: int
) -> tuple[int, int]:
    """Return the feature among the first `tried` of `order`, and its bin, whose split leaves the purest halves (Gini); -1 without one."""
    k = len(weight)
    best, best_feature, best_bin = -1.0, -1, 0
    mass, number = np.zeros((N_BINS, k)), np.zeros(N_BINS, np.int64)
    left = np.zeros(k)
    for i in range(tried):
        f = order[i]
        mass[:], number[:], left[:] = 0, 0, 0
        for r in rows:
            b = codes[f, r]
            mass[b, labels[r]] += weight[labels[r]]
            number[b] += 1
        whole = mass.sum(axis=0)
        n_left = 0
        for b in range(N_BINS - 1):
            n_left += number[b]
            left += mass[b]
            if number[b] == 0 or n_left < min_leaf:
                continue
            if len(rows) - n_left < min_leaf:
                break
            right = whole - left
            pure = (left * left).sum() / left.sum() + (right * right).sum() / right.sum()
            if pure > best:
                best, best_feature, best_bin = pure, f, b
    return best_feature, best_bin


@compiled
def _grow_tree(
    codes: AnyArray, labels: IntArray, weight: DoubleArray, n_classes: int, seed: AnyArray, tried: int, max_depth: int, min_leaf: int
) -> tuple[AnyArray, AnyArray, AnyArray, FloatArray]:
    """Return feature (int16), bin edge (int64), child (int64) and class shares (float32) of each node of one tree."""
    n_features, n = codes.shape
    state = seed[:1] * np.uint64(0x2545F4914F6CDD1D) + seed[1:]
    rows = np.empty(n, np.int64)
    for i in range(n):
        rows[i] = _random(state) % n
    order = np.arange(n_features)
    most = min(2 * (n // min_leaf) + 1, 2 ** (max_depth + 1))
    feature, cut, child = np.full(most, -1, np.int16), np.zeros(most, np.int64), np.zeros(most, np.int64)
    share = np.zeros((most, n_classes), np.float32)
    first, last, depth = np.zeros(most, np.int64), np.zeros(most, np.int64), np.zeros(most, np.int64)
    last[0], n_nodes, node = n, 1, 0
    while node < n_nodes:
        own = rows[first[node] : last[node]]
        mass = np.zeros(n_classes)
        for r in own:
            mass[labels[r]] += weight[labels[r]]
        share[node] = (mass / mass.sum()).astype(np.float32)
        found = -1
        if depth[node] < max_depth and len(own) >= 2 * min_leaf and (mass > 0).sum() > 1:
            for i in range(tried):  # other features at each node
                j = i + _random(state) % (n_features - i)
                order[i], order[j] = order[j], order[i]
            found, edge = _best_split(codes, labels, weight, own, order, tried, min_leaf)
        if found >= 0:
            a, b = first[node], last[node]
            below = own[codes[found][own] <= edge]
            above = own[codes[found][own] > edge]
            middle = a + len(below)
            rows[a:middle], rows[middle:b] = below, above
            feature[node], cut[node], child[node] = found, edge, n_nodes
            for half, start, end in ((0, a, middle), (1, middle, b)):
                first[n_nodes + half], last[n_nodes + half], depth[n_nodes + half] = start, end, depth[node] + 1
            n_nodes += 2
        node += 1
    return feature[:n_nodes], cut[:n_nodes], child[:n_nodes], share[:n_nodes]


CHUNK = 64  # pixels that walk down a tree together: their features and the tree's nodes stay in the fast memory


def vote(values: FloatArray, forest: Forest | PixelModel) -> FloatArray:
    """Return the mean over all trees of the class shares in the leaf of each pixel, (n_classes, h, w) float32.

    `values` : (n_features, h, w) float32
    """
    leaf = np.equal(forest.child, 0)
    # in a leaf one stays, so that all pixels take as many steps; numba takes unsigned indices without asking for their sign
    child = np.where(leaf, np.arange(len(leaf)), forest.child).astype(np.uint32)
    threshold = np.where(leaf, np.float32(np.inf), forest.threshold).astype(np.float32)
    feature = np.where(leaf, 0, forest.feature).astype(np.uint32)
    return _vote(values, feature, threshold, child, forest.share, forest.roots.astype(np.uint32), _depth(forest.child))


@compiled
def _depth(child: AnyArray) -> int:
    """Return the number of steps to the deepest leaf; children come after their parents."""
    depth = np.zeros(len(child), np.int64)
    for node in range(len(child)):
        if child[node] > 0:
            depth[child[node]] = depth[child[node] + 1] = depth[node] + 1
    return int(depth.max())


@compiled
def _vote(
    values: FloatArray, feature: AnyArray, threshold: FloatArray, child: AnyArray, share: FloatArray, roots: AnyArray, depth: int
) -> FloatArray:
    n_features, h, w = values.shape
    k, wide = share.shape[1], np.uint32(n_features)
    out = np.empty((k, h, w), np.float32)
    line = np.empty(CHUNK * n_features, np.float32)
    node = np.empty(CHUNK, np.uint32)
    total = np.empty((CHUNK, k), np.float32)
    each = np.float32(1) / np.float32(len(roots))
    for y in range(h):
        for start in range(0, w, CHUNK):
            n = min(CHUNK, w - start)
            for f in range(n_features):
                for x in range(n):
                    line[x * n_features + f] = values[f, y, start + x]
            total[:] = 0
            for root in roots:
                node[:] = root
                for _ in range(depth):
                    for x in range(n):
                        at = node[x]
                        node[x] = child[at] + np.uint32(line[np.uint32(x) * wide + feature[at]] >= threshold[at])
                for x in range(n):
                    for c in range(k):
                        total[x, c] += share[node[x], c]
            for c in range(k):
                for x in range(n):
                    out[c, y, start + x] = total[x, c] * each
    return out
