"""The pass as a whole: the same whatever the blocks and tiles, bounded in memory, fibres in their direction."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import tifffile

from sevhisto.config import ImagingSettings
from sevhisto.imaging import blocks as grid
from sevhisto.imaging import measure as measuring
from sevhisto.imaging.blocks import blocks
from sevhisto.imaging.geometry import Layout, side_map, signed_distance, upsample
from sevhisto.imaging.measure import blurred, halo_px, measure
from sevhisto.imaging.overview import marker_reader
from sevhisto.imaging.tally import gradients, intensity_bin, quantise
from sevhisto.io.slides import open_slide
from sevhisto.types import JOINT_EDGES, N_INTENSITY, NO_DISTANCE, AnyArray, Correction


def test_blocks_cover_each_pixel_once_and_halos_stay_inside(monkeypatch):
    monkeypatch.setattr(grid, "BLOCK_PX", 100)
    for shape in ((1, 1), (100, 100), (101, 350), (260, 99)):
        seen = np.zeros(shape, int)
        for b in blocks(shape, 17):
            seen[b.y0 : b.y1, b.x0 : b.x1] += 1
            assert 0 <= b.ry0 <= b.y0 < b.y1 <= b.ry1 <= shape[0]
            assert 0 <= b.rx0 <= b.x0 < b.x1 <= b.rx1 <= shape[1]
            read = np.zeros((b.ry1 - b.ry0, b.rx1 - b.rx0))
            assert read[b.inner].shape == (b.y1 - b.y0, b.x1 - b.x0)
        assert (seen == 1).all()


def test_a_filter_in_a_block_with_halo_is_that_of_the_whole_image():
    image = np.random.default_rng(1).normal(100, 30, (300, 300)).astype(np.float32)
    settings = ImagingSettings(blur_um=2.0)
    halo = halo_px(settings, 1.0, 8.0)
    part = image[100 - halo : 200 + halo, 100 - halo : 200 + halo]
    inner = slice(halo, halo + 100)
    assert np.allclose(blurred(part, 2.0)[inner, inner], blurred(image, 2.0)[100:200, 100:200], atol=1e-4)
    for cut, whole in zip(gradients(blurred(part, 1.5)), gradients(blurred(image, 1.5)), strict=True):
        assert np.allclose(cut[inner, inner], whole[100:200, 100:200], atol=1e-4)


def test_a_blur_under_a_third_of_a_pixel_changes_nothing():
    image = np.random.default_rng(1).normal(100, 30, (20, 20)).astype(np.float32)
    assert np.array_equal(blurred(image, 0.33), image)
    assert blurred(image, 2.0).mean() == pytest.approx(image.mean(), rel=0.02)


def test_gradients_are_in_grey_levels_per_pixel():
    yy, xx = np.mgrid[0:60, 0:70].astype(np.float32)
    fy, fx = gradients(blurred(3 * xx - 2 * yy, 1.5))
    assert fx[20:40, 20:40] == pytest.approx(3.0, abs=1e-3)
    assert fy[20:40, 20:40] == pytest.approx(-2.0, abs=1e-3)


def test_the_record_is_a_count_pixel_by_pixel(bench):
    """Without blur: every examined pixel once, in the bin of its corrected value."""
    section = bench.section(61, um_per_px=2.0, cord_um=(1000.0, 800.0))
    panel = bench.panel(section.spec.markers, [("CD68", "CD206")])
    record = bench.record(section.image, 2.0, panel, ImagingSettings(blur_um=0))
    y0, x0 = record.meta["corner_px"]
    h, w = record.meta["shape_px"]

    def mask(name):
        return upsample(record.masks[name], record.meta["overview_factor"], 0, h, 0, w) >= 0.5

    examined = mask("tissue") & ~mask("cavity")
    assert record.counts[0].sum() == examined.sum()
    for i, marker in enumerate(section.spec.markers):
        values = section.image[i, y0 : y0 + h, x0 : x0 + w][examined].astype(np.float64) - 154.0
        quanta = quantise(values.astype(np.float32))
        assert np.array_equal(record.counts[i].sum((0, 1)), np.bincount(intensity_bin(quanta), minlength=N_INTENSITY)), marker
        assert record.sums[i].sum() == quanta.sum()
    assert np.array_equal(record.counts.sum(3), np.broadcast_to(record.counts[0].sum(2), record.counts.shape[:3]))
    assert record.joint["CD68", "CD206"].sum() == examined.sum()
    assert 0.3 * examined.sum() / 8 < record.scrambled["CD68", "CD206"].sum() <= 1.1 * examined.sum() / 8  # every eighth row


def test_blocks_change_no_tally_but_for_the_last_bits_of_a_blur(bench, monkeypatch):
    section = bench.section(62, um_per_px=2.0, markers=("DAPI", "GFAP", "fibronectin", "CD68"))
    panel = bench.panel(section.spec.markers)
    found = {}
    for block in (300, 1024):
        monkeypatch.setattr(grid, "BLOCK_PX", block)
        plain = bench.record(section.image, 2.0, panel, ImagingSettings(blur_um=0))
        soft = bench.record(section.image, 2.0, panel, ImagingSettings(blur_um=2.0))
        found[block] = plain, soft
    (plain, soft), (plain_1, soft_1) = found.values()
    assert np.array_equal(plain.counts, plain_1.counts)
    assert np.array_equal(plain.sums, plain_1.sums)
    assert np.abs(soft.counts - soft_1.counts).sum() <= 1e-4 * soft.counts.sum()
    assert len(plain.cells["y_um"]) == pytest.approx(len(plain_1.cells["y_um"]), rel=0.005)


def test_reading_from_a_file_in_any_tiles_gives_the_same_record(bench, tmp_path):
    """A slide as a tiled file, and the same pixels in memory."""
    section = bench.section(63, um_per_px=2.0, cord_um=(900.0, 700.0))
    panel = bench.panel(section.spec.markers)
    records = [bench.record(section.image, 2.0, panel)]
    for tile in ((64, 64), (256, 128), None):
        path = tmp_path / f"{tile}.ome.tif"
        meta = {"axes": "CYX", "PhysicalSizeX": 2.0, "PhysicalSizeY": 2.0, "PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}
        tifffile.imwrite(path, section.image, tile=tile, metadata=meta, photometric="minisblack", compression="zlib")
        with open_slide(path) as slide:
            whole = slide.read(range(len(slide.channels)), 0, slide.shape[0], 0, slide.shape[1])
            assert np.array_equal(whole, section.image)
            records.append(bench.record(whole, slide.um_per_px, panel))
    for record in records[1:]:
        assert np.array_equal(record.counts, records[0].counts)
        assert np.array_equal(record.sums, records[0].sums)
        assert all(np.array_equal(record.cells[k], v, equal_nan=True) for k, v in records[0].cells.items())


def fibre_tensor(record, marker, threshold):
    """Sums of fx2, fy2, fx fy over positive pixels of the core."""
    bright = np.concatenate([[-np.inf], JOINT_EDGES]) >= threshold
    sums = record.fibres[marker][:, :151]  # distance below 0
    return sums[:, :, bright, :3].sum((0, 1, 2)).astype(float)


@pytest.mark.parametrize("angle", [0, 25, 70, 120])
def test_fibres_lie_in_the_direction_in_which_they_were_drawn(bench, angle):
    spec = {"um_per_px": 1.0, "cord_um": (800.0, 600.0), "markers": ("DAPI", "GFAP", "fibronectin")}
    section = bench.section(64, fibre_deg=float(angle), fibre_concentration=4.0, coverage={"fibronectin": 0.15}, **spec)
    record = bench.record(section.image, 1.0, bench.panel(section.spec.markers))
    xx, yy, xy = fibre_tensor(record, "fibronectin", 150.0)
    # science.md section 4: the angle of the structure, not of its gradient
    found = np.rad2deg(0.5 * np.arctan2(2 * xy, xx - yy) + np.pi / 2)
    assert abs((found - angle + 90) % 180 - 90) < 8


def test_coherency_grows_with_the_concentration_of_the_fibres(bench):
    spec = {"um_per_px": 1.0, "cord_um": (800.0, 600.0), "markers": ("DAPI", "GFAP", "fibronectin")}
    found = []
    for kappa in (0.0, 1.0, 4.0, 16.0):
        section = bench.section(65, fibre_concentration=kappa, coverage={"fibronectin": 0.15}, **spec)
        record = bench.record(section.image, 1.0, bench.panel(section.spec.markers))
        xx, yy, xy = fibre_tensor(record, "fibronectin", 150.0)
        found.append(np.hypot(yy - xx, 2 * xy) / (xx + yy))
    assert found == sorted(found)
    assert found[0] < 0.25
    assert found[-1] > 0.5


@dataclass(frozen=True)
class Endless:
    """A slide that makes its pixels when they are asked for."""

    shape: tuple[int, int]
    um_per_px: float = 1.0
    channels: tuple[str, ...] = ("a", "b")

    def read(self, channels: Sequence[int], y0: int, y1: int, x0: int, x1: int) -> AnyArray:
        y, x = np.arange(y0, y1, dtype=np.uint32)[:, None], np.arange(x0, x1, dtype=np.uint32)[None, :]
        nuclei = (((y % 40) < 14) & ((x % 40) < 14)).astype(np.uint16) * 400 + 100
        texture = ((y * 7919 + x * 104729) % 257).astype(np.uint16)
        return np.stack([(nuclei, texture)[c] for c in channels])


def peak_and_cells(bench, side):
    step = 8
    tissue = np.ones((side // step, side // step), bool)
    core = np.zeros_like(tissue)
    core[side // 3 // step : side // 2 // step, side // 3 // step : side // 2 // step] = True
    um = float(step)
    empty = np.zeros_like(tissue)
    layout = Layout(step, um, tissue, empty, empty, core, signed_distance(core, um), side_map(tissue, core, False, False))
    panel = bench.panel(("DAPI", "fibronectin"))
    reader = marker_reader(panel, (0, 1), 65535)
    tracemalloc.start()
    sums = measure(Endless((side, side)), reader, layout, panel, ImagingSettings(), Correction(np.zeros(2), np.eye(2), ("glass",) * 2))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sums.counts[0].sum() == side**2
    assert sums.counts[0, :, NO_DISTANCE].sum() == 0
    return peak, sum(values.nbytes for c in sums.cells for values in c.values())


def test_memory_does_not_grow_with_the_section(bench, monkeypatch):
    monkeypatch.setattr(grid, "BLOCK_PX", 256)
    monkeypatch.setattr(measuring, "SAMPLE_PX", 128)
    small, cells_small = peak_and_cells(bench, 768)
    large, cells_large = peak_and_cells(bench, 2304)  # nine times the area
    assert large - cells_large < 1.1 * (small - cells_small)
