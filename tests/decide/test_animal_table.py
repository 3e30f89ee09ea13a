from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from sevhisto.config import ZoneSettings
from sevhisto.decide.animal_table import animal_table
from sevhisto.decide.fibres import coherency
from sevhisto.decide.metrics import FIBRE_METRICS
from sevhisto.decide.stack import neighbour_shares
from sevhisto.schema import ANIMALS, SECTIONS
from sevhisto.types import SevhistoError

ZONES = list(ZoneSettings().ranges)
FN = ("FN",)
VOLUME = ("volume", "its error in steps", "its error if smooth")


def section(name, position, core=0.0, positive=0.0, animal="a1", markers=FN, zones=(), flags="", **more):
    """Rows of one section: `core` um2 of core, ten times as much tissue, `positive` um2 in the core; `more` sets columns everywhere."""
    rows = []
    for zone in [*ZONES, *zones]:
        area = {"core": core, "all": 10000.0}.get(zone, 100.0)
        for marker in markers:
            hit = positive if zone in ("core", "all") else 0.0
            row = {"animal": animal, "section": name, "panel": "A", "batch": "b1", "position_um": position, "zone": zone, "marker": marker}
            row |= {"zone_um2": area, "cavity_um2": 0, "masked_um2": 0, "positive_um2": hit, "signal_sum": 2 * area, "background": 0}
            rows.append(row | {"threshold": 20, "threshold_source": "no_primary", "n_cells": np.nan, "flags": flags} | more)
    return pd.DataFrame(rows)


def listed(sections, lost=(), role="sample", animal="a1"):
    rows = sections[["animal", "section", "panel", "position_um"]].drop_duplicates().assign(status="ok", reason="")
    for name, position, status in lost:
        extra = {"animal": animal, "section": name, "panel": "A", "position_um": position, "status": status, "reason": "x"}
        rows = pd.concat([rows, pd.DataFrame([extra])]) if len(rows) else pd.DataFrame([extra])
    return rows.assign(file="f", flags="", role=role)


def value(table, metric, zone="core", marker="FN", animal="a1"):
    rows = table[(table.animal == animal) & (table.metric == metric) & (table.zone == zone) & (table.marker == marker)]
    assert len(rows) == 1
    return next(rows.itertuples())  # a Series has `flags` of its own


def stack(cores, positives, step=200.0, **more):
    return pd.concat([section(f"s{i}", i * step, c, p, **more) for i, (c, p) in enumerate(zip(cores, positives, strict=True))])


def test_ratios_are_ratios_of_sums_not_means_of_ratios(config_of):
    sections = stack([100, 900, 100], [50, 90, 0])
    table = animal_table(sections, listed(sections), config_of(FN))
    assert ANIMALS.problems(table) == []
    assert value(table, "fraction_pct").value == pytest.approx(100 * 140 / 1100)
    assert value(table, "fraction_pct").value != pytest.approx(np.mean([50, 10, 0]))
    assert value(table, "area_um2").value == 140
    assert value(table, "mean_intensity").value == 2
    assert value(table, "integrated_density").value == 2200
    assert (value(table, "area_um2").n_sections, value(table, "area_um2").n_expected) == (3, 3)


def test_cavalieri_volume_is_spacing_times_the_sum_of_areas(config_of):
    sections = stack([100, 500, 900, 500, 100], [10, 20, 30, 20, 10], cavity_um2=7)
    table = animal_table(sections, listed(sections), config_of(FN))
    assert value(table, "positive_volume_mm3").value == pytest.approx(200 * 90e-9)
    assert value(table, "positive_volume_mm3").flags == ""
    assert value(table, "zone_volume_mm3", marker="tissue").value == pytest.approx(200 * (2100 + 35) * 1e-9)


