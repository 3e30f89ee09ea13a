"""Faults in synthetic sections: found where they are, and nothing where there are none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sevhisto.config import ImagingSettings
from sevhisto.imaging import quality
from sevhisto.imaging.blobs import elongation, roundness
from sevhisto.imaging.bubbles import bubbles
from sevhisto.imaging.defocus import blur_of_tiles, merging_blur
from sevhisto.imaging.gaps import missing_data, notches, tears
from sevhisto.imaging.overview import marker_reader
from sevhisto.imaging.quality import FAULT_NAMES, closer_look
from sevhisto.imaging.seams import seam_step, shows_nothing
from sevhisto.imaging.shifts import doubtful_lines, shift_at
from sevhisto.imaging.surroundings import common
from sevhisto.phantom.faults import FAULTS, STRENGTHS, inject
from sevhisto.types import SevhistoError

NAME_OF = {"defocus": "out_of_focus", "fold": "folded", "bubble": "bubble", "missing": "missing_data"}
LOOK = {"missing": "square", "fold": "flap"}


@pytest.fixture(scope="module")
def section(bench: Any) -> Any:
    return bench.section(5)


@pytest.mark.parametrize("fault", list(NAME_OF))
def test_a_fault_is_masked_where_it_is_and_leaves_the_tally(bench: Any, section: Any, fault: str) -> None:
    bad = inject(section, fault, "middle", 1, LOOK.get(fault, ""))
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
    raw = np.random.default_rng(6).normal(50, 5, (2, 100, 100)).astype(np.float32)
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
    zero, _ = quality.cut_shares(bench.source(image, 1.0), [0, 1], tissue, 4)
    assert zero == pytest.approx([0, 0.25])


def test_every_fault_changes_the_image_and_nothing_outside_its_area(section: Any) -> None:
    for name, look in [(name, look) for name, fault in FAULTS.items() for look in fault.looks]:
        bad = inject(section, name, "strong", 3, look)
        assert bad.image.shape == section.image.shape and bad.image.dtype == np.uint16
        assert (bad.image != section.image).any(), name
        if bad.area.any() and look != "tilt":  # there the area is what is blurred by half or more
            assert (bad.image == section.image)[:, ~bad.area].all(), name
        assert (bad.image == inject(section, name, "strong", 3, look).image).all()
    with pytest.raises(SevhistoError, match="fold"):
        inject(section, "folt")


@pytest.mark.parametrize("look", FAULTS["bubble"].looks)
def test_bubbles_of_every_look_are_found_by_their_circle(bench: Any, look: str) -> None:
    section = bench.section(31, um_per_px=4.0)
    for seed in (1, 2):
        bad = inject(section, "bubble", "middle", seed, look)
        light = bad.image[1:].astype(np.float32) - 154
        tissue = section.truth.anatomy.tissue > 0
        found = bubbles(light, tissue, 4.0)
        spoilt = bad.area & tissue
        assert (found & spoilt).sum() > 0.85 * spoilt.sum() and (found & ~bad.area).sum() < 0.03 * tissue.sum()
    assert not bubbles(section.image[1:].astype(np.float32) - 154, tissue, 4.0).any()


def test_what_channels_share_is_the_value_nearest_zero_if_they_agree() -> None:
    values = np.array([[2.0, -3.0, 1.0, 5.0], [3.0, -1.0, -1.0, 4.0], [1.0, -2.0, 1.0, np.nan]], np.float32)
    assert common(values).tolist() == [1.0, -1.0, 0.0, 0.0]
    apart = np.concatenate([values, [[-9.0, 9.0, 1.0, 3.0]]]).astype(np.float32)
    assert common(apart).tolist() == [1.0, -1.0, 1.0, 3.0]
    assert common(apart, apart=0).tolist() == [0.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("moved", [0, 6])
def test_a_shifted_field_is_found_at_full_resolution(bench: Any, axis: int, moved: int) -> None:
    import cv2

    rng = np.random.default_rng(4)
    image = np.stack([cv2.GaussianBlur(rng.normal(0, 300, (600, 600)).astype(np.float32), (0, 0), 1.5) for _ in range(2)])
    half = (slice(None), slice(301, None)) if axis == 0 else (slice(None), slice(None), slice(301, None))
    image[half] = np.roll(image[half], moved, axis=2 - axis)
    image = (image + rng.normal(500, 10, image.shape)).astype(np.uint16)
    small = image.reshape(2, 300, 2, 300, 2).mean((2, 4)).astype(np.float32)
    solid = np.ones((300, 300), bool)
    lines, told_by = doubtful_lines(small, solid, 4.0)
    loss = shift_at(bench.source(image, 2.0), told_by, solid, 2, lines)
    assert loss > 0.8 if moved else loss == 0
    assert not moved or any(a == axis and first <= 150 < last for a, first, last in lines)


def test_a_plateau_below_the_top_of_the_range_is_saturation(bench: Any, section: Any) -> None:
    panel = bench.panel(section.spec.markers)
    reader = marker_reader(panel, range(5), 65535)
    for look, expected in (("plateau", True), ("", False)):
        image = inject(section, "saturated", "strong", 3, look).image if look else section.image
        record = bench.record(image, 1.3, panel)
        (y0, x0), (h, w) = record.meta["corner_px"], record.meta["shape_px"]
        found = closer_look(bench.source(image[:, y0 : y0 + h, x0 : x0 + w], 1.3), reader, record)
        assert ("saturated" in found) == expected and "clipped" not in found


def test_a_field_of_one_value_is_missing_in_whichever_channel_it_is() -> None:
    raw = np.random.default_rng(5).normal(300, 9, (3, 120, 120)).astype(np.float32)
    outline = np.zeros((120, 120), bool)
    outline[10:100, 10:100] = True
    raw[1, 40:70, 85:118] = 154  # reaches over the border
    raw[2] = 0  # a channel without anything
    found = missing_data(raw, outline, 4.0)
    assert found[41:69, 86:99].all() and found.sum() <= 32 * 35


def test_a_crack_inside_is_torn_and_a_cyst_is_not() -> None:
    import cv2

    outline = np.ones((200, 300), bool)
    crack, cyst = np.zeros((200, 300), np.uint8), np.zeros((200, 300), np.uint8)
    cv2.ellipse(crack, (100, 60), (70, 9), 30, 0, 360, 1, -1)
    cv2.ellipse(cyst, (200, 140), (60, 24), 10, 0, 360, 1, -1)
    torn, opened = tears((crack | cyst) > 0, outline, 4.0)
    assert (torn == (crack > 0)).all() and not opened
