"""Controls: which stand behind a threshold, what they say against each other, and thresholds of each image when asked for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sevhisto.decide.animal_table import animal_table
from sevhisto.decide.controls import missing_controls
from sevhisto.decide.histograms import histogram_otsu
from sevhisto.decide.profiles import BorderPool, profile_table
from sevhisto.decide.section_table import section_table
from sevhisto.decide.thresholds import find_thresholds, scale_thresholds
from sevhisto.schema import STATUS
from sevhisto.types import INTENSITY_EDGES, N_INTENSITY, snap_threshold


@pytest.fixture
def of_levels(record_of, row_of):
    """One section a role with the given mean (grey levels), named after its role."""

    def make(marker="FN", flags=None, **levels):
        rng = np.random.default_rng(3)
        rows = []
        for role, level in levels.items():
            values = np.rint(rng.normal(level, 2, 3000) * 16) / 16
            rows.append(row_of(record_of({marker: values}, flags=(flags or {}).get(role, ())), "c", role, role=role))
        return rows

    return make


def test_every_row_names_the_controls_behind_its_threshold(of_levels, config_of):
    rows, config = of_levels(no_primary=1, unstained=1, sample=40), config_of(("FN",))
    thresholds = find_thresholds(rows, config)
    assert thresholds["A", "b1", "FN"].controls == ("c/no_primary",)
    table = section_table(rows, thresholds, config)
    assert set(table["threshold_controls"]) == {"c/no_primary"} and not any("control" in f for f in table["flags"])
    fallback = find_thresholds(of_levels(sample=40, bridge=40), config)["A", "b1", "FN"]
    assert fallback.told_controls == "all 2 of the batch" and fallback.controls == ("c/sample", "c/bridge")


@pytest.mark.parametrize(
    ("levels", "flag", "said"),
    [
        ({"no_primary": 90, "sample": 40}, "control_above_samples", "no_primary (c/no_primary) is brighter than samples"),
        ({"unstained": 90, "sample": 40}, "control_above_samples", "unstained (c/unstained) is brighter than samples"),
        ({"no_primary": 5, "unstained": 30, "sample": 40}, "controls_contradict", "unstained (c/unstained) is brighter than no_primary"),
    ],
)
def test_contradictions_are_flagged_and_told_and_the_number_stays(of_levels, config_of, levels, flag, said):
    rows, config = of_levels(**levels), config_of(("FN",))
    threshold = find_thresholds(rows, config)["A", "b1", "FN"]
    assert flag in threshold.flags and said in threshold.doubts[flag] and "panel A, batch b1, marker FN" in threshold.doubts[flag]
    assert np.isfinite(threshold.value)
    assert section_table(rows, {("A", "b1", "FN"): threshold}, config)["flags"].str.contains(flag).all()


def test_what_is_as_it_should_be_is_not_doubted(of_levels, config_of):
    for levels in ({"no_primary": 40, "sample": 40}, {"no_primary": 2, "unstained": 3, "uninjured": 40, "sample": 20}):
        assert not find_thresholds(of_levels(**levels), config_of(("FN",)))["A", "b1", "FN"].doubts
    nuclear = of_levels(marker="DAPI", no_primary=200, unstained=1, sample=100)  # the counterstain is on no_primary slides
    assert not find_thresholds(nuclear, config_of(("DAPI",)))["A", "b1", "DAPI"].doubts


def test_a_saturated_control_is_told(of_levels, config_of):
    rows = of_levels(no_primary=1, sample=40, flags={"no_primary": ("saturated",)})
    threshold = find_thresholds(rows, config_of(("FN",)))["A", "b1", "FN"]
    assert threshold.flags == {"control_saturated"} and "control c/no_primary is saturated" in threshold.doubts["control_saturated"]


def test_batches_without_controls_and_controls_without_animals_are_noted():
    rows = [("A", "b1", "sample", "f"), ("A", "b1", "no_primary", "f"), ("A", "b2", "sample", "f"), ("A", "b3", "unstained", "f")]
    rows += [("B", "b1", "sample", "f"), ("B", "b1", "no_primary", "")]  # its control was lost
    notes = missing_controls(pd.DataFrame(rows, columns=["panel", "batch", "role", "file"]))
    assert len(notes) == 3
    assert (
        notes[0].startswith("panel A, batch 'b2': no unstained, no_primary or uninjured section")
        and "those of b1, b3 do not count" in notes[0]
    )
    assert notes[1].startswith("panel A, batch 'b3': holds controls only")
    assert notes[2].startswith("panel B, batch 'b1': no unstained") and "do not count" not in notes[2]


def test_otsu_of_a_histogram_parts_two_heaps():
    values = np.concatenate([np.random.default_rng(0).normal(m, 4, 5000) for m in (20, 120)])
    counts = np.bincount(np.searchsorted(INTENSITY_EDGES, values, side="right"), minlength=N_INTENSITY)
    assert 30 < histogram_otsu(counts) < 110
    assert np.isnan(histogram_otsu(np.bincount([7, 7], minlength=N_INTENSITY))) and np.isnan(histogram_otsu(np.zeros(N_INTENSITY)))


def test_thresholds_of_each_image_only_when_asked_for_and_said_in_every_table(record_of, row_of, config_of):
    rng = np.random.default_rng(5)

    def section(name, level, role="sample"):
        values = np.concatenate([rng.normal(0, 3, 3000), rng.normal(level, 3, 1000)])
        return row_of(record_of({"FN": np.rint(values * 16) / 16}, np.tile([-5.0, 100.0], 2000)), "a", name, role=role)

    rows = [section("s1", 40), section("s2", 200), section("c", 0, "no_primary")]
    assert "threshold_per_image" not in "".join(find_thresholds(rows, config_of(("FN",)))["A", "b1", "FN"].flags)
    config = config_of(("FN",), thresholds={"per_image": True})
    thresholds = find_thresholds(rows, config)
    table = section_table(rows, thresholds, config)
    own = table[table["zone"] == "all"].set_index("section")["threshold"]
    assert 8 < own["s1"] < 35 < own["s2"] < 190 and own["s1"] == snap_threshold(own["s1"])
    assert (table["threshold_source"] == "per_image").all() and table["flags"].str.contains("threshold_per_image").all()
    higher = section_table(rows, scale_thresholds(thresholds, 1.3), config)
    assert higher["threshold"].iloc[0] == pytest.approx(1.3 * table["threshold"].iloc[0], rel=0.03)
    status = pd.DataFrame(
        [{**dict.fromkeys(STATUS.names, ""), "animal": "a", "section": s, "panel": "A", "status": "ok"} for s in ("s1", "s2")]
    )
    status = status.assign(core_confidence=np.nan, position_um=[0.0, 200.0], role="sample")
    animals = animal_table(table, status, config)
    assert animals.loc[animals["marker"] == "FN", "flags"].str.contains("threshold_per_image").all()
    border = BorderPool(per_section=True)
    for row in rows:
        border.add(row)
    profile = profile_table(table, status, border.rows(thresholds))
    assert profile["flags"].str.contains("threshold_per_image").all()
    positive = profile[profile["axis"] == "border"]["positive_um2"].sum()
    assert positive == table.loc[(table["zone"] == "all") & (table["section"] != "c"), "positive_um2"].sum()
