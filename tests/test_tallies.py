"""Tallies without zeros give the same sums over any zones as the dense ones, on disk and off it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevhisto.io.records import load_tallies, save_record
from sevhisto.io.tallies import read_tallies, save_tallies, tally_path
from sevhisto.tallies import Reach, Sparse, Tallies
from sevhisto.types import N_DISTANCE, N_INTENSITY, NO_DISTANCE, IntArray, SectionRecord, SevhistoError

N_BINS = 12
reaches = st.tuples(st.integers(0, N_BINS), st.integers(0, N_BINS), st.sampled_from([(0,), (1,), (0, 1)])).map(
    lambda r: (min(r[:2]), max(r[:2]), r[2])
)


def dense(seed: int, *shape: int) -> IntArray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random(shape) < 0.2, rng.integers(-5, 2**40, shape), 0).astype(np.int64)


@given(st.integers(0, 10_000), st.integers(1, 3), st.lists(reaches, min_size=1, max_size=6))
def test_sums_over_zones_are_those_of_the_dense_tally(seed: int, n_lead: int, zones: list[Reach]) -> None:
    values = dense(seed, n_lead, 2, N_BINS, 3, 2)
    found = Sparse.of(values).over(zones)
    assert found.dtype == np.int64
    assert np.array_equal(found, [values[:, list(sides), a:b].sum(axis=(1, 2)) for a, b, sides in zones])


def test_a_tally_with_one_number_per_distance_and_an_empty_one() -> None:
    values = dense(3, 2, 2, N_BINS)
    assert np.array_equal(Sparse.of(values).over([(2, 7, (0, 1))]), values[None, :, :, 2:7].sum(axis=(2, 3)))
    assert np.array_equal(Sparse.of(np.zeros((1, 2, N_BINS, 4), np.int64)).over([(0, 5, (0,)), (0, 9, (1,))]), np.zeros((2, 1, 4)))


def record() -> SectionRecord:
    counts = np.zeros((2, 2, N_DISTANCE, N_INTENSITY), np.int64)
    counts[:, 0, NO_DISTANCE, 200:300] = dense(1, 2, 100).clip(0) % 1000
    flat = np.zeros((2, N_DISTANCE), np.int64)
    masks = {"core": np.eye(4, dtype=np.uint8), "masked": np.zeros((4, 4), np.uint8)}
    cells = {"distance_um": np.array([np.nan, 3.5], np.float32), "CD68_ring": np.array([7.0, 8.0], np.float32)}
    joint = {("CD68", "CD206"): np.ones((2, 93, 64, 64), np.int64)}
    return SectionRecord(
        {"um_per_px": 2.0, "flags": []}, ("CD68", "CD206"), counts, 3 * counts, flat, flat + 1, joint, cells=cells, masks=masks
    )


def same(a: Tallies, b: Tallies) -> bool:
    flat = all(getattr(a, name) == getattr(b, name) for name in ("meta", "markers", "contour"))
    reach = [(0, 5, (0, 1)), (0, 93, (0,))]
    sums = list(a.sums) == list(b.sums) and all(np.array_equal(a.sums[k].over(reach), b.sums[k].over(reach)) for k in a.sums)
    return flat and sums and all(np.array_equal(a.cells[k], b.cells[k], equal_nan=True) for k in (*a.cells, *b.cells))


def test_tallies_come_back_from_disk_as_they_were(tmp_path: Path) -> None:
    made = Tallies.of(record())
    save_tallies(tmp_path / "a.npz", made)
    back = read_tallies(tmp_path / "a.npz")
    assert back is not None and same(made, back)
    first = tally_path(tmp_path / "a.npz").read_bytes()
    save_tallies(tmp_path / "a.npz", back)
    assert tally_path(tmp_path / "a.npz").read_bytes() == first


def test_the_contour_tells_another_outline_and_nothing_else() -> None:
    plain, cut, other = record(), record(), record()
    cut.masks["core"] = 1 - cut.masks["core"]
    other.counts[0, 0, NO_DISTANCE, 5] += 1
    assert Tallies.of(plain).contour == Tallies.of(other).contour != Tallies.of(cut).contour


@pytest.mark.parametrize("harm", ["missing", "cut", "flipped", "empty"])
def test_tallies_that_are_missing_or_damaged_are_made_again_from_the_record(tmp_path: Path, harm: str) -> None:
    path = save_record(tmp_path, "ab" * 32, record())
    first = load_tallies(path)
    file = tally_path(path)
    whole = file.read_bytes()
    if harm == "missing":
        file.unlink()
    else:
        file.write_bytes({"cut": whole[:-9], "flipped": whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:], "empty": b""}[harm])
    assert read_tallies(path) is None
    assert same(load_tallies(path), first) and file.read_bytes() == whole


def test_without_its_record_a_damaged_tally_is_an_error(tmp_path: Path) -> None:
    path = save_record(tmp_path, "ab" * 32, record())
    load_tallies(path)
    path.unlink()
    tally_path(path).write_bytes(b"x" * 100)
    with pytest.raises(SevhistoError, match="damaged or missing"):
        load_tallies(path)
