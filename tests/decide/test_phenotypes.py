"""Kinds of cells by rules: counted cell by cell, pixels against a recount, and shares with their denominators."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevhisto.config import StudyConfig, ZoneSettings, parse_config
from sevhisto.decide.animal_table import animal_table
from sevhisto.decide.section_table import section_rows
from sevhisto.decide.thresholds import Threshold
from sevhisto.schema import STATUS
from sevhisto.types import INTENSITY_EDGES, StudyError, snap_threshold

MARKERS = ("DAPI", "CD68", "CD206", "GFAP")
RULES = {"double": "CD68 and CD206", "only": "CD68 and not CD206", "neither": "not (CD68 or CD206)", "all3": "CD68 and CD206 and GFAP"}


def with_rules(config: StudyConfig, rules: dict[str, str]) -> StudyConfig:
    data = config.model_dump(mode="json", exclude_defaults=True)
    data["panels"]["A"]["phenotypes"] = rules
    return parse_config(data)


def at(**values: float) -> dict[tuple[str, str, str], Threshold]:
    return {("A", "b1", m): Threshold(snap_threshold(v), "batch", v, 1) for m, v in values.items()}


def pick(table: pd.DataFrame, zone: str, marker: str) -> pd.Series:
    return table[(table["zone"] == zone) & (table["marker"] == marker)].iloc[0]


CELLS = {
    "distance_um": [-5, -5, 100, 100, 400],
    "side": [0, 0, 0, 0, 0],
    "DAPI_nucleus": [9, 9, 9, 9, 9],
    "CD68_ring": [50, 50, 50, 1, 1],
    "CD206_ring": [50, 1, 50, 50, 1],
    "GFAP_ring": [1, 1, 50, 1, 1],
}


def test_cells_are_counted_by_rule_and_shares_name_their_denominator(config_of, record_of, row_of):
    config = with_rules(config_of(MARKERS), RULES)
    row = row_of(record_of({m: [1, 1] for m in MARKERS}, [-5, 100], cells=CELLS, um_per_px=1000.0))
    table = section_rows(row, at(**dict.fromkeys(MARKERS, 20)), config)
    assert {n: pick(table, "all", n)["n_cells"] for n in RULES} == {"double": 2, "only": 1, "neither": 1, "all3": 1}
    assert {n: pick(table, "core", n)["n_cells"] for n in RULES} == {"double": 1, "only": 1, "neither": 0, "all3": 0}
    assert set(table.loc[table["marker"] == "double", "threshold_source"]) == {"rule"}
    status = pd.DataFrame([{**dict.fromkeys(STATUS.names, ""), "animal": "a1", "section": "s1", "panel": "A", "status": "ok"}])
    animals = animal_table(table, status.assign(core_confidence=np.nan, position_um=0.0, role="sample"), config)
    here = animals[(animals["zone"] == "all")].set_index(["marker", "metric"])["value"]
    assert here["double", "count"] == 2 and here["double", "density_per_mm2"] == 1
    assert here["double", "fraction_of_cells_pct"] == 40
    assert here["double", "fraction_of_cd68_pct"] == pytest.approx(200 / 3)
    assert here["double", "fraction_of_cd206_pct"] == pytest.approx(200 / 3)
    assert here["only", "fraction_of_cd68_pct"] == pytest.approx(100 / 3) and ("only", "fraction_of_cd206_pct") not in here
    assert [m for n, m in here.index if n == "neither" and m.startswith("fraction_of")] == ["fraction_of_cells_pct"]
    core = animals[(animals["zone"] == "250-500") & (animals["metric"] == "fraction_of_cd68_pct") & (animals["marker"] == "double")].iloc[0]
    assert np.isnan(core["value"]) and "empty_denominator" in core["flags"]


@given(seed=st.integers(0, 10**6), edges=st.tuples(st.integers(160, 380), st.integers(160, 380)))
@settings(max_examples=15, deadline=None)
def test_areas_of_a_rule_equal_a_recount_where_no_bin_is_cut_and_nearly_elsewhere(config_of, record_of, row_of, seed, edges):
    rng = np.random.default_rng(seed)
    values = {m: np.rint(rng.gamma(1, 60, 2000) * 16 - 80) / 16 for m in ("DAPI", "CD68", "CD206")}
    distance = rng.uniform(-300, 900, 2000)
    limits = [float(INTENSITY_EDGES[e]) for e in edges]
    config = with_rules(config_of(("DAPI", "CD68", "CD206")), {**RULES, "all3": "not CD68", "either": "CD68 or CD206"})
    record = record_of(values, distance, pairs=(("CD206", "CD68"),))
    table = section_rows(row_of(record), at(DAPI=20, CD68=limits[0], CD206=limits[1]), config)
    a, b = values["CD68"] >= limits[0], values["CD206"] >= limits[1]
    wanted = {"double": a & b, "only": a & ~b, "neither": ~(a | b), "either": a | b, "all3": ~a}
    for zone, (low, high) in ZoneSettings().ranges.items():
        inside = (distance >= low) & (distance < high)
        for name, truth in wanted.items():
            tolerance = 0 if name == "all3" else 3 * np.sqrt(0.06 * inside.sum()) + 1  # a coarse bin holds a few per cent
            assert pick(table, zone, name)["positive_um2"] == pytest.approx((inside & truth).sum(), abs=tolerance)
        parts = [pick(table, zone, n)["positive_um2"] for n in ("double", "only", "neither")]
        both = pick(table, zone, "CD206")["positive_um2"]
        assert sum(parts) + (both - parts[0]) == pytest.approx(inside.sum(), abs=2 + 0.02 * inside.sum())


def test_without_a_joint_tally_the_area_of_two_markers_is_not_known_and_no_number(config_of, record_of, row_of):
    config = with_rules(config_of(MARKERS), {"x": "CD68 and GFAP", **RULES})
    table = section_rows(row_of(record_of({m: [1, 1] for m in MARKERS}, [-5, 100], cells=CELLS)), at(**dict.fromkeys(MARKERS, 20)), config)
    assert table.loc[table["marker"] == "x", "positive_um2"].isna().all()


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"m": "CD68 and CD2O6"}, "phenotypes.m names 'CD2O6'.*did you mean 'CD206'"),
        ({"m": "CD68 and FN"}, "names 'FN', whose role shows no cells"),
        ({"CD68": "CD206"}, "no marker's name"),
        ({"a b": "CD206"}, "letters, digits and _"),
        ({"m": "CD68 and ("}, "phenotypes.m: .*missing"),
    ],
)
def test_rules_that_cannot_be_used_are_refused_with_a_remedy(config_of, rules, said):
    with pytest.raises(StudyError, match=said):
        with_rules(config_of(("DAPI", "CD68", "CD206", "FN")), rules)


def test_cells_need_a_nuclear_channel(config_of):
    with pytest.raises(StudyError, match="no channel with role 'nuclei'"):
        with_rules(config_of(("CD68", "CD206")), RULES)


def test_endpoints_of_phenotypes_can_be_declared(config_of):
    names = with_rules(config_of(MARKERS), RULES).endpoint_names()
    assert len(names) == len(set(names))
    assert {"A_core_double_fraction_of_cd206_pct", "A_core_double_count_cells", "A_all_double_density_per_mm2"} <= set(names)
