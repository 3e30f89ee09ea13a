"""Faults in synthetic sections: found where they are, and nothing where there are none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sevhisto.config import ImagingSettings
from sevhisto.imaging import quality
from sevhisto.imaging.blobs import elongation, roundness
from sevhisto.imaging.defocus import blur_of_tiles, merging_blur
from sevhisto.imaging.quality import FAULT_NAMES, missing_data, notches, tears
from sevhisto.imaging.seams import seam_step, shows_nothing
from sevhisto.phantom.faults import FAULTS, STRENGTHS, inject
from sevhisto.types import SevhistoError

NAME_OF = {"defocus": "out_of_focus", "fold": "folded", "bubble": "bubble", "missing": "missing_data"}


@pytest.fixture(scope="module")
def section(bench: Any) -> Any:
    return bench.section(5)


@pytest.mark.parametrize("fault", list(NAME_OF))
def test_a_fault_is_masked_where_it_is_and_leaves_the_tally(bench: Any, section: Any, fault: str) -> None:
    bad = inject(section, fault, "middle", 1)
    record = bench.record(bad.image, 1.3, bench.panel(section.spec.markers))
    name = NAME_OF[fault]
    assert name in record.meta["flags"]
    f, (y0, x0), (h, w) = record.meta["overview_factor"], record.meta["corner_px"], record.meta["shape_px"]
    found = (record.masks["faults"] == FAULT_NAMES.index(name) + 1).repeat(f, 0).repeat(f, 1)[:h, :w]
    here = (slice(y0, y0 + h), slice(x0, x0 + w))
    tissue = section.truth.anatomy.tissue[here] > 0
    spoilt = bad.area[here] & tissue
    assert (found & spoilt).sum() > 0.6 * spoilt.sum()
    assert (found & ~bad.area[here]).sum() < 0.03 * tissue.sum()
    assert record.masked_px.sum() > 0.5 * spoilt.sum()
    assert not (record.masks["cavity"][record.masks["faults"] == 1]).any()


def test_a_clean_section_has_no_fault(bench: Any, section: Any) -> None:
    record = bench.record(section.image, 1.3, bench.panel(section.spec.markers))
    assert not set(record.meta["flags"]) & {*FAULT_NAMES, "seams", "cavity_open"}
    assert not record.masks["faults"].any() and not record.masks["masked"].any() and not record.masked_px.any()


def test_faults_are_flagged_but_not_masked_where_settings_say_so(bench: Any, section: Any) -> None:
    bad = inject(section, "missing", "middle", 1)
    record = bench.record(bad.image, 1.3, bench.panel(section.spec.markers), ImagingSettings(mask_faults=False))
    assert "missing_data" in record.meta["flags"] and not record.masks["masked"].any()


@pytest.mark.parametrize("strength", STRENGTHS)
def test_a_slide_of_glass_has_no_tissue(bench: Any, section: Any, strength: str) -> None:
    record = bench.record(inject(section, "empty", strength).image, 1.3, bench.panel(section.spec.markers))
    assert "no_tissue" in record.meta["flags"] and "whole_field" not in record.meta["flags"]
    assert not record.counts.any()


@pytest.mark.parametrize("sigma", [1.0, 2.0, 4.0, 8.0])
def test_the_blur_of_discs_is_told_in_um(sigma: float) -> None:
    import cv2

    rng = np.random.default_rng(int(sigma))
    image = np.zeros((600, 600), np.float32)
    for y, x in rng.uniform(20, 580, (700, 2)):
        cv2.circle(image, (int(x * 8), int(y * 8)), 4 * 8, 500.0, -1, cv2.LINE_AA, 3)  # 8 um wide at 1 um/px
    image = cv2.GaussianBlur(image, (0, 0), sigma) + rng.normal(0, 2, image.shape).astype(np.float32)
    inside = np.ones(image.shape, bool)
    for gain in (1.0, 7.0):  # brightness changes nothing
        blur = blur_of_tiles(gain * image, inside, 1.0, 8.0, 100)
        assert np.nanmedian(blur) == pytest.approx(sigma, rel=0.15, abs=0.5)


def test_noise_says_nothing_of_focus() -> None:
    noise = np.random.default_rng(1).normal(100, 5, (300, 300)).astype(np.float32)
    assert np.isnan(blur_of_tiles(noise, np.ones(noise.shape, bool), 2.0, 8.0, 48)).all()
    assert merging_blur(8.0) == pytest.approx(np.sqrt(12.0))


def test_a_slit_to_the_outside_is_a_tear_and_a_closed_hole_is_not() -> None:
    outline = np.zeros((120, 160), bool)
    outline[10:110, 10:150] = True
    slit, hole, bay = (np.zeros_like(outline) for _ in range(3))
    slit[10:60, 40:46] = True
    hole[60:80, 80:100] = True
    bay[88:110, 120:142] = True
    torn, opened = tears(slit | hole, outline, 4.0)
    assert (torn == slit).all() and not opened
    torn, opened = tears(bay | hole, outline, 4.0)
    assert not torn.any() and opened


def test_a_deep_gap_in_the_outline_is_a_tear_and_a_shallow_one_is_not() -> None:
    outline = np.zeros((200, 300), bool)
    outline[20:180, 20:280] = True
    deep, shallow = outline.copy(), outline.copy()
    deep[20:100, 100:115] = False  # 320 um deep, 60 wide
    shallow[20:40, 100:115] = False
    assert notches(deep, 4.0).any() and not notches(shallow, 4.0).any() and not notches(outline, 4.0).any()


def test_missing_data_has_straight_sides() -> None:
    raw = np.full((2, 100, 100), 50, np.float32)
    raw[:, 20:50, 30:60] = 0
    yy, xx = np.mgrid[:100, :100]
    raw[:, np.hypot(yy - 75, xx - 75) < 15] = 0
    found = missing_data(raw, np.ones((100, 100), bool), 4.0)
    assert found[20:50, 30:60].all() and found.sum() == 900


def test_a_step_of_all_channels_is_a_seam_and_of_one_is_not() -> None:
    rng = np.random.default_rng(2)
    light = rng.normal(100, 5, (3, 300, 300)).astype(np.float32)
    solid = np.ones((300, 300), bool)
    plain = seam_step(light, solid, 4.0)
    one, every = light.copy(), light.copy()
    one[1, 150:] *= 1.3
    every[:, 150:] *= 1.3
    assert plain < 0.05 and seam_step(one, solid, 4.0) < 0.05
    assert seam_step(every, solid, 4.0) == pytest.approx(0.3, abs=0.05)


def test_glass_shows_nothing_and_tissue_does(bench: Any, section: Any) -> None:
    rng = np.random.default_rng(3)
    slope = np.linspace(90, 110, 200, dtype=np.float32)
    assert shows_nothing((rng.normal(0, 3, (2, 200, 200)) + slope).astype(np.float32))
    small = section.image[:, :1050:3, :1329:3].astype(np.float32)
    assert not shows_nothing(small)


def test_lengths_and_roundness_of_parts() -> None:
    strip, disc = np.zeros((60, 200), bool), np.zeros((101, 101), bool)
    strip[25:35, 10:190] = True
    yy, xx = np.mgrid[:101, :101]
    disc[np.hypot(yy - 50, xx - 50) <= 40] = True
    assert elongation(strip) > 12 and elongation(disc) < 1
    assert roundness(disc) > 0.95 and roundness(strip) < 0.1


def test_clipped_pixels_are_counted_in_tissue_only(bench: Any) -> None:
    image = np.full((2, 600, 600), 100, np.uint16)
    image[1, ::4] = 0
    tissue = np.zeros((150, 150), bool)
    tissue[20:100, 20:100] = True
    share = quality.clipped_share(bench.source(image, 1.0), [0, 1], tissue, 4)
    assert share == pytest.approx([0, 0.25])


def test_every_fault_changes_the_image_and_nothing_outside_its_area(section: Any) -> None:
    for name in FAULTS:
        bad = inject(section, name, "strong", 3)
        assert bad.image.shape == section.image.shape and bad.image.dtype == np.uint16
        assert (bad.image != section.image).any(), name
        if bad.area.any():
            assert (bad.image == section.image)[:, ~bad.area].all(), name
        assert (bad.image == inject(section, name, "strong", 3).image).all()
    with pytest.raises(SevhistoError, match="fold"):
        inject(section, "folt")
