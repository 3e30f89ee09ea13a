"""Real cells are counted once, whatever the blocks in which their image is read; and cell bodies give cells where no nuclei are stained."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from sevhisto.config import ChannelSettings, ImagingSettings, PanelSettings
from sevhisto.imaging import blocks as grid
from sevhisto.imaging.cell_bodies import find_cells
from sevhisto.types import Correction

PLAIN = Correction(np.zeros(1), np.eye(1), ("glass",))
NUCLEI = ("nuclei/img2d.tif", 0.5, "nuclei", range(95, 130))  # people drew 125
BODIES = ("microglia/MAX_pg22_1C8hF1--t1.tif", 0.755, "cell_body", range(16, 23))  # 19


@pytest.mark.parametrize(("file", "um", "role", "expected"), [NUCLEI, BODIES], ids=["nuclei", "cell bodies"])
def test_real_cells_are_counted_once_whatever_the_blocks(bench, shared_data, monkeypatch, file, um, role, expected):
    image = tifffile.imread(shared_data / file)[None].astype(np.uint16)
    panel = PanelSettings(channels=[ChannelSettings(channel=1, marker="M", role=role)])
    found = []
    for side in (4096, 250, 157):
        monkeypatch.setattr(grid, "BLOCK_PX", side)
        found.append(bench.record(image, um, panel, ImagingSettings(blur_um=0, mask_faults=False, min_section_mm2=0.01), PLAIN))
    whole, *cut = found
    assert len(whole.cells["y_um"]) in expected
    assert ("cells_by_bodies" in whole.meta["flags"]) == (role == "cell_body")
    for record in cut:
        for name in ("y_um", "x_um", "area_um2", "M_nucleus"):
            assert np.allclose(record.cells[name], whole.cells[name], rtol=1e-5, atol=1e-3), name
        assert np.array_equal(record.outlines.start, whole.outlines.start) and np.array_equal(record.outlines.turns, whole.outlines.turns)


def test_an_image_without_cells_has_none_of_either_kind(bench):
    flat = np.full((1, 300, 300), 50, np.uint16)
    for role in ("nuclei", "cell_body"):
        panel = PanelSettings(channels=[ChannelSettings(channel=1, marker="M", role=role)])
        record = bench.record(flat, 0.5, panel, ImagingSettings(min_section_mm2=0.01), PLAIN)
        assert len(record.cells["y_um"]) == 0 and "no_cells" in record.meta["flags"]
    assert not find_cells(np.zeros((60, 60), np.float32), 0.5).any()
