from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevhisto.config import ZoneSettings
from sevhisto.decide.histograms import threshold_bin
from sevhisto.decide.section_table import section_rows, section_table
from sevhisto.decide.thresholds import Threshold
from sevhisto.schema import SECTIONS
from sevhisto.types import (
    DISTANCE_EDGES_UM,
    INTENSITY_EDGES,
    JOINT_DISTANCE_EDGES_UM,
    JOINT_EDGES,
    N_DISTANCE,
    N_INTENSITY,
    N_JOINT_DISTANCE,
    NEAR_VESSEL,
    SevhistoError,
    snap_threshold,
)

A = np.array([0, 10, 20, 30, 40, 50, 60, 70, 80.0])
B = np.array([5, 0, 25, 20, 60, 10, 90, 0, 70.0])  # science.md section 4


def at(**values):
    return {("A", "b1", m): Threshold(snap_threshold(v), "fixed", v, 0) for m, v in values.items()}


def pick(table, zone, marker="FN"):
    rows = table[(table["zone"] == zone) & (table["marker"] == marker)]
    assert len(rows) == 1
    return rows.iloc[0]


@given(seed=st.integers(0, 10**6), edge=st.integers(0, len(INTENSITY_EDGES) - 1))
@settings(max_examples=25, deadline=None)
def test_the_tally_gives_the_same_areas_as_counting_pixels(config_of, record_of, row_of, seed, edge):
    rng = np.random.default_rng(seed)
    values = np.rint(rng.normal(20, rng.choice([5, 500, 30000]), 600) * 16) / 16
    distance, side = rng.uniform(-1800, 3300, 600), rng.integers(0, 2, 600)
    record = record_of({"FN": values}, distance, side, um_per_px=0.65)
    threshold = float(INTENSITY_EDGES[edge])
    table = section_rows(row_of(record), at(FN=threshold), config_of(("FN",)))
    for zone, (low, high) in ZoneSettings().ranges.items():
        inside = (distance >= low) & (distance < high)
        row = pick(table, zone)
        assert row["zone_um2"] == pytest.approx(inside.sum() * 0.65**2)
        assert row["positive_um2"] == pytest.approx((inside & (values >= threshold)).sum() * 0.65**2)
        assert row["signal_sum"] == pytest.approx(values[inside].sum() * 0.65**2, abs=1e-6)


def test_longitudinal_sections_are_split_by_side(config_of, record_of, row_of):
    record = record_of({"FN": [0, 50, 50, 50]}, [-10, -10, 100, 100], [0, 1, 0, 1], side_axis="rostral_caudal")
    table = section_rows(row_of(record), at(FN=20), config_of(("FN",), orientation="horizontal"))
    assert pick(table, "core_rostral")["positive_um2"] == 0
    assert pick(table, "core_caudal")["positive_um2"] == 1
    assert pick(table, "all_caudal")["zone_um2"] == 2
    with pytest.raises(SevhistoError, match="rostral_caudal"):
        section_rows(row_of(record), at(FN=20), config_of(("FN",)))


def test_without_a_core_other_zones_are_zero_and_flagged(config_of, record_of, row_of):
    table = section_rows(row_of(record_of({"FN": [1, 50]}, flags=("no_lesion",))), at(FN=20), config_of(("FN",)))
    assert list(table["zone"]) == list(ZoneSettings().ranges)
    assert set(table["flags"]) == {"no_lesion"}
    assert pick(table, "all")[["zone_um2", "positive_um2"]].tolist() == [2, 1]
    assert (table.loc[table["zone"] != "all", ["zone_um2", "cavity_um2", "positive_um2", "signal_sum"]] == 0).all(axis=None)


def test_an_unknown_lesion_is_not_a_lesion_of_size_zero(config_of, record_of, row_of):
    table = section_rows(row_of(record_of({"FN": [1, 50]}, flags=("no_landmark",))), at(FN=20), config_of(("FN",)))
    assert table.loc[table["zone"] != "all", "zone_um2"].isna().all()
    assert pick(table, "all")["zone_um2"] == 2


