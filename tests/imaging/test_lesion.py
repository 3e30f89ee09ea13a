"""The lesion core: found where it is, absent where it is absent, and a person's outline before the program's."""

from __future__ import annotations

import numpy as np
import pytest

from sevhisto.config import ImagingSettings
from sevhisto.imaging.geometry import upsample
from sevhisto.imaging.lesion import Cues, find_core
from sevhisto.imaging.plan import Drawn

SETTINGS = ImagingSettings()


def full_resolution(record, name):
    """A mask of the record on the pixels of the slide."""
    h, w = record.meta["shape_px"]
    y0, x0 = record.meta["corner_px"]
    return upsample(record.masks[name], record.meta["overview_factor"], 0, h, 0, w) >= 0.5, (slice(y0, y0 + h), slice(x0, x0 + w))


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / max(np.count_nonzero(a) + np.count_nonzero(b), 1)


@pytest.mark.parametrize(("seed", "scale", "angle"), [(41, 1.0, 0), (42, 1.5, 25), (43, 0.5, -20)])
def test_core_tissue_and_cavity_agree_with_the_truth(bench, seed, scale, angle):
    section = bench.section(seed, um_per_px=2.0, lesion_scale=scale, rotation_deg=angle)
    record = bench.record(section.image, 2.0, bench.panel(section.spec.markers))
    core, here = full_resolution(record, "core")
    assert dice(core, section.truth.core_mask(with_cavity=True)[here]) >= 0.9
    tissue, _ = full_resolution(record, "tissue")
    cavity, _ = full_resolution(record, "cavity")
    truth = section.truth.anatomy.tissue[here] > 0
    assert dice(tissue & ~cavity, truth) >= 0.97
    assert record.meta["has_core"]
    assert "contour_unreviewed" in record.meta["flags"]
    assert not {"no_lesion", "touches_edge", "contour_drawn"} & set(record.meta["flags"])
    true_cavity = section.truth.cavity_um2
    assert record.cavity_px.sum() * record.px_um2 == pytest.approx(true_cavity, rel=0.25)


@pytest.mark.parametrize("seed", [44, 45])
def test_an_uninjured_section_has_no_core_and_no_distance(bench, seed):
    section = bench.section(seed, um_per_px=2.5, lesion_scale=0.0, rotation_deg=10)
    record = bench.record(section.image, 2.5, bench.panel(section.spec.markers))
    assert "no_lesion" in record.meta["flags"]
    assert not record.meta["has_core"]
    assert not record.masks["core"].any()
    assert np.isnan(record.cells["distance_um"]).all()
    assert record.counts[:, :, :-1].sum() == 0  # all tissue counts, without a distance
    assert record.counts[:, :, -1].sum() > 0


def test_without_a_landmark_nothing_is_sought(bench):
    section = bench.section(41, um_per_px=2.5, markers=("DAPI", "CD68", "AF"))
    record = bench.record(section.image, 2.5, bench.panel(section.spec.markers))
    assert "no_landmark" in record.meta["flags"]
    assert not record.masks["core"].any()


def test_a_control_is_measured_over_all_its_tissue(bench):
    section = bench.section(41, um_per_px=2.5)
    record = bench.record(section.image, 2.5, bench.panel(section.spec.markers), find_lesion=False)
    assert not {"no_landmark", "no_lesion"} & set(record.meta["flags"])
    assert record.counts[:, :, :-1].sum() == 0


