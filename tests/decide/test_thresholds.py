from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevhisto.decide.histograms import histogram_median_mad, histogram_quantile
from sevhisto.decide.thresholds import find_thresholds, scale_thresholds
from sevhisto.types import INTENSITY_EDGES, N_DISTANCE, N_INTENSITY, N_JOINT_DISTANCE, NO_DISTANCE, SevhistoError, snap_threshold


def histogram(values):
    return np.bincount(np.searchsorted(INTENSITY_EDGES, values, side="right"), minlength=N_INTENSITY)


def bin_width(value):
    i = np.clip(np.searchsorted(INTENSITY_EDGES, value, side="right"), 1, len(INTENSITY_EDGES) - 1)
    return INTENSITY_EDGES[i] - INTENSITY_EDGES[i - 1]


@given(seed=st.integers(0, 999), share=st.floats(0.05, 0.995))
@settings(max_examples=30, deadline=None)
def test_quantile_and_mad_agree_with_the_pixels_within_a_bin(seed, share):
    rng = np.random.default_rng(seed)
    values = rng.normal(rng.uniform(-20, 200), rng.uniform(5, 40), 4001)
    counts = histogram(values)
    truth = np.quantile(values, share)
    assert histogram_quantile(counts, share) == pytest.approx(truth, abs=1.5 * bin_width(truth))
    median, mad = histogram_median_mad(counts)
    assert median == pytest.approx(np.median(values), abs=1.5 * bin_width(np.median(values)))
    assert mad == pytest.approx(np.median(np.abs(values - np.median(values))), abs=2 * bin_width(np.median(values) + 40))


@pytest.fixture
def study(record_of, row_of):
    """Sections of every role, each with its own level, in one batch; leave out roles to walk down the ladder."""
    rng = np.random.default_rng(0)
    level = {"no_primary": 5, "unstained": 3, "uninjured": 10, "sample": 30, "bridge": 30}

    def make(*roles, markers=("FN",), scale=1.0):
        rows = []
        for i, role in enumerate(roles):
            values = {m: np.rint(rng.normal(level[role] * scale, 2 * scale, 3000) * 16) / 16 for m in markers}
            rows.append(row_of(record_of(values), section=f"s{i}", role=role))
        return rows

    return make


@pytest.mark.parametrize(
    ("roles", "source", "n", "flags"),
    [
        (("sample", "uninjured", "unstained", "no_primary", "no_primary"), "no_primary", 2, set()),
        (("sample", "uninjured", "unstained"), "unstained", 1, set()),
        (("sample", "uninjured"), "uninjured", 1, set()),
        (("sample", "sample", "bridge"), "batch", 3, {"threshold_fallback"}),
    ],
)
def test_the_best_rung_that_has_sections_is_taken(study, config_of, roles, source, n, flags):
    rows = study(*roles)
    found = find_thresholds(rows, config_of(("FN",)))["A", "b1", "FN"]
    assert (found.source, found.n_controls, set(found.flags)) == (source, n, flags)
    assert found.value in INTENSITY_EDGES
    assert found.value == snap_threshold(found.raw)
    assert found.value == find_thresholds(rows[::-1], config_of(("FN",)))["A", "b1", "FN"].value


def test_control_percentile_leaves_its_share_of_the_control_positive(study, config_of, row_of):
    rows = study("no_primary", "sample")
    found = find_thresholds(rows, config_of(("FN",)))["A", "b1", "FN"]
    record = rows[0].record
    above = record.counts[..., np.searchsorted(INTENSITY_EDGES, found.value) + 1 :].sum() / record.counts.sum()
    assert above == pytest.approx(0.005, abs=0.004)


def test_order_of_the_ladder_is_the_users(study, config_of):
    rows = study("no_primary", "uninjured", "sample")
    config = config_of(("FN",), thresholds={"ladder": ["uninjured", "no_primary"]})
    assert find_thresholds(rows, config)["A", "b1", "FN"].source == "uninjured"


