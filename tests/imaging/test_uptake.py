"""Spots in cells: each belongs to the nearest nucleus within its ring, blocks change nothing, and none is lost or counted twice."""

from __future__ import annotations

import numpy as np
import pytest

from sevhisto.config import ChannelSettings, ImagingSettings, PanelSettings
from sevhisto.imaging import blocks as grid
from sevhisto.imaging import puncta
from sevhisto.imaging.kernels import rings
from sevhisto.imaging.tally import COARSE_OF_FINE, N_COARSE, intensity_bin, quantise
from sevhisto.imaging.uptake import footprints, sparse_spots

PANEL = PanelSettings(
    channels=[ChannelSettings(channel=1, marker="DAPI", role="nuclei"), ChannelSettings(channel=2, marker="sEV", role="tracer")]
)
UM = 0.5


def test_a_footprint_is_the_nucleus_and_its_ring():
    labels = np.zeros((30, 40), np.int64)
    labels[5:12, 5:12], labels[5:12, 15:22], labels[20:25, 30:35] = 3, 1, 2
    owner, area = footprints(labels, np.array([1, 3]), 3.0)
    ring = rings(labels, 3.0)
    assert np.array_equal(owner == 1, (labels == 1) | (ring == 1)) and np.array_equal(owner == 2, (labels == 3) | (ring == 3))
    assert area.tolist() == [(owner == 1).sum(), (owner == 2).sum()]
    assert not owner[20:25, 30:35].any()  # a nucleus that is not chosen


@pytest.mark.parametrize("step", [1, 3])
def test_spots_are_those_of_the_plain_form(step):
    rng = np.random.default_rng(step)
    contrast = puncta.contrast(rng.gamma(2, 60, (61, 77)).astype(np.float32), UM, 0.8)
    owner = np.kron(rng.integers(0, 9, (8, 10)), np.ones((12 // step, 12 // step), np.int64))
    frame = np.kron(owner, np.ones((step, step), np.int64))  # 96 x 120
    near = (slice(14, 70), slice(11, 80))
    found = sparse_spots((contrast, (12, 9)), near, owner, step, 8)
    want = np.zeros((8, N_COARSE), np.int64)
    for y, x in np.argwhere(puncta.spots(contrast)):
        cell = frame[y + 12, x + 9]
        if cell and 14 <= y + 12 < 70 and 11 <= x + 9 < 80:
            want[cell - 1, COARSE_OF_FINE[intensity_bin(quantise(contrast[y, x]))]] += 1
    dense = np.zeros_like(want)
    np.add.at(dense, (found[:, 0], found[:, 1]), found[:, 2])
    assert np.array_equal(dense, want) and want.sum() > 50


def scene(seed, spots_on=0.5, side=420):
    """Round nuclei of 10 um on a grid, some with five spots on them, and as many spots elsewhere; where and how many."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[0:side, 0:side]
    nuclei, tracer = np.full((side, side), 100.0), np.full((side, side), 100.0)
    centres = [(y, x) for y in range(40, side - 30, 50) for x in range(40, side - 30, 50)]
    wanted = []
    for y, x in centres:
        cy, cx = y + rng.uniform(-4, 4), x + rng.uniform(-4, 4)
        nuclei += 900.0 * ((yy - cy) ** 2 + (xx - cx) ** 2 < 10**2)
        n = 5 if rng.random() < spots_on else 0
        wanted.append((cy, cx, n))
        for dy, dx in ((0, 0), (6, 0), (-6, 0), (0, 6), (0, -6))[:n]:
            tracer += 300.0 * np.exp(-((yy - cy - dy) ** 2 + (xx - cx - dx) ** 2) / 2)
        if n:
            tracer += 300.0 * np.exp(-((yy - cy - 20) ** 2 + (xx - cx - 20) ** 2) / 2)  # one outside
    return np.stack([nuclei, tracer]).round().astype(np.uint16), np.array(wanted)


def test_the_record_tells_how_many_spots_each_cell_holds(bench, monkeypatch):
    image, wanted = scene(3)
    settings = ImagingSettings(nucleus_diameter_um=10, puncta_diameter_um=1.2, blur_um=0)
    record = bench.record(image, UM, PANEL, settings, bench.correction(2, 100.0))
    y, x = ((record.cells[k] / UM + c) for k, c in zip(("y_um", "x_um"), record.meta["corner_px"], strict=True))
    assert len(y) == len(wanted)
    first_bright = int(COARSE_OF_FINE[intensity_bin(quantise(np.float32([20.0])))[0]])
    found = np.zeros(len(y), int)
    for cell, contrast_bin, n in record.cell_spots["sEV"]:
        found[cell] += n * (contrast_bin >= first_bright)
    for cy, cx, n in wanted:
        nearest = np.hypot(y - cy, x - cx).argmin()
        assert np.hypot(y - cy, x - cx)[nearest] < 3 and found[nearest] == n
    assert record.cells["footprint_um2"] == pytest.approx(np.pi * (5 + settings.ring_um) ** 2, rel=0.1)
    monkeypatch.setattr(grid, "BLOCK_PX", 97)  # borders run through nuclei and spots
    blocks = bench.record(image, UM, PANEL, settings, bench.correction(2, 100.0))
    assert np.array_equal(blocks.cell_spots["sEV"], record.cell_spots["sEV"])
    assert all(np.array_equal(blocks.cells[k], v, equal_nan=True) for k, v in record.cells.items())


def test_without_nuclei_or_cells_there_is_nothing_in_cells(bench):
    image, _ = scene(4)
    image[0] = 100
    record = bench.record(image, UM, PANEL, ImagingSettings(puncta_diameter_um=1.2), bench.correction(2, 100.0))
    assert record.cell_spots["sEV"].shape == (0, 3) and len(record.cells["footprint_um2"]) == 0
    alone = PanelSettings(channels=[ChannelSettings(channel=1, marker="sEV", role="tracer")])
    assert bench.record(image[1:], UM, alone, ImagingSettings(puncta_diameter_um=1.2), bench.correction(1, 100.0)).cell_spots == {}