@pytest.mark.parametrize("status", ["failed", "excluded"])
def test_a_missing_section_is_interpolated_in_volumes_only(config_of, status):
    area = [100, 200, 300, 400, 500]  # linear: interpolation restores the truth
    whole = stack(area, area)
    truth = animal_table(whole, listed(whole), config_of(FN))
    part = whole[~whole.section.isin(["s1", "s3"])]
    table = animal_table(part, listed(part, [("s1", 200.0, status), ("s3", 600.0, status)]), config_of(FN))
    found = value(table, "positive_volume_mm3")
    assert found.value == pytest.approx(value(truth, "positive_volume_mm3").value)
    assert (found.n_sections, found.n_expected, set(found.flags.split(";"))) == (3, 5, {"few_sections", "sections_missing"})
    assert value(table, "area_um2").value == 900
    assert value(table, "zone_volume_mm3", "all", "tissue").value == pytest.approx(200 * 5 * 10000e-9)


def test_two_missing_neighbours_are_interpolated_over_the_whole_gap_and_ends_are_not_extrapolated():
    shares = neighbour_shares(np.array([0.0, 600.0]), np.array([200.0, 400.0, 800.0, -200.0, np.nan]))
    assert shares == pytest.approx(np.array([[2 / 3, 1 / 3], [1 / 3, 2 / 3], [0, 0], [0, 0], [0, 0]]))
    assert neighbour_shares(np.array([5.0, 0.0]), np.array([5.0])).tolist() == [[1, 0]]


@pytest.mark.parametrize(("n", "flag"), [(2, "too_few_sections"), (4, "few_sections"), (5, "")])
def test_volumes_of_few_sections(config_of, n, flag):
    sections = stack([100] * n, [10] * n)
    found = value(animal_table(sections, listed(sections), config_of(FN)), "positive_volume_mm3")
    assert found.flags == flag
    assert math.isnan(found.value) == (n < 3)


def test_an_animal_without_a_lesion_has_zeros_and_says_what_is_not_measurable(config_of):
    sections = stack([0] * 5, [0] * 5, flags="no_lesion")
    table = animal_table(sections, listed(sections, role="uninjured"), config_of(FN))
    assert (value(table, "area_um2").value, value(table, "positive_volume_mm3").value) == (0, 0)
    assert value(table, "zone_volume_mm3", marker="tissue").value == 0
    assert value(table, "fraction_pct").flags == "uninjured;empty_denominator"
    assert value(table, "area_um2", "core_rostral").value == 0
    for zone, metric, marker in (("all_rostral", "area_um2", "FN"), ("all", "spared_tissue_mm2", "tissue")):
        row = value(table, metric, zone, marker)
        assert math.isnan(row.value)
        assert "no_lesion" in row.flags


def test_nan_always_has_a_flag_and_every_metric_is_there(config_of):
    sections = stack([0, 100], [0, 10])
    table = animal_table(sections, listed(sections, [("s9", math.nan, "failed")]), config_of(FN))
    assert (table.loc[table.value.isna(), "flags"].str.len() > 0).all()
    assert len(table) == 18 * (len(["area", "fraction", "density", "mean", *VOLUME, *FIBRE_METRICS]) + len(VOLUME)) + 1


def test_an_animal_whose_sections_all_failed_keeps_its_rows(config_of):
    good = stack([100] * 5, [10] * 5)
    status = pd.concat([listed(good), listed(good.iloc[:0], [("x1", 0.0, "failed"), ("x2", 200.0, "failed")], animal="a2")])
    table = animal_table(good, status, config_of(FN))
    failed = table[table.animal == "a2"]
    assert len(failed) == len(table[table.animal == "a1"])
    assert failed.value.isna().all()
    assert failed["flags"].str.contains("sections_missing").all()
    assert (failed.n_sections == 0).all()
    assert (value(table, "area_um2", animal="a2").n_expected) == 2
    assert len(animal_table(good.iloc[:0], status[status.animal == "a2"], config_of(FN))) == len(failed)


def test_row_order_changes_nothing(config_of):
    sections = stack([0.1, 0.7, 0.3, 0.9, 0.2], [0.1, 0.2, 0.3, 0.4, 0.7])
    status = listed(sections, [("s9", 300.0, "failed")])
    shuffled = animal_table(sections.sample(frac=1, random_state=1), status.sample(frac=1, random_state=2), config_of(FN))
    pd.testing.assert_frame_equal(shuffled, animal_table(sections, status, config_of(FN)), check_exact=True)


def test_controls_make_no_animals(config_of):
    sections = stack([100] * 3, [10] * 3)
    assert animal_table(sections, listed(sections, role="no_primary"), config_of(FN)).empty