def test_the_counterstain_is_on_no_primary_slides_so_it_skips_them(study, config_of):
    rows = study("no_primary", "unstained", "sample", markers=("DAPI", "FN"))
    found = find_thresholds(rows, config_of(("DAPI", "FN")))
    assert found["A", "b1", "DAPI"].source == "unstained"
    assert found["A", "b1", "FN"].source == "no_primary"


def test_a_fixed_threshold_comes_first_and_is_snapped_and_flagged(study, config_of):
    config = config_of(("FN",), channels={"FN": {"threshold": 41.3}})
    found = find_thresholds(study("no_primary", "sample"), config)["A", "b1", "FN"]
    assert (found.value, found.source, found.raw) == (snap_threshold(41.3), "fixed", 41.3)
    assert found.flags == {"threshold_fixed"}


@pytest.mark.parametrize("role", ["no_primary", "uninjured", "sample"])
def test_the_threshold_falls_as_the_signal_of_its_rung_falls(study, config_of, role):
    values = [find_thresholds(study(role, scale=s), config_of(("FN",)))["A", "b1", "FN"].value for s in (4, 2, 1, 0.5)]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == 4


def test_a_constant_control_does_not_call_itself_positive(record_of, row_of, config_of):
    for role in ("no_primary", "uninjured"):
        found = find_thresholds([row_of(record_of({"FN": np.full(50, 100.0)}), role=role)], config_of(("FN",)))
        assert found["A", "b1", "FN"].value > 100


def test_no_rung_is_an_error_that_names_panel_batch_and_marker(study, config_of):
    config = config_of(("FN",), thresholds={"ladder": ["no_primary"]})
    with pytest.raises(SevhistoError, match="panel A, batch b1, marker FN"):
        find_thresholds(study("sample"), config)


def test_batches_without_tissue_of_an_animal_need_no_threshold(study, record_of, row_of, config_of):
    config = config_of(("DAPI",))
    empty = row_of(record_of({"DAPI": []}))
    for rows in ([empty], study("no_primary", markers=("DAPI",))):
        found = find_thresholds(rows, config)["A", "b1", "DAPI"]
        assert np.isnan(found.value)
        assert (found.source, found.flags) == ("none", {"no_threshold"})


def test_failed_sections_are_passed_over_and_scaling_snaps_again(study, row_of, config_of):
    found = find_thresholds([row_of(None, section="x"), *study("no_primary")], config_of(("FN",)))
    (scaled,) = scale_thresholds(found, 1.3).values()
    assert scaled.value == snap_threshold(1.3 * found["A", "b1", "FN"].raw)


def spotted(row, contrasts):
    """The section with spots of these contrasts, in tissue without a lesion."""
    row.record.puncta = {"FN": np.zeros((2, N_DISTANCE, N_INTENSITY), np.int64)}
    row.record.puncta["FN"][0, NO_DISTANCE] = histogram(contrasts)
    return row


def test_so_many_spots_of_tissue_without_the_label_pass_as_are_allowed_per_mm2(study, config_of):
    rng = np.random.default_rng(1)
    first, second, unstained, sample = study("no_primary", "no_primary", "unstained", "sample")
    noise = rng.gamma(2, 4, 6000)
    rows = [spotted(first, noise[:1000]), spotted(second, noise[1000:]), spotted(unstained, noise * 9), spotted(sample, noise * 50)]
    mm2 = sum(row.record.counts[0].sum() * row.record.px_um2 for row in (first, second)) * 1e-6
    for allowed in (30, 600):
        config = config_of(("FN",), thresholds={"false_puncta_per_mm2": allowed / mm2})
        found = find_thresholds(rows, config)["A", "b1", "FN"]
        below = INTENSITY_EDGES[np.searchsorted(INTENSITY_EDGES, found.puncta) - 1]
        assert (noise >= found.puncta).sum() <= allowed < (noise >= below).sum()
    (scaled,) = scale_thresholds({("A", "b1", "FN"): found}, 2.0).values()
    assert scaled.puncta == snap_threshold(2 * found.puncta)