def test_words_and_flags_of_a_row(config_of, record_of, row_of):
    rungs = {("A", "b1", "FN"): Threshold(snap_threshold(20), "batch", 20, 3, frozenset({"threshold_fallback"}))}
    row = row_of(record_of({"FN": [1, 50]}, [-5, 5], cavity=[-20, -20, 30], flags=("contour_unreviewed",)), position_um=400)
    first = pick(section_rows(row, rungs, config_of(("FN",))), "core")
    assert first["flags"] == "contour_unreviewed;threshold_fallback"
    assert (first["background"], first["threshold_source"], first["position_um"], first["cavity_um2"]) == (7, "batch", 400, 2)
    assert np.isnan(first["n_cells"])  # the panel has no nuclear channel


def test_cells_are_counted_by_their_compartment_and_zone(config_of, record_of, row_of):
    cells = {
        "distance_um": [-5, -5, 100, 100, 400],
        "side": [0, 0, 0, 0, 0],
        "DAPI_nucleus": [9, 9, 9, 9, 9],
        "CD68_ring": [50, 50, 50, 1, 50],
        "CD206_ring": [50, 1, 50, 50, 1],
        "CD206_nucleus": [99, 99, 99, 99, 99],
    }
    record = record_of({"DAPI": [1], "CD68": [1], "CD206": [1]}, [5], cells=cells)
    table = section_rows(row_of(record), at(DAPI=20, CD68=20, CD206=20), config_of(("DAPI", "CD68", "CD206")))
    counted = {m: pick(table, "all", m)[["n_cells", "n_cells_cd68"]].tolist() for m in ("DAPI", "CD68", "CD206")}
    assert counted == {"DAPI": [5, 4], "CD68": [4, 4], "CD206": [3, 2]}
    assert pick(table, "core", "CD206")[["n_cells", "n_cells_cd68"]].tolist() == [1, 1]
    without = section_rows(row_of(record_of({"DAPI": [1], "CD68": [1], "CD206": [1]}, [5])), at(DAPI=2, CD68=2, CD206=2), config_of())
    assert (without["n_cells"] == 0).all()


def test_counts_have_bounds_and_a_marker_may_show_in_ring_or_nucleus(config_of, record_of, row_of):
    cells = {
        "distance_um": [-5] * 5,
        "side": [0] * 5,
        "area_um2": [40, 40, 40, 40, 90],  # the last is as large as two
        "DAPI_nucleus": [9] * 5,
        "CD68_nucleus": [1, 1, 1, 30, 1],
        "CD68_ring": [50, 50, 10, 10, 10],
        "CD68_ring_low": [30, 10, 1, 1, 1],
        "CD68_ring_high": [60, 60, 10, 10, 40],
    }
    row = row_of(record_of({"DAPI": [1], "CD68": [1]}, [-5], cells=cells))
    columns = ["n_cells_low", "n_cells", "n_cells_high"]
    for compartment, want in (("ring", [1, 2, 4]), ("either", [1, 3, 5])):
        config = config_of(("DAPI", "CD68"), channels={"CD68": {"cell_compartment": compartment}})
        table = section_rows(row, at(DAPI=20, CD68=20), config)
        assert pick(table, "core", "CD68")[columns].tolist() == want
        assert pick(table, "250-500", "CD68")[columns].tolist() == [0, 0, 0]
        assert pick(table, "core", "DAPI")[["n_cells_low", "n_cells_high"]].isna().all()  # it is no macrophage marker
    table = section_rows(row, at(DAPI=20, CD68=20), config_of(("DAPI", "CD68"), channels={"CD68": {"cell_compartment": "nucleus"}}))
    assert pick(table, "core", "CD68")["n_cells"] == 1 and np.isnan(pick(table, "core", "CD68")["n_cells_low"])


def manders(table, marker, zone="all"):
    row = pick(table, zone, marker)
    return row["signal_in_cd68"] / row["signal_joint"]