def test_transverse_halves_leave_the_epicentre_section_out(config_of):
    sections = stack([0, 100, 500, 900, 400, 300], [0, 1, 2, 4, 8, 16])
    table = animal_table(sections, listed(sections), config_of(FN))
    halves = [value(table, "area_um2", z) for z in ("core_rostral", "core_caudal")]
    assert [h.value for h in halves] == [3, 24]
    assert [(h.n_sections, h.n_expected) for h in halves] == [(3, 3), (2, 2)]
    assert value(table, "positive_volume_mm3", "core_rostral").value == pytest.approx(200 * 3e-9)
    assert "too_few_sections" in value(table, "positive_volume_mm3", "core_caudal").flags
    assert value(table, "spared_tissue_mm2", "all", "tissue").value == pytest.approx((10000 - 900) * 1e-6)


def test_a_missing_section_beside_the_epicentre_belongs_to_its_half(config_of):
    whole = stack([100, 300, 500, 700, 900, 700, 100], [10, 20, 30, 40, 50, 60, 70])
    part = whole[whole.section != "s3"]
    config = config_of(FN)
    truth = animal_table(whole, listed(whole), config)
    table = animal_table(part, listed(part, [("s3", 600.0, "failed")]), config)
    assert value(truth, "positive_volume_mm3", "core_rostral").value == pytest.approx(200 * 100e-9)
    assert value(table, "positive_volume_mm3", "core_rostral").value == pytest.approx(200 * 100e-9)


def test_a_half_without_sections_says_so(config_of):
    sections = stack([900, 100, 10], [1, 1, 1])
    row = value(animal_table(sections, listed(sections), config_of(FN)), "area_um2", "core_rostral")
    assert math.isnan(row.value)
    assert (row.flags, row.n_expected) == ("no_sections", 0)


def test_longitudinal_halves_are_the_sides_of_the_sections(config_of):
    zones = [f"{z}_{h}" for z in ZONES for h in ("rostral", "caudal")]
    sections = stack([100] * 3, [10] * 3, zones=zones)
    sections.loc[sections.zone == "core_caudal", "positive_um2"] = 4.0
    table = animal_table(sections, listed(sections), config_of(FN, orientation="sagittal"))
    row = value(table, "area_um2", "core_caudal")
    assert (row.value, row.n_sections) == (12, 3)


def test_a_panel_that_does_not_show_the_lesion_gives_no_zone_values(config_of):
    sections = stack([np.nan] * 3, [np.nan] * 3, flags="no_landmark")
    rings = sections.zone != "all"
    sections.loc[rings, ["zone_um2", "positive_um2", "signal_sum", "cavity_um2"]] = np.nan
    sections.loc[~rings, "positive_um2"] = 5.0
    table = animal_table(sections, listed(sections), config_of(FN))
    assert value(table, "area_um2", "all").value == 15
    for zone in ("core", "0-250_rostral", "all_caudal"):
        row = value(table, "area_um2", zone)
        assert math.isnan(row.value)
        assert "no_landmark" in row.flags.split(";")


def test_flags_travel(config_of):
    sections = pd.concat([stack([100] * 4, [1] * 4, flags="contour_unreviewed;no_lesion"), section("s5", 900.0, 50, 1, flags="saturated")])
    sections.loc[sections.section == "s1", "flags"] = "contour_unreviewed;threshold_fallback"
    table = animal_table(sections, listed(sections), config_of(FN))
    assert value(table, "area_um2").flags == "contour_unreviewed;threshold_fallback;sections_flagged"
    assert "contour_unreviewed" not in value(table, "area_um2", "all").flags
    assert "contour_unreviewed" in value(table, "spared_tissue_mm2", "all", "tissue").flags
    calm = stack([100] * 5, [1] * 5, flags="contour_unreviewed")
    assert value(animal_table(calm, listed(calm), config_of(FN)), "area_um2").flags == "contour_unreviewed"


