"""The audit of autofluorescence: the compiled form is the plain one, blocks change nothing, and it is what subtraction takes away."""

from __future__ import annotations

import numpy as np
import pytest

from sevhisto.config import ImagingSettings
from sevhisto.imaging import blocks as grid
from sevhisto.imaging.autofluorescence import ROW_STEP, moved, moved_into
from sevhisto.imaging.geometry import upsample
from sevhisto.imaging.tally import BIN_OF_QUANTUM, intensity_bin, quantise
from sevhisto.types import INTENSITY_EDGES, N_DISTANCE, N_INTENSITY, N_JOINT_DISTANCE, Correction


@pytest.mark.parametrize("first", [0, 3])
def test_the_compiled_tally_is_the_plain_one(first):
    rng = np.random.default_rng(first)
    after, blank = rng.normal(50, 200, (2, 41, 60)).astype(np.float32)
    place = rng.integers(-3, 2 * N_DISTANCE, (41, 60)).astype(np.int32)
    bins = intensity_bin(quantise(after)).astype(np.int16)
    found = np.zeros((2, N_JOINT_DISTANCE, N_INTENSITY), np.int64)
    moved_into(after, bins, blank, np.float32(0.7), place, first, BIN_OF_QUANTUM, found)
    assert np.array_equal(found, moved(after, blank, 0.7, place, first))
    assert found.any() and found.sum() == 0  # pixels are moved, none is lost


def corrected_by(share):
    unmix = np.eye(5)
    unmix[[2, 3], 4] = -share
    return Correction(np.full(5, 154.0), unmix, ("no_primary",) * 5, {"CD68": share, "CD206": share})


def test_the_record_holds_what_subtraction_took_away(bench, monkeypatch):
    section = bench.section(62, um_per_px=2.0, cord_um=(1000.0, 800.0), af_cell=300.0)
    panel = bench.panel(section.spec.markers)
    record = bench.record(section.image, 2.0, panel, ImagingSettings(blur_um=0), corrected_by(0.6))
    y0, x0 = record.meta["corner_px"]
    h, w = record.meta["shape_px"]
    masks = {n: upsample(record.masks[n], record.meta["overview_factor"], 0, h, 0, w) >= 0.5 for n in ("tissue", "cavity")}
    examined = (masks["tissue"] & ~masks["cavity"])[::ROW_STEP]
    raw = section.image[:, y0 : y0 + h : ROW_STEP, x0 : x0 + w].astype(np.float64) - 154
    for threshold in INTENSITY_EDGES[[250, 330, 380]]:
        before, after = raw[3] >= threshold, raw[3] - 0.6 * raw[4] >= threshold
        gone = ROW_STEP * (np.count_nonzero(before & examined) - np.count_nonzero(after & examined))
        first = int(np.searchsorted(INTENSITY_EDGES, threshold)) + 1
        assert gone > 0
        assert record.autofluorescent["CD206"][..., first:].sum() == pytest.approx(gone, abs=3 * ROW_STEP)  # float32 at an edge
    assert set(record.autofluorescent) == {"CD68", "CD206"}
    monkeypatch.setattr(grid, "BLOCK_PX", 130)
    blocks = bench.record(section.image, 2.0, panel, ImagingSettings(blur_um=0), corrected_by(0.6))
    assert all(np.array_equal(blocks.autofluorescent[m], a) for m, a in record.autofluorescent.items())


def test_a_blank_channel_that_no_control_explains_is_told(bench):
    section = bench.section(62, um_per_px=4.0, cord_um=(1000.0, 800.0))
    with_blank, without = bench.panel(section.spec.markers), bench.panel(section.spec.markers[:4])
    assert "autofluorescence_not_subtracted" in bench.record(section.image, 4.0, with_blank).meta["flags"]
    assert "autofluorescence_not_subtracted" not in bench.record(section.image[:4], 4.0, without).meta["flags"]
    assert "autofluorescence_not_subtracted" not in bench.record(section.image, 4.0, with_blank, None, corrected_by(0.6)).meta["flags"]