def test_manders_check_values(config_of, record_of, row_of):
    config = config_of(("CD68", "CD206"))
    m2 = record_of({"CD68": A, "CD206": B}, pairs=(("CD206", "CD68"),))
    table = section_rows(row_of(m2), at(CD68=25, CD206=15), config)
    assert manders(table, "CD206") == pytest.approx(0.892857, abs=1e-6)  # every value of B has a coarse bin of its own: exact
    m1 = record_of({"CD206": A, "CD68": B}, pairs=(("CD68", "CD206"),))
    table = section_rows(row_of(m1), at(CD68=15, CD206=25), config)
    # of nine pixels 50 and 60, and 70 and 80, share a coarse bin, in which only the larger is CD68-positive
    assert manders(table, "CD206") == pytest.approx((20 + 30 + 40 + 55 + 75) / 360)
    assert manders(table, "CD206") == pytest.approx(0.638889, abs=0.03)
    assert pick(table, "all", "CD206")["signal_joint"] == pytest.approx(A.sum())


@given(seed=st.integers(0, 10**6), edge=st.integers(150, 400))
@settings(max_examples=15, deadline=None)
def test_reference_area_and_total_signal_of_the_joint_tally_are_exact(config_of, record_of, row_of, seed, edge):
    rng = np.random.default_rng(seed)
    values = {m: np.rint(rng.gamma(1, 60, 500) * 16 - 80) / 16 for m in ("CD68", "CD206")}
    distance, threshold = rng.uniform(-300, 900, 500), float(INTENSITY_EDGES[edge])
    record = record_of(values, distance, pairs=(("CD206", "CD68"),))
    table = section_rows(row_of(record), at(CD68=threshold, CD206=15), config_of(("CD68", "CD206")))
    for zone, (low, high) in ZoneSettings().ranges.items():
        inside = (distance >= low) & (distance < high)
        row, positive = pick(table, zone, "CD206"), inside & (values["CD68"] >= threshold)
        assert row["cd68_joint_um2"] == pytest.approx(positive.sum(), abs=1e-9)
        assert row["signal_joint"] == pytest.approx(np.maximum(values["CD206"][inside], 0).sum(), abs=1e-6)
        truth = np.maximum(values["CD206"][positive], 0).sum()
        assert row["signal_in_cd68"] == pytest.approx(truth, abs=_coarseness(values, inside, threshold) + 1e-6)


def _coarseness(values, inside, threshold):
    """The most that coarse bins can move: a pixel by its bin's width; all of a pixel in the reference's bin that the threshold cuts."""
    marker, reference = values["CD206"][inside], values["CD68"][inside]
    at = np.searchsorted(JOINT_EDGES, marker, side="right")
    low, high = np.maximum(JOINT_EDGES[np.maximum(at - 1, 0)], 0), np.maximum(JOINT_EDGES[np.minimum(at, len(JOINT_EDGES) - 1)], 0)
    cut = np.searchsorted(JOINT_EDGES, reference, side="right") == np.searchsorted(JOINT_EDGES, threshold, side="right")
    return np.where(cut, high, np.where(reference >= threshold, high - low, 0)).sum()


def test_fibre_sums_take_positive_pixels_only(config_of, record_of, row_of):
    fx, fy = np.array([3.0, 0.0, 2.0]), np.array([0.0, 50.0, 2.0])
    record = record_of({"FN": [900, 1, 900]}, [-5, -5, 50], gradients={"FN": (fx, fy)})
    table = section_rows(row_of(record), at(FN=20), config_of(("FN",)))
    names = ["fibre_xx", "fibre_yy", "fibre_xy"]
    assert pick(table, "core")[names].tolist() == [9 * 64, 0, 0]
    assert pick(table, "all")[names].tolist() == [13 * 64, 4 * 64, 4 * 64]
    border = ["fibre_nn", "fibre_tt", "fibre_nt"]
    assert pick(table, "all")[border].tolist() == [13 * 64, 4 * 64, 0]


def test_fibre_sums_are_turned_to_the_axis_of_the_section_and_without_a_core_there_is_no_border(config_of, record_of, row_of):
    record = record_of({"FN": [900, 900]}, gradients={"FN": (np.array([3.0, 4.0]), np.array([3.0, 4.0]))})  # fibres at 135 degrees
    for axis, want in ((45.0, [50 * 64, 0, 0]), (135.0, [0, 50 * 64, 0]), (None, [25 * 64, 25 * 64, 25 * 64])):
        record.meta["axis_deg"] = axis
        row = pick(section_rows(row_of(record), at(FN=20), config_of(("FN",))), "all")
        assert row[["fibre_xx", "fibre_yy", "fibre_xy"]].tolist() == pytest.approx(want, abs=1e-6)
        assert row[["fibre_nn", "fibre_tt", "fibre_nt"]].tolist() == [0, 0, 0]


