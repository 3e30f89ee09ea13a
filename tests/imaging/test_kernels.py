"""Each compiled kernel gives what the plain NumPy code gives, to the last bit where sums are whole numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevhisto.imaging import kernels
from sevhisto.imaging.background import apply_correction
from sevhisto.imaging.geometry import Layout, class_codes, distance_bin, neighbours, upsample, upsample_at
from sevhisto.imaging.tally import (
    BIN_OF_QUANTUM,
    N_COARSE,
    count_places,
    fibre_sums,
    gradients,
    intensity_bin,
    joint_tally,
    quantise,
    tally,
)
from sevhisto.types import FIBRE_COLUMNS, N_DISTANCE, N_INTENSITY, N_JOINT_DISTANCE, Correction

SEEDS = st.integers(0, 2**32 - 1)


def random_places(rng, shape):
    place = rng.integers(0, 2 * N_DISTANCE, shape).astype(np.int32)
    place[rng.random(shape) < 0.2] = kernels.OUTSIDE
    return place


@settings(deadline=None, max_examples=30)
@given(SEEDS, st.booleans())
def test_places_are_those_of_the_interpolated_maps(seed, has_core):
    rng = np.random.default_rng(seed)
    h, w, f = 9, 11, int(rng.integers(1, 9))

    def blob(share):
        return rng.random((h, w)) < share

    distance = rng.normal(0, 900, (h, w)).astype(np.float32) if has_core else np.full((h, w), np.nan, np.float32)
    core = np.ones((h, w), bool) if has_core else np.zeros((h, w), bool)
    layout = Layout(f, 4.0, blob(0.7), blob(0.3), blob(0.3), core, distance, blob(0.5).astype(np.uint8))
    y0, x0 = int(rng.integers(0, h * f // 2)), int(rng.integers(0, w * f // 2))
    box = (y0, h * f - 1, x0, w * f - 2)
    rows, columns = neighbours(h, f, np.arange(*box[:2])), neighbours(w, f, np.arange(*box[2:]))
    found = kernels.places(class_codes(layout), distance, has_core, *rows, *columns)

    tissue, cavity, masked, side = (upsample(m, f, *box) >= 0.5 for m in (layout.tissue, layout.cavity, layout.masked, layout.side))
    want = side * N_DISTANCE + distance_bin(upsample(distance, f, *box))
    examined = tissue & ~cavity & ~masked
    assert np.array_equal(found >= 0, examined)
    assert np.array_equal(found[examined], want[examined])
    assert (found[~tissue] == kernels.OUTSIDE).all()
    in_cavity, in_masked = np.zeros(2 * N_DISTANCE, np.int64), np.zeros(2 * N_DISTANCE, np.int64)
    assert kernels.count_unexamined(found, in_cavity, in_masked) == examined.sum()
    assert np.array_equal(in_cavity, count_places(want[tissue & cavity & ~masked]).ravel())
    assert np.array_equal(in_masked, count_places(want[tissue & masked]).ravel())


@settings(deadline=None, max_examples=30)
@given(SEEDS, st.floats(0.1, 1e6))
def test_tallies_are_the_plain_ones(seed, spread):
    rng = np.random.default_rng(seed)
    values = rng.normal(0, spread, (2, 23, 31)).astype(np.float32)
    values.ravel()[::7] = np.round(values.ravel()[::7] * 16) / 16 + 1 / 32  # halves of a quantum
    place = random_places(rng, (23, 31))
    on = place >= 0
    bins = np.zeros((2, 23, 31), np.int16)
    for k in range(2):
        totals = np.zeros((2 * N_DISTANCE, N_INTENSITY, 2), np.int64)
        kernels.tally_into(values[k], place, BIN_OF_QUANTUM, totals, bins[k])
        counts, sums = totals[..., 0], totals[..., 1]
        quanta = quantise(values[k][on])
        want = tally(place[on].astype(np.int64), intensity_bin(quanta), quanta)
        assert np.array_equal(counts, want[0].reshape(counts.shape))
        assert np.array_equal(sums, want[1].reshape(sums.shape))
        assert np.array_equal(bins[k][on], intensity_bin(quanta))
    joint = np.zeros((2, N_JOINT_DISTANCE, N_COARSE, N_COARSE), np.int64)
    kernels.joint_into(place, bins[0], bins[1], joint)
    assert np.array_equal(joint, joint_tally(place[on].astype(np.int64), bins[0][on].astype(np.int64), bins[1][on].astype(np.int64)))


@pytest.mark.parametrize("bordered", [False, True])
@pytest.mark.parametrize("margins", [(0, 0), (1, 0), (1, 1), (3, 2)])
def test_fibre_sums_are_the_plain_ones_also_at_the_edge_of_the_image(margins, bordered):
    rng = np.random.default_rng(5)
    smooth = rng.gamma(2, 50, (40, 37)).astype(np.float32)
    y, x = margins
    h, w = 40 - 2 * y, 37 - 2 * x
    place, bins = random_places(rng, (h, w)), rng.integers(0, N_INTENSITY, (h, w)).astype(np.int16)
    sums = np.zeros((2 * N_DISTANCE, N_COARSE, len(FIBRE_COLUMNS)), np.int64)
    normal = rng.uniform(0, np.pi, (5, 4)) if bordered else np.zeros((0, 0))
    turn = np.stack([np.cos(2 * normal), np.sin(2 * normal)]).astype(np.float32)
    down, across = np.minimum(np.arange(h) // 8, 4), np.minimum(np.arange(w) // 10, 3)
    kernels.fibres_into(smooth, y, x, place, bins, BIN_OF_QUANTUM, turn, across, down, sums)
    fy, fx = (g[y : y + h, x : x + w] for g in gradients(smooth))
    on = place >= 0
    own = intensity_bin(quantise(smooth[y : y + h, x : x + w]))
    here = turn[:, down][:, :, across][:, on] if bordered else np.zeros((2, on.sum()), np.float32)
    want = fibre_sums(place[on].astype(np.int64), bins[on].astype(np.int64), own[on], fy[on], fx[on], here)
    assert np.array_equal(sums, want.reshape(sums.shape))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_correction_is_the_plain_one(kind):
    rng = np.random.default_rng(6)
    raw = rng.integers(0, 250, (3, 17, 19)).astype(kind)
    unmix = np.array([[1, -0.25, 0], [0, 1, 0], [-0.5, 0.125, 1.0]])
    offset = np.array([7.5, 3.0, 20.25])
    want = apply_correction(raw.astype(np.float32), Correction(offset, unmix, ("glass",) * 3))
    for row in range(3):
        found = kernels.correct(raw, row, unmix[row], np.float32(unmix[row] @ offset))
        assert found == pytest.approx(want[row], abs=1e-4)


def test_saturation_counts_examined_pixels_at_both_ends():
    place = np.array([[0, 1, kernels.OUTSIDE], [2, 3, 4]], np.int32)
    plane = np.array([[0, 255, 255], [254, 255, 1]], np.uint8)
    assert kernels.saturated(plane, place, np.float32(255), np.float32(-np.inf)) == 2
    assert kernels.saturated(plane, place, np.float32(np.inf), np.float32(0)) == 1


@pytest.mark.parametrize("step", [1, 2, 3, 5])
def test_reduced_images_hold_means_of_whole_blocks(step):
    plane = np.random.default_rng(7).normal(100, 30, (31, 47)).astype(np.float32)
    h, w = 31 // step, 47 // step
    want = plane[: h * step, : w * step].reshape(h, step, w, step).mean((1, 3), dtype=np.float64)
    assert kernels.reduced(plane, step) == pytest.approx(want, abs=1e-3)


@settings(deadline=None, max_examples=30)
@given(SEEDS)
def test_levels_are_the_highest_values_that_enough_pixels_of_a_label_reach(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 9, (13, 17))
    labels[labels == 4] = 0  # a label without pixels
    channel = rng.normal(0, 100, labels.shape).astype(np.float32)
    start, pixels = kernels.group_by_label(labels, 9)
    chosen = np.arange(1, 9)
    found = kernels.levels(channel.ravel(), start, pixels, chosen, np.array([2, 5, 8]))
    for label, values in zip(chosen, found.T, strict=True):
        own = np.sort(channel[labels == label])
        assert len(own) or np.isnan(values).all()
        for value, share in zip(values, (0.8, 0.5, 0.2), strict=True) if len(own) else ():
            reached = [v for v in own if (own >= v).sum() >= share * len(own) - 1e-9]
            assert value == max(reached)
        assert not len(own) or values[1] == own[len(own) // 2]


def test_a_map_at_single_points_is_the_map_at_those_pixels():
    rng = np.random.default_rng(8)
    values = rng.normal(0, 500, (12, 9)).astype(np.float32)
    whole = upsample(values, 5, 0, 60, 0, 45)
    y, x = rng.integers(0, 60, 50), rng.integers(0, 45, 50)
    assert np.array_equal(upsample_at(values, 5, y, x), whole[y, x])


def test_centroids_are_means_of_the_places_of_each_label():
    labels = np.random.default_rng(9).integers(0, 6, (12, 15))
    labels[labels == 3] = 0
    area, cy, cx = kernels.centroids(labels, 6)
    for k in (1, 2, 4, 5):
        y, x = np.nonzero(labels == k)
        assert (area[k], cy[k], cx[k]) == pytest.approx((len(y), y.mean(), x.mean()))
    assert area[0] == area[3] == 0


@pytest.mark.parametrize("reach", [1.0, 2.0, 2.9, 4.0])
def test_a_ring_is_the_background_nearest_to_its_label(reach):
    rng = np.random.default_rng(10)
    labels = np.zeros((40, 50), np.int64)
    for k in range(1, 12):
        y, x = rng.integers(0, 36), rng.integers(0, 46)
        labels[y : y + 4, x : x + 4][labels[y : y + 4, x : x + 4] == 0] = k
    found = kernels.rings(labels, reach)
    on = np.argwhere(labels > 0)
    for y, x in np.argwhere(labels == 0):
        d = ((on - (y, x)) ** 2).sum(axis=1)
        first = on[np.argmin(d)]  # argwhere goes row by row: ties go to the upper, then left pixel
        assert found[y, x] == (labels[tuple(first)] if d.min() <= reach**2 else 0)
    assert not found[labels > 0].any()