def test_a_drawn_outline_wins_and_an_excluded_area_leaves_the_tally(bench):
    section = bench.section(41, um_per_px=2.0)
    panel = bench.panel(section.spec.markers)
    found = bench.record(section.image, 2.0, panel)
    step = found.meta["overview_factor"]
    shape = tuple(-(-n // step) for n in section.image.shape[1:])
    core, excluded = np.zeros(shape, bool), np.zeros(shape, bool)
    middle = (shape[0] // 2, shape[1] // 2)
    core[middle[0] - 20 : middle[0] + 20, middle[1] - 30 : middle[1] + 30] = True
    excluded[middle[0] - 60 : middle[0] - 40, middle[1] - 50 : middle[1]] = True
    record = bench.record(section.image, 2.0, panel, drawn=Drawn(core, excluded))
    assert {"contour_drawn", "edited_by_hand"} <= set(record.meta["flags"])
    assert not {"contour_unreviewed", "contour_uncertain"} & set(record.meta["flags"])
    assert record.masks["core"].sum() == 40 * 60
    assert record.masked_px.sum() == pytest.approx(20 * 50 * step**2, rel=0.01)
    before = found.counts[0].sum() + found.cavity_px.sum()
    assert record.counts[0].sum() + record.cavity_px.sum() + record.masked_px.sum() == before


def test_a_drawn_outline_gives_a_core_without_a_landmark(bench):
    section = bench.section(41, um_per_px=2.5, markers=("DAPI", "CD68", "AF"))
    step = 2
    shape = tuple(-(-n // step) for n in section.image.shape[1:])
    core = np.zeros(shape, bool)
    core[shape[0] // 2 - 15 : shape[0] // 2 + 15, shape[1] // 2 - 15 : shape[1] // 2 + 15] = True
    record = bench.record(section.image, 2.5, bench.panel(section.spec.markers), drawn=Drawn(core, None))
    assert record.meta["flags"].count("contour_drawn") == 1
    assert "no_landmark" not in record.meta["flags"]
    assert record.masks["core"].any()


def test_drawn_white_matter_is_measured_outside_the_core(bench):
    section = bench.section(41, um_per_px=2.0)
    panel = bench.panel(section.spec.markers)
    shape = tuple(-(-n // 2) for n in section.image.shape[1:])
    core, white = np.zeros(shape, bool), np.zeros(shape, bool)
    y, x = shape[0] // 2, shape[1] // 2
    core[y - 20 : y + 20, x - 30 : x + 30] = True
    white[y + 10 : y + 50, x - 10 : x + 10] = True  # its first ten rows lie in the core
    record = bench.record(section.image, 2.0, panel, drawn=Drawn(core, None, white))
    assert record.meta["overview_um"] == 4.0
    assert record.meta["white_matter_um2"] == pytest.approx(30 * 20 * 16, rel=0.02)  # less where a cavity lies in it
    assert record.meta["white_matter_um2"] <= 30 * 20 * 16
    assert bench.record(section.image, 2.0, panel, drawn=Drawn(core, None)).meta["white_matter_um2"] is None


@pytest.mark.parametrize("value", [0.0, 300.0])
def test_a_flat_landmark_has_no_core(value):
    tissue = np.zeros((200, 260), bool)
    tissue[20:180, 20:240] = True
    flat = np.full(tissue.shape, value, np.float32)
    core = find_core(Cues(flat, flat), tissue, np.zeros_like(tissue), 4.0, SETTINGS)
    assert not core.mask.any()
    assert core.flags == ("no_lesion",)


def test_no_tissue_or_too_little_of_it_has_no_core():
    empty = np.zeros((50, 60), bool)
    noise = np.random.default_rng(0).gamma(2, 50, empty.shape).astype(np.float32)
    assert find_core(Cues(noise), empty, empty, 4.0, SETTINGS).flags == ("no_lesion",)
    small = empty.copy()
    small[5:10, 5:10] = True
    assert find_core(Cues(noise, noise), small, empty, 4.0, SETTINGS).flags == ("no_lesion",)


def test_noise_alone_is_no_lesion():
    tissue = np.zeros((250, 300), bool)
    tissue[20:230, 20:280] = True
    for seed in range(3):
        rng = np.random.default_rng(seed)
        landmark = rng.poisson(300, tissue.shape).astype(np.float32)
        core = find_core(Cues(landmark, rng.poisson(200, tissue.shape).astype(np.float32)), tissue, np.zeros_like(tissue), 4.0, SETTINGS)
        assert core.flags == ("no_lesion",)


def test_the_border_lies_where_the_landmark_changes():
    yy, xx = np.mgrid[0:300, 0:380]
    tissue = np.hypot((yy - 150) / 130, (xx - 190) / 170) < 1
    r = np.hypot(yy - 150, xx - 190)
    landmark = np.where(r < 40, 60, 400).astype(np.float32)
    nuclei = np.where(r < 40, 500, 150).astype(np.float32)
    core = find_core(Cues(landmark, nuclei), tissue, np.zeros_like(tissue), 4.0, SETTINGS)
    assert dice(core.mask, r < 40) > 0.97
    assert core.contrast > 3
    assert core.flags == ("contour_unreviewed", "contour_uncertain")  # no glial border around it


def oval(shape=(300, 380), centre=(150, 190)):
    """Tissue, and the distance from its centre in pixels."""
    yy, xx = np.mgrid[0 : shape[0], 0 : shape[1]]
    return np.hypot((yy - centre[0]) / 130, (xx - centre[1]) / 170) < 1, np.hypot(yy - centre[0], xx - centre[1])


def ridged(r, inside=60.0, tissue=200.0, rim=500.0):
    """A landmark that is dark within 40 px and has a bright border around it that fades."""
    return np.where(r < 40, inside, tissue + (rim - tissue) * np.exp(-np.clip(r - 40, 0, None) / 25)).astype(np.float32)


def test_darkness_alone_is_no_lesion_and_a_glial_border_makes_it_one():
    tissue, r = oval()
    none = np.zeros_like(tissue)
    dark = np.where(r < 40, 60, 400).astype(np.float32)  # as white beside grey matter
    assert find_core(Cues(dark), tissue, none, 4.0, SETTINGS).flags == ("no_lesion",)
    found = find_core(Cues(ridged(r)), tissue, none, 4.0, SETTINGS)
    assert dice(found.mask, r < 40) > 0.97
    dense = find_core(Cues(dark, np.where(r < 40, 500, 150).astype(np.float32)), tissue, none, 4.0, SETTINGS)
    assert dice(dense.mask, r < 40) > 0.97


def test_a_larger_dark_band_does_not_hide_the_lesion():
    tissue, r = oval()
    landmark = ridged(r)
    band = tissue & (np.mgrid[0:300, 0:380][0] > 215) & (r > 60)
    landmark[band] *= 0.6
    assert band.sum() > 1.5 * (r < 40).sum()
    found = find_core(Cues(landmark), tissue, np.zeros_like(tissue), 4.0, SETTINGS)
    assert dice(found.mask, r < 40) > 0.9


def test_confidence_falls_where_the_border_is_open():
    tissue, r = oval()
    none = np.zeros_like(tissue)
    yy, xx = np.mgrid[0:300, 0:380]
    whole = find_core(Cues(ridged(r)), tissue, none, 4.0, SETTINGS)
    assert whole.confidence > 0.8 and "contour_uncertain" not in whole.flags
    last = whole.confidence
    for width in (0.4, 0.8):
        broken = ridged(r)
        broken[(np.abs(np.arctan2(yy - 150, xx - 190)) < width) & (r < 75)] = 60
        found = find_core(Cues(broken), tissue, none, 4.0, SETTINGS)
        assert found.confidence < last or not found.mask.any()
        last = found.confidence


def test_a_drawn_outline_has_no_confidence(bench):
    section = bench.section(41, um_per_px=2.5)
    step = 2
    core = np.zeros(tuple(-(-n // step) for n in section.image.shape[1:]), bool)
    core[60:100, 60:120] = True
    record = bench.record(section.image, 2.5, bench.panel(section.spec.markers), drawn=Drawn(core, None))
    assert record.meta["has_core"] and record.meta["core_confidence"] is None and record.meta["core_markers"] == []


@pytest.mark.parametrize("width", [0.4, 0.8])
def test_the_border_does_not_run_out_where_the_glial_border_is_open(width):
    """There the tissue beyond is darker than halfway between core and border."""
    tissue, r = oval()
    yy, xx = np.mgrid[0:300, 0:380]
    open_ = np.abs(np.arctan2(yy - 150, xx - 190)) < width
    landmark = np.where(open_ & (r >= 40), 200, ridged(r)).astype(np.float32)
    found = find_core(Cues(landmark), tissue, np.zeros_like(tissue), 4.0, SETTINGS)
    assert dice(found.mask, r < 40) > 0.95


def test_two_lesions_on_a_section_are_both_found():
    yy, xx = np.mgrid[0:300, 0:600]
    tissue = np.hypot((yy - 150) / 140, (xx - 300) / 290) < 1
    left, right = np.hypot(yy - 150, xx - 170), np.hypot(yy - 150, xx - 430)
    landmark = np.minimum(ridged(left), 1e9)
    landmark[:, 300:] = ridged(right)[:, 300:]
    found = find_core(Cues(landmark), tissue, np.zeros_like(tissue), 4.0, SETTINGS)
    assert dice(found.mask, (left < 40) | (right < 40)) > 0.95
    assert found.facts["parts"] == 2 and "contour_uncertain" not in found.flags