def test_matrix_bound_to_vessels_is_told_apart_and_both_values_stay(config_of, record_of, row_of):
    fibronectin, vessel = np.array([900, 900, 900, 1, 1, 900.0]), np.array([900, 1, 1, 900, 1, 1.0])
    near = np.array([900, 900, 1, 900, 900, 1.0])  # the brightest pixel of the vessel within reach
    distance = [-5, -5, -5, -5, 20, 20]
    record = record_of({"FN": fibronectin, "CD31": vessel}, distance, pairs=(("FN", "CD31"),))
    bound = record_of({"FN": fibronectin, "CD31": near}, distance, pairs=(("FN", "CD31"),)).joint
    record.joint = {("FN", NEAR_VESSEL): bound["FN", "CD31"]}
    table = section_rows(row_of(record), at(FN=20, CD31=20), config_of(("FN", "CD31")))
    for zone, positive, free in (("core", 3, 1), ("0-250", 1, 1), ("all", 4, 2), ("250-500", 0, 0)):
        row = pick(table, zone)
        assert (row["positive_um2"], row["positive_free_um2"]) == (positive, pytest.approx(free))
    assert np.isnan(pick(table, "core", "CD31")["positive_free_um2"])
    dim = section_rows(row_of(record), at(FN=20, CD31=2000), config_of(("FN", "CD31")))
    assert pick(dim, "all")["positive_free_um2"] == pytest.approx(4)  # no vessel is that bright
    record.joint = {}
    assert np.isnan(pick(section_rows(row_of(record), at(FN=20, CD31=20), config_of(("FN", "CD31"))), "all")["positive_free_um2"])


def test_tables_conform_and_failed_sections_have_no_rows(config_of, record_of, row_of):
    failed = row_of(None, section="s2")
    good = row_of(record_of({"FN": [1, 50]}, [-5, 5]))
    table = section_table([failed, good], at(FN=20), config_of(("FN",)))
    assert set(table["section"]) == {"s1"}
    assert SECTIONS.problems(table) == []
    assert section_rows(failed, at(FN=20), config_of(("FN",))).empty


def test_missing_and_unsnapped_thresholds_are_refused(config_of, record_of, row_of):
    with pytest.raises(SevhistoError, match="marker FN"):
        section_rows(row_of(record_of({"FN": [1]})), {}, config_of(("FN",)))
    with pytest.raises(ValueError, match="no edge"):
        threshold_bin(20.01)


def test_spots_at_or_above_their_own_threshold_are_counted_in_their_zone(config_of, record_of, row_of):
    record = record_of({"FN": [0, 0, 0]}, [-100, 100, 300])
    edge = snap_threshold(12)
    record.puncta = {"FN": np.zeros((2, N_DISTANCE, N_INTENSITY), np.int64)}
    for far, contrast, n in ((-100, edge, 3), (-100, edge - 1 / 16, 5), (100, 500, 7), (300, 1, 9)):
        place = np.searchsorted(DISTANCE_EDGES_UM, far, side="right")
        record.puncta["FN"][1, place, np.searchsorted(INTENSITY_EDGES, contrast, side="right")] += n
    record.meta["focus"] = {"FN": 1.25}
    threshold = {("A", "b1", "FN"): Threshold(snap_threshold(20), "fixed", 20, 0, puncta=edge)}
    table = section_rows(row_of(record), threshold, config_of(("FN",), channels={"FN": {"role": "tracer"}}))
    assert [pick(table, z)["n_puncta"] for z in ("core", "0-250", "250-500", "all")] == [3, 7, 0, 10]
    assert set(table["puncta_threshold"]) == {edge} and set(table["focus"]) == {1.25}


