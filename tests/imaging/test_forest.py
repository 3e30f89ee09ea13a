from __future__ import annotations

import numpy as np
import pytest

from sevhisto.imaging.forest import MAX_DEPTH, Forest, grow, vote


def problem(seed: int, n: int = 3000, n_features: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Two features of which only both together tell the class."""
    values = np.random.default_rng(seed).normal(0, 1, (n_features, n)).astype(np.float32)
    return values, ((values[3] > 0) ^ (values[7] > 0)).astype(np.int64)


def walked(forest: Forest, pixel: np.ndarray) -> np.ndarray:
    """What `vote` must give, one node after the other."""
    shares = []
    for root in forest.roots:
        node = int(root)
        while forest.child[node] > 0:
            node = int(forest.child[node]) + int(pixel[forest.feature[node]] >= forest.threshold[node])
        shares.append(forest.share[node])
    return np.mean(shares, axis=0, dtype=np.float64)


def test_it_learns_what_no_single_feature_tells():
    forest = grow(*problem(1), 2, seed=5)
    values, labels = problem(2)
    found = vote(values[:, None], forest)
    assert ((found[1, 0] > 0.5) == labels).mean() > 0.9
    assert np.allclose(found.sum(axis=0), 1, atol=1e-5)


def test_the_vote_is_the_mean_of_the_walks():
    forest = grow(*problem(1), 2, seed=5)
    values = problem(3, 150)[0].reshape(12, 2, 75)
    found = vote(values, forest)
    for y, x in ((0, 0), (0, 74), (1, 63), (1, 64)):
        assert found[:, y, x] == pytest.approx(walked(forest, values[:, y, x]), abs=1e-5)


def test_the_same_seed_gives_the_same_forest_and_another_does_not():
    values, labels = problem(1)
    first, second, other = (grow(values, labels, 2, seed) for seed in (5, 5, 6))
    for name in ("feature", "threshold", "child", "share", "roots"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
    assert len(first.feature) != len(other.feature) or not np.array_equal(first.threshold, other.threshold)
    depth = np.zeros(len(first.child), int)
    for node in np.flatnonzero(first.child):
        assert first.child[node] > node
        depth[first.child[node] : first.child[node] + 2] = depth[node] + 1
    assert depth.max() <= MAX_DEPTH


def test_classes_weigh_the_same_however_many_pixels_they_have():
    rng = np.random.default_rng(4)
    labels = (np.arange(4000) >= 3800).astype(np.int64)  # one in twenty
    values = (rng.normal(0, 1, (4, 4000)) + 2 * labels).astype(np.float32)
    found = vote(values[:, None], grow(values, labels, 2, 1))[1, 0] > 0.5
    assert found[labels == 1].mean() > 0.9 and found[labels == 0].mean() < 0.1


def test_constant_features_and_a_class_without_pixels_do_no_harm():
    labels = np.repeat([0, 2], 50)
    forest = grow(np.ones((3, 100), np.float32), labels, 3, 1)
    found = vote(np.ones((3, 1, 4), np.float32), forest)
    assert found[1].max() == 0 and found[0] == pytest.approx(0.5, abs=0.1)