def test_cells_colocalisation_and_alignment(config_of):
    markers = ("DAPI", "GFAP", "CD68", "CD206", "FN")
    joint = {"signal_in_cd68": 30.0, "signal_joint": 40.0, "cd68_joint_um2": 25.0, "fibre_xx": 3.0, "fibre_yy": 1.0, "fibre_xy": 0.0}
    sections = stack([100] * 3, [10] * 3, markers=markers, n_cells_cd68=6.0, n_cells=8.0, **joint)
    sections.loc[sections.marker == "CD206", "n_cells"] = 9.0
    table = animal_table(sections, listed(sections), config_of(markers))
    assert value(table, "count", marker="CD206").value == 27
    assert value(table, "density_per_mm2", marker="CD68").value == pytest.approx(24 / 300 * 1e6)
    assert value(table, "fraction_of_cd68_pct", marker="CD206").value == pytest.approx(75)
    assert value(table, "manders", marker="CD206").value == pytest.approx(0.75)
    assert value(table, "manders_over_chance", marker="CD206").value == pytest.approx(0.75 / 0.25)
    assert value(table, "alignment", marker="FN").value == pytest.approx(0.5)
    assert not ((table.marker == "FN") & (table.metric == "count")).any()
    empty = sections.assign(signal_joint=0.0, signal_in_cd68=0.0, fibre_xx=0.0, fibre_yy=0.0)
    table = animal_table(empty, listed(empty), config_of(markers))
    assert value(table, "manders", marker="CD206").flags == value(table, "alignment", marker="FN").flags == "no_signal"


def test_direction_width_and_length_of_fibres_are_ratios_of_sums(config_of):
    fibres = {"fibre_xx": 1.0, "fibre_yy": 3.0, "fibre_xy": 0.0, "fibre_nn": 1.0, "fibre_tt": 1.0, "fibre_nt": 1.0}
    sections = stack([1000] * 3, [100] * 3, **fibres, fibre_um2=120.0, fibre_outline_um=60.0)
    table = animal_table(sections, listed(sections), config_of(FN))
    assert value(table, "angle_to_axis_deg").value == 0  # the gradient lies across x
    assert value(table, "angle_to_border_deg").value == pytest.approx(45) and value(table, "border_alignment").value == pytest.approx(1)
    assert value(table, "fibre_width_um").value == pytest.approx(4)
    assert value(table, "fibre_length_mm_per_mm2").value == pytest.approx(30)
    sections.loc[sections.section == "s2", ["fibre_nn", "fibre_tt", "fibre_nt"]] = 0.0  # a section beyond the lesion
    assert value(animal_table(sections, listed(sections), config_of(FN)), "angle_to_border_deg").value == pytest.approx(45)
    none = sections.assign(fibre_nn=0.0, fibre_tt=0.0, fibre_nt=0.0, flags="axis_uncertain")
    table = animal_table(none, listed(none), config_of(FN))
    assert math.isnan(value(table, "angle_to_border_deg").value) and value(table, "angle_to_border_deg").flags == "no_lesion"
    assert math.isnan(value(table, "angle_to_axis_deg").value) and value(table, "angle_to_axis_deg").flags == "axis_uncertain"
    assert value(table, "alignment").value == pytest.approx(0.5)


def test_matrix_without_vessels_stands_beside_all_matrix(config_of):
    sections = stack([1000] * 3, [100] * 3, markers=("FN", "CD31"), positive_free_um2=60.0)
    table = animal_table(sections, listed(sections), config_of(("FN", "CD31")))
    assert (value(table, "area_um2").value, value(table, "free_area_um2").value) == (300, 180)
    assert (value(table, "fraction_pct").value, value(table, "free_fraction_pct").value) == (pytest.approx(10), pytest.approx(6))
    assert not ((table.marker == "CD31") & table.metric.str.startswith("free")).any()
    alone = stack([1000] * 3, [100] * 3)
    without = animal_table(alone, listed(alone), config_of(FN))
    assert not without.metric.str.startswith("free").any()  # no vessel marker in the panel: nothing changes
    untold = sections.assign(positive_free_um2=np.nan)
    assert value(animal_table(untold, listed(untold), config_of(("FN", "CD31"))), "free_area_um2").flags == "not_tallied"