def test_without_a_threshold_or_a_search_the_number_of_spots_is_not_known(config_of, record_of, row_of):
    record = record_of({"FN": [0, 0, 0]})
    config = config_of(("FN",), channels={"FN": {"role": "tracer"}})
    threshold = {("A", "b1", "FN"): Threshold(snap_threshold(20), "fixed", 20, 0, puncta=0.0)}
    assert section_rows(row_of(record), threshold, config)["n_puncta"].isna().all()
    record.puncta = {"FN": np.zeros((2, N_DISTANCE, N_INTENSITY), np.int64)}
    table = section_rows(row_of(record), at(FN=20), config)
    assert table[["n_puncta", "puncta_threshold", "focus"]].isna().all(axis=None)


def test_the_area_that_autofluorescence_explains_is_counted_at_any_threshold(config_of, record_of, row_of):
    record = record_of({"FN": [0, 30, 90]}, [-10, -10, 100], um_per_px=0.5)
    record.autofluorescent = {"FN": np.zeros((2, N_JOINT_DISTANCE, N_INTENSITY), np.int64)}
    for distance, before, after, n in ((-10, 60, 5, 8), (-10, 25, 15, 4), (120, 80, 30, 12)):
        place = np.searchsorted(JOINT_DISTANCE_EDGES_UM, distance, side="right")
        for value, sign in ((before, 1), (after, -1)):
            record.autofluorescent["FN"][1, place, np.searchsorted(INTENSITY_EDGES, value, side="right")] += sign * n
    for threshold, core, ring in ((20, 12, 0), (40, 8, 12), (100, 0, 0)):
        table = section_rows(row_of(record), at(FN=threshold), config_of(("FN",)))
        found = [pick(table, z)["autofluorescent_um2"] for z in ("core", "0-250", "250-500", "all")]
        assert found == [core * 0.25, ring * 0.25, 0, (core + ring) * 0.25]
    record.autofluorescent = {}
    assert section_rows(row_of(record), at(FN=20), config_of(("FN",)))["autofluorescent_um2"].isna().all()


def test_area_over_the_local_background_is_a_share_of_the_exact_zone(config_of, record_of, row_of):
    record = record_of({"FN": [0] * 10 + [90] * 6}, [-10] * 10 + [100] * 6, um_per_px=0.5)
    record.local = {"FN": np.zeros((2, N_JOINT_DISTANCE, N_INTENSITY), np.int64)}
    for distance, value, n in ((-10, 5, 8), (-10, 60, 4), (120, 30, 8)):
        place = np.searchsorted(JOINT_DISTANCE_EDGES_UM, distance, side="right")
        record.local["FN"][1, place, np.searchsorted(INTENSITY_EDGES, value, side="right")] += n
    edge = snap_threshold(20)
    threshold = {("A", "b1", "FN"): Threshold(snap_threshold(50), "no_primary", 50, 1, local=edge)}
    table = section_rows(row_of(record), threshold, config_of(("FN",)))
    found = [pick(table, z)["positive_local_um2"] for z in ("core", "0-250", "250-500")]
    assert found == pytest.approx([10 * 0.25 * 4 / 12, 6 * 0.25, 0])
    assert set(table["local_threshold"]) == {edge}
    unknown = section_rows(row_of(record), at(FN=20), config_of(("FN",)))
    assert np.isnan(pick(unknown, "core")["positive_local_um2"])
    assert pick(unknown, "250-500")["positive_local_um2"] == 0  # no tissue, no area
    record.local = {}
    assert section_rows(row_of(record), threshold, config_of(("FN",)))["positive_local_um2"].isna().all()


