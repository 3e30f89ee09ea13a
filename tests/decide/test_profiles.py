from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sevhisto.decide.animal_table import animal_table
from sevhisto.decide.profiles import BORDER_UM, BorderPool, profile_table
from sevhisto.decide.rows import summarise
from sevhisto.decide.section_table import section_table
from sevhisto.decide.thresholds import Threshold, find_thresholds
from sevhisto.schema import PROFILES
from sevhisto.types import JOINT_DISTANCE_EDGES_UM, snap_threshold

T = {("A", "b1", "FN"): Threshold(snap_threshold(20), "fixed", 20, 0)}


def status_of(rows):
    names = ("animal", "section", "panel", "position_um", "role", "status", "reason")
    return pd.DataFrame([{n: getattr(r, n) for n in names} for r in rows]).assign(file="", flags="")


def run(rows, config):
    border = BorderPool()
    for row in rows:
        border.add(row)
    sections = section_table(rows, T, config)
    return profile_table(sections, status_of(rows), border.rows(T))


def test_border_profile_equals_counting_pixels(config_of, record_of, row_of):
    rng = np.random.default_rng(3)
    values, distance = rng.integers(0, 60, (2, 700)) * 1.0, rng.uniform(-1700, 3200, (2, 700))
    rows = [row_of(record_of({"FN": v}, d, um_per_px=2.0), section=f"s{i}") for i, (v, d) in enumerate(zip(values, distance, strict=True))]
    table = run(rows, config_of(("FN",)))
    assert PROFILES.problems(table) == []
    border = table[table.axis == "border"].set_index("position_um")
    bins = np.searchsorted(JOINT_DISTANCE_EDGES_UM, distance, side="right")
    for i, low in enumerate(BORDER_UM):
        assert border.loc[low, "zone_um2"] == pytest.approx(4 * (bins == i).sum())
        assert border.loc[low, "positive_um2"] == pytest.approx(4 * ((bins == i) & (values >= snap_threshold(20))).sum())
        assert border.loc[low, "signal_sum"] == pytest.approx(4 * values[bins == i].sum())


def test_cord_profile_is_relative_to_the_epicentre(config_of, record_of, row_of):
    rows = []
    for i, core in enumerate([1, 2, 9, 2, 1]):
        record = record_of({"FN": np.full(20, 50.0 * i)}, np.where(np.arange(20) < core, -5, 5))
        rows.append(row_of(record, section=f"s{i}", position_um=1000 + 200.0 * i))
    rows.append(row_of(record_of({"FN": [1.0]}), animal="c", role="no_primary"))
    table = run(rows, config_of(("FN",)))
    cord = table[table.axis == "cord"]
    assert set(table.animal) == {"a1"}
    assert cord.position_um.tolist() == [-400, -200, 0, 200, 400]
    assert cord.signal_sum.tolist() == [0, 1000, 2000, 3000, 4000]
    assert cord.positive_um2.tolist() == [0, 20, 20, 20, 20]
    assert set(cord["flags"]) == {""}


def test_without_a_lesion_the_cord_profile_is_centred_and_says_so(config_of, record_of, row_of):
    rows = [row_of(record_of({"FN": [1.0]}), section=f"s{i}", position_um=100.0 * i, role="uninjured") for i in range(3)]
    table = run(rows, config_of(("FN",)))
    assert set(table.axis) == {"cord"}
    assert table.position_um.tolist() == [-100, 0, 100]
    assert set(table["flags"]) == {"no_lesion"}


def test_records_to_animals_end_to_end(config_of, record_of, row_of):
    """Known truth through every stage: control, thresholds, zones, sums, volume."""
    config = config_of(("FN",), thresholds={"percentile": 99.0})
    control = row_of(record_of({"FN": np.arange(0, 100) / 10}), animal="k", section="k", role="no_primary")
    rows = [control]
    for i in range(5):
        distance = np.repeat([-5.0, 100.0], 50)
        values = np.where(np.arange(100) % 50 < 10 + i, 200.0, 1.0)
        rows.append(row_of(record_of({"FN": values}, distance, um_per_px=10.0), section=f"s{i}", position_um=200.0 * i))
    rows.append(row_of(None, section="lost", position_um=500.0))
    measured = [summarise(r, config) for r in rows if r.record is not None]
    thresholds = find_thresholds(measured, config)
    assert thresholds["A", "b1", "FN"].value == pytest.approx(9.9, abs=0.3)
    table = animal_table(section_table(measured, thresholds, config), status_of(rows), config)
    found = {(r.zone, r.metric): r for r in table[table.marker == "FN"].itertuples()}
    assert found["core", "area_um2"].value == 100 * (10 + 11 + 12 + 13 + 14)
    assert found["0-250", "fraction_pct"].value == pytest.approx(100 * 60 / 250)
    assert found["core", "positive_volume_mm3"].value == pytest.approx(200 * 100 * (60 + 12.5) * 1e-9)
    assert set(found["core", "positive_volume_mm3"].flags.split(";")) >= {"sections_missing"}
