"""The tally over the local background: the compiled form is the plain one, blocks change nothing, and it takes away what is wide."""

from __future__ import annotations

import numpy as np
import pytest

from sevhisto.imaging import blocks as grid
from sevhisto.imaging.autofluorescence import ROW_STEP
from sevhisto.imaging.blocks import block_at
from sevhisto.imaging.geometry import upsample
from sevhisto.imaging.local import grid_step, local_background, local_block
from sevhisto.imaging.tally import JOINT_OF_DISTANCE, intensity_bin, quantise
from sevhisto.types import N_DISTANCE, N_INTENSITY, N_JOINT_DISTANCE

SHAPE = (83, 120)


def plain(values, level, factor, block, place):
    """As the docstring of local_block says."""
    first = -block.y0 % ROW_STEP
    background = upsample(level, factor, block.y0, block.y1, block.x0, block.x1)
    over = (values - background)[first::ROW_STEP]
    here = place[first::ROW_STEP]
    side, distance = np.divmod(here[here >= 0].astype(np.int64), N_DISTANCE)
    row = (side * N_JOINT_DISTANCE + JOINT_OF_DISTANCE[distance]) * N_INTENSITY + intensity_bin(quantise(over[here >= 0]))
    counts = np.bincount(row, minlength=2 * N_JOINT_DISTANCE * N_INTENSITY)
    return ROW_STEP * counts.reshape(2, N_JOINT_DISTANCE, N_INTENSITY)


def test_the_compiled_tally_is_the_plain_one():
    rng = np.random.default_rng(3)
    level = rng.normal(50, 20, (9, 12)).astype(np.float32)
    block = block_at(10, 10 + SHAPE[0], 7, 7 + SHAPE[1], (200, 200), 0, 1)
    values = rng.normal(80, 100, SHAPE).astype(np.float32)
    place = rng.integers(-3, 2 * N_DISTANCE, SHAPE).astype(np.int16)
    found = np.zeros((2, N_JOINT_DISTANCE, N_INTENSITY), np.int64)
    local_block(found, values, level, 16, block, place)
    # upsample goes along rows first: a value on an edge of the bins may fall on its other side
    assert np.abs(found - plain(values, level, 16, block, place)).sum() <= 4 * ROW_STEP
    assert found.sum() == ROW_STEP * np.count_nonzero(place[-block.y0 % ROW_STEP :: ROW_STEP] >= 0)


def test_what_is_wider_than_the_disc_is_background_and_what_is_smaller_is_not():
    y, x = np.mgrid[:200, :300]
    image = np.full((200, 300), 20, np.float32)
    image[60:140, 150:] = 100  # 320 um high
    image[40:44, :] += 300  # a fibre of 16 um
    image[:, 100:102] += 300
    examined = (y > 15) & (x > 15)
    image[~examined] = 5000
    step = grid_step(4.0, 50.0)
    level = local_background(image, examined, 4.0, 50.0)
    assert level.shape == (-(-200 // step), -(-300 // step))
    assert level[100 // step, 230 // step] == pytest.approx(100, abs=2)
    assert level[180 // step, 200 // step] == pytest.approx(20, abs=2)
    assert level[42 // step, 60 // step] == pytest.approx(20, abs=2)
    assert level[:, 7:].max() < 101  # neither fibres nor what lies outside the tissue
    assert not local_background(image, np.zeros_like(examined), 4.0, 50.0).any()


def test_blocks_change_nothing_and_only_endpoints_are_tallied(bench, monkeypatch):
    section = bench.section(62, um_per_px=2.0, cord_um=(700.0, 560.0))
    panel = bench.panel(section.spec.markers)
    record = bench.record(section.image, 2.0, panel)
    assert set(record.local) == {"GFAP", "CD68", "CD206"}
    examined = record.counts[2].sum()
    assert record.local["CD68"].sum() == pytest.approx(examined, rel=0.01)
    monkeypatch.setattr(grid, "BLOCK_PX", 130)
    blocks = bench.record(section.image, 2.0, panel)
    assert all(np.array_equal(blocks.local[m], a) for m, a in record.local.items())