def test_uptake_is_told_beside_what_random_placement_would_give(config_of, record_of, row_of):
    """Four cells: CD68+ CD206+ and CD68+ CD206- in the core, CD206+ outside, and one that is no macrophage."""
    names = ("DAPI", "CD68", "CD206", "FN")
    config = config_of(names, channels={"FN": {"role": "tracer"}})
    bright, dark = np.array([50.0] * 4), np.array([0.0] * 4)
    cells = {"y_um": range(4), "x_um": range(4), "distance_um": [-100, -50, 100, -20], "side": [0] * 4, "area_um2": [9] * 4}
    levels = {"DAPI": bright, "CD68": [50, 50, 50, 0], "CD206": [50, 0, 50, 50], "FN": dark}
    cells |= {f"{m}_{part}": v for m, v in levels.items() for part in ("nucleus", "ring")} | {"footprint_um2": [20, 30, 40, 50]}
    record = record_of({m: np.zeros(1000) for m in names}, [-50] * 600 + [100] * 400, um_per_px=2.0, cells=cells)
    edge = float(JOINT_EDGES[40])
    record.puncta = {"FN": np.zeros((2, N_DISTANCE, N_INTENSITY), np.int64)}
    for far, n in ((-50, 12), (100, 8)):
        place = np.searchsorted(DISTANCE_EDGES_UM, far, side="right")
        for value, times in ((edge, 1), (float(JOINT_EDGES[35]), 10)):  # those at the edge count, the others are noise
            record.puncta["FN"][0, place, np.searchsorted(INTENSITY_EDGES, value, side="right")] += n * times
    record.cell_spots = {"FN": np.array([[0, 36, 9], [0, 41, 5], [1, 41, 1], [2, 41, 3], [2, 50, 1], [3, 41, 7]])}
    thresholds = at(DAPI=20, CD68=20, CD206=20) | {("A", "b1", "FN"): Threshold(snap_threshold(20), "fixed", 20, 0, puncta=edge)}
    table = section_rows(row_of(record), thresholds, config)
    core, ring, whole = (pick(table, zone) for zone in ("core", "0-250", "all"))
    assert core[["cd206_pos_cells", "cd206_pos_puncta", "cd206_neg_cells", "cd206_neg_puncta"]].tolist() == [1, 5, 1, 1]
    assert ring[["cd206_pos_cells", "cd206_pos_puncta", "cd206_neg_cells", "cd206_neg_puncta"]].tolist() == [1, 4, 0, 0]
    assert core["cd206_pos_expected"] == pytest.approx(12 / (600 * 4) * 20)
    assert core["cd206_neg_expected"] == pytest.approx(12 / (600 * 4) * 30)
    assert whole["cd206_pos_expected"] == pytest.approx(20 / (1000 * 4) * (20 + 40))
    columns = [f"cd206_{sign}_{part}" for sign in ("pos", "neg") for part in ("cells", "puncta", "expected")]
    assert pick(table, "core", "CD68")[columns].isna().all()
    record.cell_spots = {}
    assert section_rows(row_of(record), thresholds, config)[columns].isna().all(axis=None)


@pytest.mark.parametrize(("bright", "source", "told"), [(15, "no_primary", False), (25, "no_primary", True), (25, "uninjured", False)])
def test_autofluorescence_that_no_control_shows_is_told(config_of, record_of, row_of, bright, source, told):
    """Of the control's tissue 0.5 % lies above; more than four times as much, 20 pixels of 1000, is another kind of tissue."""
    record = record_of({"FN": np.zeros(1000), "AF": [90.0] * bright + [0.0] * (1000 - bright)})
    thresholds = at(FN=20) | {("A", "b1", "AF"): Threshold(snap_threshold(40), source, 40, 1)}
    table = section_rows(row_of(record), thresholds, config_of(("FN", "AF")))
    assert set(table["flags"]) == ({"autofluorescence_beyond_controls"} if told else {""})
    control = section_rows(row_of(record, role="unstained"), thresholds, config_of(("FN", "AF")))
    assert set(control["flags"]) == {""}


def test_a_marker_that_drew_the_outline_is_flagged_circular_and_so_is_its_subset(record_of, row_of, config_of):
    record = record_of({"CD68": [1, 50], "CD206": [1, 50], "FN": [1, 50]})
    record.meta.update(core_markers=["CD68"], core_confidence=0.7)
    table = section_rows(row_of(record), at(CD68=20, CD206=20, FN=20), config_of(("CD68", "CD206", "FN")))
    flagged = table["flags"].str.contains("circular")
    assert set(table.loc[flagged, "marker"]) == {"CD68", "CD206"} and set(table.loc[~flagged, "marker"]) == {"FN"}
    assert set(table["core_confidence"]) == {0.7}
