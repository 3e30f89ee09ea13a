"""Nuclei labelled elsewhere: each label is one cell, with its numbers, whatever the blocks; our own labels give our own table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sevhisto.config import ImagingSettings
from sevhisto.imaging import blocks as grid
from sevhisto.imaging import labels as labelling
from sevhisto.imaging.labels import WIDEST_UM, survey
from sevhisto.imaging.nuclei import segment_watershed
from sevhisto.imaging.segmenters import Segmenter, segmenters
from sevhisto.types import AnyArray, Correction, SlideError

SEEN: list[AnyArray] = []
PLAIN = Correction(np.zeros(2), np.eye(2), ("glass",) * 2)


def remembered(image, um, diameter_um, threshold):
    """The own segmenter; what it finds is kept."""
    SEEN.append(segment_watershed(image, um, diameter_um, threshold))
    return SEEN[-1]


segmenters.register("watershed, remembered")(Segmenter(remembered))


@dataclass(frozen=True)
class Labels:
    """A label image in memory."""

    pixels: AnyArray
    factor: int = 1
    name: str = "labels"

    @property
    def shape(self):
        return self.pixels.shape

    def read(self, y0, y1, x0, x1):
        assert 0 <= y0 < y1 <= self.shape[0] and 0 <= x0 < x1 <= self.shape[1]
        return self.pixels[y0:y1, x0:x1]


@pytest.mark.parametrize("um", [0.5, 1.2])
def test_our_own_labels_give_our_own_cells(bench, um, monkeypatch):
    """At full resolution, and reduced to the means in which cells are seen."""
    monkeypatch.setattr(grid, "BLOCK_PX", 4096)
    section = bench.section(71, um_per_px=um, cord_um=(700.0, 560.0), margin_um=40.0)
    panel = bench.panel(section.spec.markers)
    on = {"nucleus_diameter_um": 8.0}
    SEEN.clear()
    own = bench.record(section.image, um, panel, ImagingSettings(segmenter="watershed, remembered", **on))
    (found,) = SEEN
    (y0, x0), (h, w) = own.meta["corner_px"], own.meta["shape_px"]
    step = int(8 / um / 7) or 1
    assert found.shape == (h // step, w // step)  # one block that holds the whole section
    whole = np.zeros(section.image.shape[1:], np.uint32)
    full = np.kron(found, np.ones((step, step), np.int64))
    whole[y0 : y0 + full.shape[0], x0 : x0 + full.shape[1]] = full
    assert y0 % step == x0 % step == 0
    for labels in (Labels(whole), Labels(whole[::step, ::step], step)):
        record = bench.record(section.image, um, panel, ImagingSettings(segmenter="labels", **on), labels=labels)
        assert len(record.cells["y_um"]) == len(own.cells["y_um"]) > 100
        assert np.array_equal(record.counts, own.counts) and np.array_equal(record.sums, own.sums)
        for name, values in own.cells.items():
            if name in ("y_um", "x_um"):
                assert np.allclose(record.cells[name], values, rtol=1e-6)
            else:
                assert np.array_equal(record.cells[name], values, equal_nan=True), name
        assert (record.meta["segmenter"], record.meta["nucleus_diameter_source"]) == ("labels", "set")


def lawn(side=700):
    """Image (2, h, w) of tissue, and labels in it of every size from one pixel to most of 200 um, some touching."""
    rng = np.random.default_rng(3)
    labels = np.zeros((side, side), np.uint32)
    n = 0
    for y in range(60, side - 90, 34):
        for x in range(60, side - 90, 41):
            h, w = rng.integers(1, 34, 2)
            n += 1
            labels[y : y + h, x : x + w] = 90000 - 7 * n  # numbers with gaps, falling
    labels[200:280, 300:390] = 7_000_000
    image = rng.gamma(2, 60, (2, side, side)) + 50
    image[:, :40] = image[:, -40:] = image[:, :, :40] = image[:, :, -40:] = 0
    return image.astype(np.uint16), labels


def truth(image, labels, um):
    """Place, area and intensity of every label, one at a time."""
    rows = []
    for number in np.unique(labels)[1:]:
        mask = labels == number
        y, x = np.nonzero(mask)
        values = np.sort(image[1][mask])
        rows.append(((y.mean() + 0.5) * um, (x.mean() + 0.5) * um, mask.sum() * um**2, values[len(values) // 2]))
    return np.array(sorted(rows), np.float32)


def test_each_label_is_one_cell_with_its_own_numbers_whatever_the_blocks(bench, monkeypatch):
    image, labels = lawn()
    panel = bench.panel(("DAPI", "CD68"), [("DAPI", "CD68")])
    on = ImagingSettings(segmenter="labels", blur_um=0, nucleus_diameter_um=8.0)
    first = None
    for block in (4096, 97, 256, 333):
        monkeypatch.setattr(grid, "BLOCK_PX", block)
        record = bench.record(image, 2.0, panel, on, PLAIN, labels=Labels(labels))
        first = record if first is None else first
        assert record.cells.keys() == first.cells.keys()
        assert all(np.array_equal(record.cells[k], v, equal_nan=True) for k, v in first.cells.items()), block
        assert np.array_equal(record.counts, first.counts)
        for part in ("start", "length", "turns"):
            assert np.array_equal(getattr(record.outlines, part), getattr(first.outlines, part)), (block, part)
    y0, x0 = first.meta["corner_px"]
    wanted = truth(image, labels, 2.0)
    got = np.stack([first.cells[c] for c in ("y_um", "x_um", "area_um2", "CD68_nucleus")], axis=1)
    assert np.allclose(got + np.array([y0 * 2.0, x0 * 2.0, 0, 0]), wanted, rtol=1e-5)
    assert first.meta["nucleus_diameter_um"] == 8.0


def test_the_size_of_nuclei_is_that_of_the_labels_and_no_labels_are_no_cells(bench):
    image, labels = lawn()
    panel, on = bench.panel(("DAPI", "CD68")), ImagingSettings(segmenter="labels")
    record = bench.record(image, 2.0, panel, on, PLAIN, labels=Labels(labels))
    areas = np.bincount(np.unique(labels, return_inverse=True)[1].ravel())[1:]
    assert record.meta["nucleus_diameter_um"] == pytest.approx(2 * np.sqrt(4 / np.pi * np.median(areas)), abs=1e-3)
    assert record.meta["nucleus_diameter_source"] == "labels"
    none = bench.record(image, 2.0, panel, on, PLAIN, labels=Labels(np.zeros_like(labels)))
    assert "no_cells" in none.meta["flags"] and len(none.cells["y_um"]) == 0
    missing = bench.record(image, 2.0, panel, on, PLAIN)
    assert "cells_not_labelled" in missing.meta["flags"] and "no_cells" not in missing.meta["flags"]


def test_a_label_too_small_for_the_grid_of_cells_is_counted(bench):
    """Means of four pixels; the label is one pixel in a corner of them."""
    image, _ = lawn(3000)
    image[1] = np.where(np.arange(3000)[:, None] < 1000, 100, 200)
    image[1, :40] = image[1, -40:] = image[1, :, :40] = image[1, :, -40:] = 0
    labels = np.zeros((3000, 3000), np.uint16)
    labels[800, 800], labels[2000, 2001] = 1, 2
    on = ImagingSettings(segmenter="labels", nucleus_diameter_um=8.0)
    record = bench.record(image, 0.25, bench.panel(("DAPI", "CD68")), on, PLAIN, labels=Labels(labels))
    assert record.cells["CD68_nucleus"].tolist() == [100, 200]
    assert record.cells["area_um2"].tolist() == [0.0625, 0.0625]


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_survey_counts_pixel_by_pixel_whatever_is_read_at_once(monkeypatch, seed, factor):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 6, rng.integers(3, 30, 2)) * rng.integers(0, 2)
    monkeypatch.setattr(labelling, "_WINDOW", int(rng.integers(1, 9)))
    corner = (int(rng.integers(0, pixels.shape[0])), int(rng.integers(0, pixels.shape[1])))
    shape = (int(rng.integers(1, 60)), int(rng.integers(1, 60)))
    found = survey(Labels(pixels, factor), corner, shape, 1.0)
    wanted = {}
    for number in np.unique(pixels[pixels > 0]):
        i, j = np.nonzero(pixels == number)
        y, x = (i.mean() + 0.5) * factor - corner[0], (j.mean() + 0.5) * factor - corner[1]
        if 0 <= y < shape[0] and 0 <= x < shape[1]:
            wanted[number] = (len(i) * factor**2, y, x)
    assert found.numbers.tolist() == list(wanted)
    for values, k in ((found.area_px, 0), (found.y, 1), (found.x, 2)):
        assert values.tolist() == pytest.approx([w[k] for w in wanted.values()], abs=1e-9)


def test_what_numbers_no_cells_is_refused():
    pixels = np.zeros((400, 500), np.int16)
    pixels[10:20, 10:20] = pixels[350:360, 10:20] = 3
    with pytest.raises(SlideError, match=r"label 3 reaches over 350 um \(1 labels over more than 200 um\)"):
        survey(Labels(pixels), (0, 0), pixels.shape, 1.0)
    assert survey(Labels(pixels), (0, 0), pixels.shape, 0.5).numbers.tolist() == [3]  # 175 um
    assert WIDEST_UM == 200
    with pytest.raises(SlideError, match="number of its own"):
        survey(Labels(pixels + 1), (0, 0), pixels.shape, 1.0)  # background that is not 0
    pixels[100, 100] = -5
    with pytest.raises(SlideError, match="negative"):
        survey(Labels(pixels), (0, 0), pixels.shape, 0.5)
