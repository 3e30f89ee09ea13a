"""Synthetic sections: same seed same bytes, coverage as asked, truth that agrees with a count pixel by pixel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from sevhisto.phantom import MARKERS, PANEL_A, PANEL_B, SectionSpec, make_section, positive_px, truth_histograms, truth_table, zone_labels
from sevhisto.phantom.geometry import area, fill_polygon
from sevhisto.types import INTENSITY_EDGES, SevhistoError, snap_threshold

ALL = ("DAPI", "GFAP", "CD68", "CD206", "fibronectin", "collagen_I", "collagen_V", "sEV", "AF")
SPEC = SectionSpec(markers=ALL, rotation_deg=17, um_per_px=1.3)


@pytest.fixture(scope="module")
def section():
    return make_section(SPEC, 11)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(section):
    assert np.array_equal(make_section(SPEC, 11).image, section.image)
    other = make_section(SPEC, 12).image
    assert other.shape != section.image.shape or not np.array_equal(other, section.image)


def test_keeping_no_truth_images_changes_no_byte_and_makes_the_same_truth(section):
    lean = make_section(SPEC, 11, keep_truth_images=False)
    assert lean.truth.images == {}
    assert np.array_equal(lean.image, section.image)
    assert np.array_equal(lean.truth.optical("fibronectin"), section.truth.optical("fibronectin"))


def test_a_channel_does_not_depend_on_which_others_are_shown(section):
    alone = make_section(replace(SPEC, markers=("fibronectin", "DAPI")), 11)
    assert np.array_equal(alone.image[0], section.image[ALL.index("fibronectin")])
    assert np.array_equal(alone.image[1], section.image[0])


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("scale", [0.15, 1.0])
def test_structure_covers_the_core_as_asked(seed, scale):
    asked = {"fibronectin": 0.4, "collagen_I": 0.15, "collagen_V": 0.05, "CD68": 0.35}
    truth = make_section(replace(SPEC, coverage=asked, lesion_scale=scale), seed).truth
    core = truth.core_mask()
    for marker, share in asked.items():
        assert np.count_nonzero(truth.structure(marker) & core) / core.sum() == pytest.approx(share, rel=0.01)
    macrophage = truth.structure("CD68") & core
    both = truth.structure("CD206") & core
    assert not (both & ~macrophage).any()
    assert both.sum() / macrophage.sum() == pytest.approx(MARKERS["CD206"].coverage, rel=0.01)


def test_coverage_of_zero_is_zero():
    truth = make_section(replace(SPEC, coverage={"fibronectin": 0.0, "CD68": 0.0}), 4).truth
    assert not (truth.structure("fibronectin") & truth.core_mask()).any()
    assert np.count_nonzero(truth.structure("CD68") & truth.core_mask()) < 0.01 * truth.core_mask().sum()


def test_the_core_has_the_area_and_the_cavity_share_of_the_spec(section):
    px2 = SPEC.um_per_px**2
    assert area(section.truth.core_outline) * px2 == pytest.approx(SPEC.core_um2, rel=1e-3)
    whole = section.truth.core_mask(with_cavity=True)
    assert whole.sum() * px2 == pytest.approx(SPEC.core_um2, rel=2e-3)
    assert section.truth.cavity_um2 / (whole.sum() * px2) == pytest.approx(SPEC.cavity_fraction, rel=0.35)  # a lobe may not fit
    assert not (section.truth.core_mask() & ~(section.truth.anatomy.tissue > 0)).any()


def test_fill_polygon_takes_the_pixels_whose_centre_is_inside():
    mask = np.zeros((12, 12), np.uint8)
    fill_polygon(mask, np.array([[1.5, 2.5], [8.5, 2.5], [8.5, 6.5], [1.5, 6.5]]))
    assert np.array_equal(np.argwhere(mask).min(0), [3, 2])
    assert np.array_equal(np.argwhere(mask).max(0), [6, 8])
    assert (mask > 0).sum() == 28


def test_truth_table_is_a_count_pixel_by_pixel():
    spec = SectionSpec(markers=("fibronectin", "CD68"), um_per_px=8.0, cord_um=(700, 560), cavity_fraction=0.1)
    truth = make_section(spec, 3).truth
    edges, threshold = (0.0, 100.0, 250.0), {"fibronectin": 120.0, "CD68": 80.0}
    table = truth_table(truth, edges, threshold).set_index(["zone", "marker"])
    core = truth.core_mask(with_cavity=True)
    inside = np.argwhere(core)
    want = dict.fromkeys(table.index, 0.0)
    for y, x in np.argwhere(truth.anatomy.tissue > 0):
        if core[y, x]:
            zones = ["core"]
        else:
            d = (np.sqrt(((inside - (y, x)) ** 2).sum(1).min()) - 0.5) * 8
            zones = [z for z, a, b in (("0-100", 0, 100), ("100-250", 100, 250)) if a <= d < b]
        for marker, level in threshold.items():
            if truth.optical(marker)[y, x] >= level:
                for zone in [*zones, "all"]:
                    want[zone, marker] += 64.0
    assert table["positive_um2"].to_dict() == want
    assert table.loc[("all", "CD68"), "zone_um2"] == (truth.anatomy.tissue > 0).sum() * 64
    assert table.loc[("core", "CD68"), "cavity_um2"] == truth.cavity_um2


def test_histograms_give_the_same_areas_at_every_bin_edge(section):
    counts, structure = truth_histograms(section.truth)
    px2 = section.truth.px_um2
    for value in (3.0, 40.0, 150.0, 700.0):
        edge = snap_threshold(value)
        table = truth_table(section.truth, thresholds=dict.fromkeys(ALL, edge))
        got = positive_px(counts, edge).T.ravel() * px2
        assert np.allclose(got, table["positive_um2"])
        assert np.allclose(structure.T.ravel() * px2, table["structure_um2"])
    assert counts.shape == (6, len(ALL), len(INTENSITY_EDGES) + 1)
    assert (counts.sum(axis=2) == counts.sum(axis=2)[:, :1]).all()
    with pytest.raises(ValueError, match="no bin edge"):
        positive_px(counts, 100.01)


def test_zones_part_the_tissue(section):
    label = zone_labels(section.truth)
    assert ((label > 0) == (section.truth.anatomy.tissue > 0)).all()
    assert ((label == 1) == section.truth.core_mask()).all()


@pytest.mark.parametrize("change", [{"lesion_scale": 0.0}, {"role": "uninjured"}])
def test_without_a_lesion_there_is_no_core(change):
    truth = make_section(replace(SPEC, **change), 5).truth
    assert truth.core_outline is None
    assert truth.cavities == []
    assert truth.cavity_um2 == 0
    table = truth_table(truth, thresholds={"fibronectin": 100.0}).set_index("zone")
    assert (table.drop("all")["zone_um2"] == 0).all()
    assert table.loc["all", "zone_um2"] > 1e6
    assert 0.005 < table.loc["all", "structure_um2"] / table.loc["all", "zone_um2"] < 0.03  # vessels and pia only


def test_some_nuclei_touch_and_none_hides_another(section):
    nuclei = section.truth.nuclei
    um = SPEC.um_per_px
    tree = cKDTree(nuclei.xy)
    pairs = tree.query_pairs(10 / um, output_type="ndarray")
    gap = np.linalg.norm(nuclei.xy[pairs[:, 0]] - nuclei.xy[pairs[:, 1]], axis=1) * um
    reach = nuclei.radius_um[pairs].sum(1)
    assert (gap >= 0.93 * reach - 1e-6).all()
    assert (gap < 1.02 * reach).sum() > 50
    assert 5 <= 2 * nuclei.radius_um.min() < 6
    assert 9 < 2 * nuclei.radius_um.max() <= 10
    density = nuclei.in_core.sum() / section.truth.core_mask().sum(), (~nuclei.in_core).sum() / (~section.truth.core_mask()).sum()
    assert density[0] > 2 * density[1]


def test_controls_lack_the_stain_but_not_the_autofluorescence():
    spec = replace(SPEC, markers=PANEL_A, shading=0.0, seam=0.0)
    unstained, no_primary = (make_section(replace(spec, role=r), 6) for r in ("unstained", "no_primary"))
    assert not any(unstained.truth.optical(m).any() for m in PANEL_A)
    assert no_primary.truth.optical("DAPI").any()
    assert not any(no_primary.truth.optical(m).any() for m in PANEL_A[1:])
    tissue = unstained.truth.anatomy.tissue > 0
    for k, marker in enumerate(PANEL_A):
        glass = unstained.image[k][~tissue]
        excess = unstained.image[k][tissue].mean() - glass.mean()
        assert excess == pytest.approx(spec.af_tissue * MARKERS[marker].af_share, rel=0.35)
        assert glass.mean() == pytest.approx(spec.offset + spec.glass, abs=0.3)  # light spreads over the edge
    foamy = unstained.truth.core_mask() & make_section(spec, 6).truth.structure("CD68")
    assert unstained.image[4][foamy].mean() > unstained.image[4][tissue].mean() + 30


def test_a_single_stain_shows_one_marker_and_its_leaks():
    spec = replace(SPEC, markers=PANEL_A, role="single_stain", single_stain="CD68", bleed_through={"CD206": {"CD68": 0.1, "DAPI": 0.1}})
    section = make_section(spec, 6)
    assert [m for m in PANEL_A if section.truth.optical(m).any()] == ["CD68"]
    bare = make_section(replace(spec, bleed_through={}), 6)
    leaked = section.image[3].astype(float) - bare.image[3]
    on = section.truth.optical("CD68") > 200
    assert leaked[on].mean() == pytest.approx(0.1 * section.truth.optical("CD68")[on].mean(), rel=0.05)


def test_noise_has_the_mean_and_the_variance_of_its_model():
    from sevhisto.phantom.optics import camera

    spec = SectionSpec(shading=0.0, seam=0.0, electrons_per_grey=0.5, read_noise=3.0)
    out = camera(spec, np.full((600, 600), 40.0, np.float32), "DAPI", 1).astype(float)
    assert out.mean() == pytest.approx(190, abs=0.1)
    assert out.var() == pytest.approx(40 / 0.5 + 9 + 1 / 12, rel=0.02)
    centred = out - out.mean()
    assert (centred**3).mean() == pytest.approx(40 / 0.5**2, rel=0.15)


def test_bleed_through_adds_the_declared_share():
    spec = SectionSpec(markers=("CD206", "CD68"), shading=0, seam=0, psf_um=0, coverage={"CD206": 0.0})
    plain, leaky = make_section(spec, 8), make_section(replace(spec, bleed_through={"CD206": {"CD68": 0.2}}), 8)
    source = plain.truth.optical("CD68")
    on = source > 500
    added = leaky.image[0][on].astype(float).mean() - plain.image[0][on].astype(float).mean()
    assert added == pytest.approx(0.2 * source[on].mean(), rel=0.02)
    assert np.array_equal(plain.truth.optical("CD206"), leaky.truth.optical("CD206"))


def test_saturation_cuts_at_its_level():
    spec = SectionSpec(markers=("DAPI",), saturation=700)
    image = make_section(spec, 1).image
    assert image.max() == 700
    assert (image == 700).sum() > 1000


@pytest.mark.parametrize("turn", [0.0, 40.0])
def test_fibres_follow_the_set_direction(turn):
    spec = SectionSpec(markers=("fibronectin",), fibre_deg=30, fibre_concentration=8, rotation_deg=turn, cavity_fraction=0)
    truth = make_section(spec, 2).truth
    core = truth.core_mask()
    fy, fx = np.gradient(truth.optical("fibronectin"))
    along = 0.5 * np.arctan2(2 * (fx * fy)[core].sum(), (fx**2 - fy**2)[core].sum()) + np.pi / 2
    assert np.degrees(along) % 180 == pytest.approx((30 + turn) % 180, abs=8)


@pytest.mark.parametrize("orientation", ["sagittal", "horizontal"])
def test_longitudinal_sections_are_bands_with_a_lesion(orientation):
    spec = SectionSpec(markers=PANEL_B, orientation=orientation, um_per_px=2.6, rotation_deg=-5)
    section = make_section(spec, 9)
    _, h, w = section.image.shape
    assert w > 1.8 * h
    whole = section.truth.core_mask(with_cavity=True)
    assert whole.sum() * 2.6**2 == pytest.approx(spec.core_um2, rel=0.02)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"markers": ("DAPI", "fibronektin")}, "did you mean 'fibronectin'"),
        ({"coverage": {"CD68": 1.2}}, "coverage must lie in"),
        ({"orientation": "coronal"}, "coronal"),
        ({"role": "single_stain"}, "give a marker to a single stain"),
        ({"single_stain": "CD68"}, "give a marker to a single stain"),
        ({"role": "samples"}, "did you mean 'sample'"),
        ({"cavity_fraction": 0.9}, "cavity_fraction 0.9"),
        ({"lesion_position": (0, 1.2)}, "outside the cord"),
        ({"um_per_px": 0.0}, "um_per_px"),
        ({"markers": ()}, "markers must be named"),
    ],
)
def test_a_wrong_spec_is_refused(wrong, said):
    with pytest.raises(SevhistoError, match=said):
        SectionSpec(**wrong)