def test_coherency_of_a_bundle_is_one_in_any_direction_and_zero_without_one():
    for angle in np.linspace(0, np.pi, 7):
        c, s = np.cos(angle), np.sin(angle)
        assert coherency(c * c, s * s, c * s) == pytest.approx(1)
    assert coherency(2, 2, 0) == 0
    assert math.isnan(coherency(0, 0, 0))
    rng = np.random.default_rng(0)  # the length of the mean double-angle vector, which science.md section 4 names as the truth
    angle = rng.normal(0.3, 0.4, 20000)
    tensor = (np.cos(angle) ** 2).mean(), (np.sin(angle) ** 2).mean(), (np.cos(angle) * np.sin(angle)).mean()
    assert coherency(*tensor) == pytest.approx(abs(np.exp(2j * angle).mean()))


def test_tables_that_are_not_what_they_claim_are_refused(config_of):
    sections = stack([100] * 3, [10] * 3)
    with pytest.raises(SevhistoError, match="role"):
        animal_table(sections, listed(sections).drop(columns="role"), config_of(FN))
    with pytest.raises(SevhistoError, match=SECTIONS.name):
        animal_table(sections.drop(columns="zone_um2"), listed(sections), config_of(FN))


def test_spots_of_a_tracer_are_counted_per_animal_and_mm2(config_of):
    config = config_of(FN, channels={"FN": {"role": "tracer"}})
    sections = pd.concat([section(f"s{i}", 200.0 * i, core, n_puncta=n) for i, (core, n) in enumerate([(100, 2), (300, 10), (100, 0)])])
    table = animal_table(sections, listed(sections), config)
    assert value(table, "puncta_count")[6:8] == (12, "spots")
    assert value(table, "puncta_per_mm2").value == pytest.approx(12 / 500 * 1e6)
    assert value(table, "puncta_per_mm2").unit == "per_mm2"
    for flags, said in (("", "no_threshold"), ("puncta_unresolved", "puncta_unresolved")):
        unknown = sections.assign(n_puncta=np.nan, flags=flags)
        table = animal_table(unknown, listed(unknown), config)
        for metric in ("puncta_count", "puncta_per_mm2"):
            assert math.isnan(value(table, metric).value) and said in value(table, metric).flags
        assert value(table, "area_um2").value == 0 and said not in value(table, "area_um2").flags
    plain = animal_table(sections, listed(sections), config_of(FN))
    assert not plain["metric"].str.startswith("puncta").any()


def test_the_share_that_autofluorescence_explains_is_a_ratio_of_sums(config_of):
    with_blank = config_of(("FN", "AF"))
    sections = pd.concat(
        [
            section(f"s{i}", 200.0 * i, 100, p, markers=("FN", "AF"), autofluorescent_um2=a)
            for i, (p, a) in enumerate([(10, 30), (50, 10), (0, 0)])
        ]
    )
    table = animal_table(sections, listed(sections), with_blank)
    assert value(table, "autofluorescent_pct").value == pytest.approx(100 * 40 / (60 + 40))
    assert value(table, "autofluorescent_pct").unit == "pct"
    assert "autofluorescent_pct" not in set(table.loc[table["marker"] == "AF", "metric"])
    nothing = sections.assign(positive_um2=0.0, autofluorescent_um2=0.0)
    told = value(animal_table(nothing, listed(nothing), with_blank), "autofluorescent_pct")
    assert math.isnan(told.value) and "empty_denominator" in told.flags
    unknown = sections.assign(autofluorescent_um2=np.nan)
    told = value(animal_table(unknown, listed(unknown), with_blank), "autofluorescent_pct")
    assert math.isnan(told.value) and "not_tallied" in told.flags
    plain = sections[sections["marker"] == "FN"]
    assert not animal_table(plain, listed(plain), config_of(FN))["metric"].eq("autofluorescent_pct").any()