def test_spots_of_a_control_without_any_give_a_threshold_of_zero_and_no_control_gives_none(study, config_of):
    control, sample = study("no_primary", "sample")
    found = find_thresholds([spotted(control, []), spotted(sample, [5, 6])], config_of(("FN",)))["A", "b1", "FN"]
    assert found.puncta == 0
    strict = config_of(("FN",), thresholds={"false_puncta_per_mm2": 1e-6})
    found = find_thresholds([spotted(control, [5, 900]), spotted(sample, [5, 6])], strict)["A", "b1", "FN"]
    assert 900 < found.puncta <= 930  # a small control: none of its spots may pass
    for rows in ([spotted(sample, [5, 6])], study("no_primary", "sample")):
        assert np.isnan(find_thresholds(rows, config_of(("FN",)))["A", "b1", "FN"].puncta)


def test_a_dye_of_matrix_stands_on_no_rung(study, config_of):
    rows = study("sample", "uninjured", "no_primary")
    for row in rows:
        row.record.meta["dyes"] = ["FN"]
    found = find_thresholds(rows, config_of(("FN",)))["A", "b1", "FN"]
    assert (found.source, found.value, found.raw) == ("dye", snap_threshold(100), 100)
    lower = find_thresholds(rows, config_of(("FN",), thresholds={"dye_excess": 60.0}))["A", "b1", "FN"]
    assert lower.value == snap_threshold(60)
    fixed = find_thresholds(rows, config_of(("FN",), channels={"FN": {"threshold": 20.0}}))["A", "b1", "FN"]
    assert (fixed.source, fixed.value) == ("fixed", snap_threshold(20))


def test_a_cell_needs_half_of_the_median_positive_pixel_of_its_batch(record_of, row_of, config_of):
    rng = np.random.default_rng(2)
    noise, positive = rng.normal(5, 2, 3000), rng.normal(300, 40, 600)
    control = row_of(record_of({"FN": noise}), section="c", role="no_primary")
    samples = [
        row_of(record_of({"FN": np.append(noise, part)}), section=f"s{i}") for i, part in enumerate((positive[:100], positive[100:]))
    ]
    found = find_thresholds([control, *samples], config_of(("FN",)))["A", "b1", "FN"]
    assert found.of_cells == pytest.approx(np.median(positive) / 2, rel=0.03)
    assert found.value < 15  # that of pixels is still the control's
    (scaled,) = scale_thresholds({("A", "b1", "FN"): found}, 1.2).values()
    assert scaled.of_cells == pytest.approx(1.2 * found.of_cells)


def test_where_half_of_the_positive_is_below_the_threshold_cells_have_the_threshold_of_pixels(study, config_of):
    for rows in (study("no_primary"), study("no_primary", "sample", scale=0.2)):
        found = find_thresholds(rows, config_of(("FN",)))["A", "b1", "FN"]
        assert found.of_cells >= found.value
    assert np.isnan(find_thresholds(study("no_primary"), config_of(("FN",)))["A", "b1", "FN"].cells)


def test_the_threshold_over_the_local_background_stands_on_the_same_rung(study, config_of):
    rows = study("sample", "no_primary")
    assert np.isnan(find_thresholds(rows, config_of(("FN",)))["A", "b1", "FN"].local)
    for row, values in zip(rows, ([20.0] * 50, [1.0] * 990 + [4.0] * 10), strict=True):
        row.record.local = {"FN": np.zeros((2, N_JOINT_DISTANCE, N_INTENSITY), np.int64)}
        row.record.local["FN"][0, -1] = histogram(values)
    found = find_thresholds(rows, config_of(("FN",)))["A", "b1", "FN"]
    assert found.source == "no_primary"
    assert found.local == pytest.approx(4, abs=0.3)
    fixed = config_of(("FN",), channels={"FN": {"threshold": 50}})
    assert find_thresholds(rows, fixed)["A", "b1", "FN"].local == snap_threshold(50)
