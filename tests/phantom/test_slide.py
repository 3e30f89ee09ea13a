"""Synthetic slides: order, place, metadata and bytes."""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
import tifffile

from sevhisto.phantom import SectionSpec, make_section, write_slide
from sevhisto.phantom.slide import slide_layout
from sevhisto.types import SevhistoError

SPEC = SectionSpec(markers=("DAPI", "GFAP", "fibronectin"), um_per_px=2.6)


@pytest.fixture(scope="module")
def sections():
    return [make_section(replace(SPEC, rotation_deg=turn), k) for k, turn in enumerate((0, 100, -30, 180))]


@pytest.fixture(scope="module")
def slide(sections, tmp_path_factory):
    path = tmp_path_factory.mktemp("slide") / "one.ome.tif"
    return path, write_slide(path, sections, columns=3, channel_names=("Dapi", "A<488>", "Cy3"))


def test_the_same_sections_give_the_same_bytes(slide, sections, tmp_path):
    again = tmp_path / "two.ome.tif"
    write_slide(again, [make_section(s.spec, s.seed) for s in sections], columns=3, channel_names=("Dapi", "A<488>", "Cy3"))
    assert hashlib.sha256(again.read_bytes()).hexdigest() == hashlib.sha256(slide[0].read_bytes()).hexdigest()


def test_sections_lie_at_their_offsets_in_slide_order(slide, sections):
    image = tifffile.imread(slide[0])
    for section, (y, x) in zip(sections, slide[1], strict=True):
        _, h, w = section.image.shape
        assert np.array_equal(image[:, y : y + h, x : x + w], section.image)
    ys, xs = zip(*slide[1], strict=True)
    assert xs[0] < xs[1] < xs[2]
    assert ys[3] > max(ys[:3]) + 100


def test_between_them_is_glass(slide):
    corner = tifffile.imread(slide[0])[:, :30, :].astype(float)
    assert corner.mean() == pytest.approx(SPEC.offset + SPEC.glass, abs=0.1)
    assert corner.std() == pytest.approx(np.sqrt(SPEC.glass + SPEC.read_noise**2), rel=0.03)


def test_metadata_is_true(slide):
    with tifffile.TiffFile(slide[0]) as tiff:
        assert tiff.is_ome
        series = tiff.series[0]
        assert series.axes == "CYX"
        assert series.dtype == np.uint16
        level = series.levels
        assert len(level) >= 2
        assert level[1].shape == (3, series.shape[1] // 2, series.shape[2] // 2)
        page = tiff.pages[0]
        assert page.is_tiled
        assert page.tile == (512, 512)
        assert page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        assert "DateTime" not in page.tags
        across, unit = page.tags["XResolution"].value, page.tags["ResolutionUnit"].value
        assert (across[0] / across[1], unit) == (pytest.approx(1e4 / 2.6, rel=1e-6), 3)
        root = ElementTree.fromstring(tiff.ome_metadata)
    pixels = root.find(".//{*}Pixels")
    assert (pixels.get("PhysicalSizeX"), pixels.get("PhysicalSizeY"), pixels.get("PhysicalSizeXUnit")) == ("2.6", "2.6", "µm")
    assert [c.get("Name") for c in root.iterfind(".//{*}Channel")] == ["Dapi", "A<488>", "Cy3"]


def test_overview_is_the_mean_of_full_resolution(slide):
    with tifffile.TiffFile(slide[0]) as tiff:
        full, half = tiff.series[0].levels[0].asarray().astype(float), tiff.series[0].levels[1].asarray()
    h, w = half.shape[1:]
    mean = full[:, : 2 * h, : 2 * w].reshape(3, h, 2, w, 2).mean((2, 4))
    assert np.abs(mean - half)[:, 5:-5, 5:-5].max() <= 25
    assert abs((mean - half).mean()) < 0.15  # halves are rounded up


def test_layout_never_overlaps():
    shape, place = slide_layout([(10, 40), (30, 20), (5, 5)], 2, 3)
    taken = np.zeros(shape, int)
    for (h, w), (y, x) in zip([(10, 40), (30, 20), (5, 5)], place, strict=True):
        taken[y : y + h, x : x + w] += 1
    assert taken.max() == 1
    assert taken[:3].max() == taken[:, :3].max() == 0


def test_what_does_not_fit_is_refused(sections, tmp_path):
    other = make_section(replace(SPEC, um_per_px=3.0), 1)
    with pytest.raises(SevhistoError, match="pixel size"):
        write_slide(tmp_path / "a.ome.tif", [sections[0], other])
    with pytest.raises(SevhistoError, match="there is none"):
        write_slide(tmp_path / "b.ome.tif", [])
    with pytest.raises(SevhistoError, match="2 channel names for 3 markers"):
        write_slide(tmp_path / "c.ome.tif", sections[:1], channel_names=("a", "b"))
    assert list(tmp_path.iterdir()) == []