def test_uptake_of_an_animal_is_a_ratio_of_sums(config_of):
    names = ("DAPI", "CD68", "CD206", "FN")
    config = config_of(names, channels={"FN": {"role": "tracer"}})
    groups = {"cd206_pos_cells": (2, 8), "cd206_pos_puncta": (12, 28), "cd206_pos_expected": (4, 6)}
    groups |= {"cd206_neg_cells": (0, 5), "cd206_neg_puncta": (0, 5), "cd206_neg_expected": (0, 10)}
    sections = pd.concat(
        [section(f"s{i}", 200.0 * i, 100, markers=names, n_puncta=9, **{k: v[i] for k, v in groups.items()}) for i in (0, 1)]
    )
    table = animal_table(sections, listed(sections), config)
    assert value(table, "puncta_per_cd206_pos_cell")[6:8] == (4.0, "spots")
    assert value(table, "puncta_per_cd206_neg_cell").value == 1.0
    assert value(table, "cd206_pos_uptake_over_random")[6:8] == (4.0, "ratio")
    assert value(table, "cd206_neg_uptake_over_random").value == 0.5
    none = sections.assign(cd206_neg_cells=0.0, cd206_neg_puncta=0.0, cd206_neg_expected=0.0)
    told = value(animal_table(none, listed(none), config), "puncta_per_cd206_neg_cell")
    assert math.isnan(told.value) and "empty_denominator" in told.flags
    for gone, flag in (({"n_puncta": np.nan}, "no_threshold"), ({}, "not_tallied")):
        unknown = sections.assign(**dict.fromkeys(groups, np.nan), **gone)
        told = value(animal_table(unknown, listed(unknown), config), "cd206_pos_uptake_over_random")
        assert math.isnan(told.value) and flag in told.flags
    assert not animal_table(sections, listed(sections), config_of(names))["metric"].str.contains("cd206_pos").any()


def test_spared_white_matter_is_what_was_drawn_at_the_epicentre(config_of):
    sections = stack([100, 300, 900, 300, 100], [0, 50, 90, 50, 0])
    assert not (animal_table(sections, listed(sections), config_of(FN))["metric"] == "spared_white_matter_mm2").any()
    sections["white_matter_um2"] = np.where(sections["zone"] == "all", 100.0 * (1 + sections["position_um"]), np.nan)
    table = animal_table(sections, listed(sections), config_of(FN))
    row = value(table, "spared_white_matter_mm2", "all", "tissue")
    assert row.value == pytest.approx(100.0 * 401 * 1e-6) and row.n_sections == 1
    sections.loc[sections["section"] == "s2", "white_matter_um2"] = np.nan
    row = value(animal_table(sections, listed(sections), config_of(FN)), "spared_white_matter_mm2", "all", "tissue")
    assert math.isnan(row.value) and "not_drawn" in row.flags.split(";") and row.n_sections == 0


def test_spared_white_matter_by_a_myelin_stain_is_positive_area_outside_the_core(config_of):
    config = config_of(FN)
    panel = config.panels["A"]
    stained = [c.model_copy(update={"role": "myelin"}) if c.marker == "FN" else c for c in panel.channels]
    config = config.model_copy(update={"panels": {"A": panel.model_copy(update={"channels": stained})}})
    sections = stack([100, 300, 900, 300, 100], [0, 50, 90, 50, 0])
    sections.loc[sections["zone"] == "all", "positive_um2"] = 4000.0
    row = value(animal_table(sections, listed(sections), config), "spared_white_matter_mm2", "all")
    assert row.value == pytest.approx((4000 - 90) * 1e-6)


def test_volumes_come_with_their_coefficient_of_error_where_sections_are_even(config_of):
    areas = [100.0, 300, 500, 400, 200]
    sections = stack(areas, areas)
    table = animal_table(sections, listed(sections), config_of(FN))
    for metric, marker in (("zone_volume", "tissue"), ("positive_volume", "FN")):
        assert value(table, f"{metric}_ce_m0_pct", marker=marker).value == pytest.approx(5.4433, abs=1e-4)
        assert value(table, f"{metric}_ce_m1_pct", marker=marker).value == pytest.approx(1.2172, abs=1e-4)
    gap = sections[sections["section"] != "s2"]
    told = value(animal_table(gap, listed(gap, lost=[("s2", 400.0, "failed")]), config_of(FN)), "zone_volume_ce_m0_pct", marker="tissue")
    assert math.isnan(told.value) and "sections_uneven" in told.flags and "sections_missing" in told.flags
    nothing = stack(areas, [0.0] * 5)
    told = value(animal_table(nothing, listed(nothing), config_of(FN)), "positive_volume_ce_m1_pct")
    assert math.isnan(told.value) and "empty_denominator" in told.flags
