"""The kernels against a plain recount, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevhisto.imaging.tally import (
    COARSE_OF_FINE,
    JOINT_OF_DISTANCE,
    count_places,
    fibre_sums,
    intensity_bin,
    joint_tally,
    quantise,
    tally,
)
from sevhisto.types import (
    DISTANCE_EDGES_UM,
    INTENSITY_EDGES,
    INTENSITY_EDGES_Q,
    JOINT_DISTANCE_EDGES_UM,
    JOINT_EDGES,
    N_DISTANCE,
    N_INTENSITY,
    N_JOINT_DISTANCE,
    NO_DISTANCE,
)

PIXELS = st.lists(
    st.tuples(
        st.integers(0, 2 * N_DISTANCE - 1),
        st.floats(-3000, 80000, width=32),
        st.floats(-3000, 80000, width=32),
        st.floats(-500, 500, width=32),
        st.floats(-500, 500, width=32),
    ),
    max_size=60,
)


def arrays(pixels):
    columns = list(zip(*pixels, strict=True)) or [()] * 5
    place = np.array(columns[0], np.int64)
    return (place, *(np.array(c, np.float32) for c in columns[1:]))


@given(st.lists(st.integers(-(2**30), 2**30), max_size=50))
def test_intensity_bin_is_a_search_among_the_edges(values):
    near = [int(e) + d for e in INTENSITY_EDGES_Q[::37] for d in (-1, 0, 1)]
    quanta = np.array(values + near, np.int64)
    assert np.array_equal(intensity_bin(quanta), np.searchsorted(INTENSITY_EDGES_Q, quanta, side="right"))


def test_every_edge_opens_its_bin():
    bins = intensity_bin(INTENSITY_EDGES_Q)
    assert np.array_equal(bins, np.arange(1, N_INTENSITY))
    assert np.array_equal(intensity_bin(INTENSITY_EDGES_Q - 1), np.arange(0, N_INTENSITY - 1))


@given(PIXELS)
@settings(max_examples=40, deadline=None)
def test_counts_and_sums_are_a_recount(pixels):
    place, a, *_ = arrays(pixels)
    quanta = quantise(a)
    counts, sums = tally(place, intensity_bin(quanta), quanta)
    want_counts, want_sums = np.zeros_like(counts), np.zeros_like(sums)
    for p, value in zip(place, a, strict=True):
        q = round(float(value) * 16)  # halves to even, as IEEE rounds
        cell = (p // N_DISTANCE, p % N_DISTANCE, np.searchsorted(INTENSITY_EDGES_Q, q, side="right"))
        want_counts[cell] += 1
        want_sums[cell] += q
    assert counts.dtype == sums.dtype == np.int64
    assert np.array_equal(counts, want_counts)
    assert np.array_equal(sums, want_sums)
    assert np.array_equal(count_places(place), want_counts.sum(axis=2))


@given(PIXELS)
@settings(max_examples=30, deadline=None)
def test_the_joint_tally_is_a_recount(pixels):
    place, a, b, *_ = arrays(pixels)
    qa, qb = quantise(a), quantise(b)
    got = joint_tally(place, intensity_bin(qa), intensity_bin(qb))
    want = np.zeros_like(got)
    for p, x, y in zip(place, qa, qb, strict=True):
        ia, ib = (np.searchsorted(JOINT_EDGES, v / 16, side="right") for v in (x, y))
        want[p // N_DISTANCE, JOINT_OF_DISTANCE[p % N_DISTANCE], ia, ib] += 1
    assert np.array_equal(got, want)


@given(PIXELS)
@settings(max_examples=30, deadline=None)
def test_fibre_sums_are_a_recount(pixels):
    place, a, b, fy, fx = arrays(pixels)
    normal = np.linspace(0, np.pi, len(place))
    turn = np.stack([np.cos(2 * normal), np.sin(2 * normal)]).astype(np.float32)
    got = fibre_sums(place, intensity_bin(quantise(a)), intensity_bin(quantise(b)), fy, fx, turn)
    want = np.zeros_like(got)
    for p, q, own, gy, gx in zip(place, quantise(a), quantise(b), fy, fx, strict=True):
        k, j = (np.searchsorted(JOINT_EDGES, v / 16, side="right") for v in (q, own))
        products = [np.float32(gx * gx), np.float32(gy * gy), np.float32(gx * gy)]
        want[p // N_DISTANCE, p % N_DISTANCE, k, :3] += [round(float(v) * 64) for v in products]
        want[p // N_DISTANCE, p % N_DISTANCE, j, 5:] += [1, round(64 * float(np.hypot(float(gx), float(gy))))]
    assert np.array_equal(got[..., [0, 1, 2, 5]], want[..., [0, 1, 2, 5]])
    assert np.abs(got[..., 6] - want[..., 6]).max() <= len(place)
    along, across = fx * np.cos(normal) + fy * np.sin(normal), fy * np.cos(normal) - fx * np.sin(normal)
    assert got[..., 3].sum() / 64 == pytest.approx((along.astype(float) ** 2).sum(), rel=1e-4, abs=1)
    assert got[..., 4].sum() / 64 == pytest.approx((along * across).sum(), rel=1e-4, abs=1 + 1e-4 * float((fx**2 + fy**2).sum()))


@given(PIXELS, PIXELS)
@settings(max_examples=20, deadline=None)
def test_tallies_add_up(one, two):
    def of(pixels):
        place, a, *_ = arrays(pixels)
        quanta = quantise(a)
        return tally(place, intensity_bin(quanta), quanta)

    together = of(one + two)
    for part, whole in zip(zip(of(one), of(two), strict=True), together, strict=True):
        assert np.array_equal(part[0] + part[1], whole)


def test_coarse_bins_are_unions_of_fine_ones():
    middles = (INTENSITY_EDGES[:-1] + INTENSITY_EDGES[1:]) / 2
    assert np.array_equal(COARSE_OF_FINE[1:-1], np.searchsorted(JOINT_EDGES, middles, side="right"))
    assert COARSE_OF_FINE[0] == 0
    assert COARSE_OF_FINE[-1] == len(JOINT_EDGES)
    # the same for distance: the middle of each fine bin lies in the coarse bin that it is sent to
    places = (DISTANCE_EDGES_UM[:-1] + DISTANCE_EDGES_UM[1:]) / 2
    assert np.array_equal(JOINT_OF_DISTANCE[1 : len(DISTANCE_EDGES_UM)], np.searchsorted(JOINT_DISTANCE_EDGES_UM, places, side="right"))
    assert JOINT_OF_DISTANCE[0] == 0
    assert JOINT_OF_DISTANCE[len(DISTANCE_EDGES_UM)] == len(JOINT_DISTANCE_EDGES_UM)
    assert JOINT_OF_DISTANCE[NO_DISTANCE] == N_JOINT_DISTANCE - 1


def test_sums_of_bright_pixels_stay_exact():
    n = 200_000
    quanta = quantise(np.full(n, 65535.0625, np.float32))
    counts, sums = tally(np.zeros(n, np.int64), intensity_bin(quanta), quanta)
    assert counts.sum() == n
    assert sums.sum() == n * 1_048_561
