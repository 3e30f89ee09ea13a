"""The vocabulary: settings, tables, flags, bins and names."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevhisto import columns, config, metrics, registry, schema
from sevhisto.types import (
    DISTANCE_EDGES_UM,
    INTENSITY_EDGES,
    INTENSITY_EDGES_Q,
    JOINT_EDGES,
    N_DISTANCE,
    N_INTENSITY,
    NO_DISTANCE,
    QUANTUM,
    Problem,
    SectionRecord,
    SevhistoError,
    SlideError,
    StudyError,
    snap_threshold,
)


def plain_study() -> dict[str, Any]:
    """Settings with nothing wrong in them."""
    return {
        "study": {"name": "s", "section_spacing_um": 500},
        "panels": {
            "A": {
                "channels": [
                    {"channel": "DAPI", "marker": "DAPI", "role": "nuclei"},
                    {"channel": 2, "marker": "CD68", "role": "macrophage"},
                ],
                "pairs": [["DAPI", "CD68"]],
            }
        },
        "protocols": {
            "vehicle": {"route": "intravenous", "total_dose": 0, "dose_unit": "particles", "injections_h": [3]},
            "pump3": {"route": "intravenous", "total_dose": 9e9, "dose_unit": "particles", "infusion": {"start_h": 3, "duration_h": 72}},
        },
        "contrasts": [{"name": "any", "a": ["pump3"], "b": ["vehicle"]}],
    }


def changed(path: str, value: Any) -> dict[str, Any]:
    """The plain study with one value replaced or added; numbers in the path are places in a list."""
    data = copy.deepcopy(plain_study())
    at: Any = data
    *steps, last = path.split(".")
    for step in steps:
        at = at[int(step)] if isinstance(at, list) else at.setdefault(step, {})
    at[int(last) if isinstance(at, list) else last] = value
    return data


def problems_of(data: dict[str, Any]) -> list[Problem]:
    with pytest.raises(StudyError) as caught:
        config.parse_config(data)
    return caught.value.problems


# ---------------------------------------------------------------- settings


def test_a_right_study_parses_with_its_defaults() -> None:
    parsed = config.parse_config(plain_study())
    assert parsed.panels["A"].markers == ("DAPI", "CD68")
    assert parsed.panels["A"].marker_of_role("macrophage") == "CD68" and parsed.panels["A"].marker_of_role("landmark") is None
    assert parsed.study.orientation == "transverse" and parsed.study.blind


@pytest.mark.parametrize(
    ("path", "place", "remedy"),
    [
        ("imaging.overveiw_um", "study.toml: imaging.overveiw_um", "did you mean 'overview_um'?"),
        ("panels.A.channels.0.treshold", "study.toml: panels.A.channels.1.treshold", "did you mean 'threshold'?"),
        ("protocols.pump3.infusion.durationh", "study.toml: protocols.pump3.infusion.durationh", "did you mean 'duration_h'?"),
        ("thresholdz", "study.toml: thresholdz", "did you mean 'thresholds'?"),
    ],
)
def test_an_unknown_key_is_an_error_that_names_the_nearest(path: str, place: str, remedy: str) -> None:
    (problem,) = problems_of(changed(path, 1.0))
    assert (problem.where, problem.what, problem.remedy) == (place, "unknown setting", remedy)


def test_all_problems_come_at_once() -> None:
    data = changed("imaging.blur_um", -1)
    data["motor"] = {"maximun": 21}
    del data["study"]["name"]
    found = problems_of(data)
    assert {p.where for p in found} == {"study.toml: imaging.blur_um", "study.toml: motor.maximun", "study.toml: study.name"}
    assert all(p.remedy for p in found)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("imaging.overview_um", 0.5),
        ("imaging.overview_um", 41),
        ("imaging.ring_um", 0),
        ("thresholds.percentile", 100),
        ("thresholds.percentile", 50),
        ("study.section_spacing_um", 0),
        ("study.orientation", "coronal"),
        ("study.name", ""),
        ("comparison.permutations", 10),
        ("zones.edges_um", [0, 255]),
        ("zones.edges_um", [100, 200]),
        ("zones.edges_um", [0, 500, 250]),
        ("zones.edges_um", [0, 3010]),
        ("imaging.blur_um", "much"),
        ("protocols.vehicle.injections_h", [math.nan]),
        ("protocols.vehicle.injections_h", []),
        ("contrasts.0.a", ["vehicle"]),
    ],
)
def test_a_value_out_of_bounds_is_refused_and_shown(path: str, value: Any) -> None:
    found = problems_of(changed(path, value))
    assert len(found) == 1 and path.split(".")[0] in found[0].where


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("panels.A.pairs", [["DAPI", "CD86"]], "did you mean 'CD68'?"),
        ("contrasts.0.a", ["pump_3"], "did you mean 'pump3'?"),
        ("panels.A.channels.1.marker", "DAPI", "stands twice"),
        ("panels.A.channels.1.role", "nuclei", "more than one channel has role 'nuclei'"),
        ("panels.A.kind", "brightfield", "needs `stain`"),
        ("batches.b1", {"bleed_through": {"CD68": {"DAPPI": 0.1}}}, "did you mean 'DAPI'?"),
    ],
)
def test_names_must_be_known_to_each_other(path: str, value: Any, said: str) -> None:
    (problem,) = problems_of(changed(path, value))
    assert said in problem.what


@pytest.mark.parametrize(
    ("cues", "said"),
    [
        (["landmark", "CD86"], "'CD68'"),
        (["nuclei", "cavity"], "draw no border"),
        (["landmark", "DAPI"], "write 'nuclei'"),
        ([], "draw no border"),
    ],
)
def test_cues_of_the_lesion_must_be_known_and_draw_a_border(cues: list[str], said: str) -> None:
    with pytest.raises(StudyError) as error:
        config.parse_config({**plain_study(), "imaging": {"lesion_cues": cues}})
    assert said in str(error.value)
    assert config.parse_config({**plain_study(), "imaging": {"lesion_cues": ["nuclei", "CD68"]}}).imaging.lesion_cues == ["nuclei", "CD68"]


def test_settings_hash_is_of_the_values_only() -> None:
    first = config.parse_config(plain_study())
    reordered = config.parse_config(dict(reversed(plain_study().items())))
    default_stated = config.parse_config(changed("imaging.blur_um", first.imaging.blur_um))
    other = config.parse_config(changed("imaging.blur_um", 0.7))
    assert config.settings_hash(first) == config.settings_hash(reordered) == config.settings_hash(default_stated)
    assert config.settings_hash(first) != config.settings_hash(other)


def test_settings_hash_is_the_same_on_every_machine() -> None:
    assert config.settings_hash({"a": 1, "b": [1.5, "x"]}, None) == "3501a19804a40ee1beeeadfabfad5e3cde82fe9e75f39c2ef3fbb7904e99e796"


def test_zones_are_named_by_their_borders() -> None:
    ranges = config.ZoneSettings().ranges
    assert list(ranges) == ["core", "0-250", "250-500", "500-1000", "1000-2000", "all"]
    assert ranges["core"] == (-math.inf, 0) and ranges["500-1000"] == (500, 1000) and ranges["all"] == (-math.inf, math.inf)


# ---------------------------------------------------------------- tables

ONE_OF_EACH = {columns.TEXT: "a", columns.NUMBER: 1.0, columns.WHOLE: 1}


def one_row(table: columns.Table) -> pd.DataFrame:
    return pd.DataFrame([{c.name: ONE_OF_EACH[c.kind] for c in table.columns}])


@pytest.mark.parametrize("table", schema.TABLES, ids=lambda t: t.name)
def test_a_table_takes_its_own_rows_and_none_at_all(table: columns.Table) -> None:
    assert list(table.conform(one_row(table)).columns) == table.names
    assert len(table.conform(one_row(table).iloc[:0])) == 0
    assert set(table.key) <= set(table.names) and len(set(table.names)) == len(table.names)


@pytest.mark.parametrize("table", [schema.SECTIONS, schema.CELLS, schema.PROFILES, schema.STATUS], ids=lambda t: t.name)
def test_the_animal_is_the_unit_no_other_table_passes_for_it(table: columns.Table) -> None:
    with pytest.raises(SevhistoError) as caught:
        schema.ANIMALS.conform(one_row(table))
    assert "missing columns" in str(caught.value) and "one row is one animal x panel" in str(caught.value)


def test_columns_are_put_in_order_and_missing_text_becomes_empty() -> None:
    frame = one_row(schema.STATUS)[schema.STATUS.names[::-1]]
    frame["reason"] = None
    out = schema.STATUS.conform(frame)
    assert list(out.columns) == schema.STATUS.names and out["reason"].tolist() == [""]


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("value", "1,5", "column value, row 1: '1,5' is not a number number"),
        ("n_sections", None, "is not a whole number"),
    ],
)
def test_a_cell_of_the_wrong_kind_is_named(column: str, value: Any, said: str) -> None:
    frame = one_row(schema.ANIMALS).astype(object)
    frame.loc[0, column] = value
    with pytest.raises(SevhistoError, match=said):
        schema.ANIMALS.conform(frame)


def test_a_missing_value_is_kept_as_missing() -> None:
    frame = one_row(schema.ANIMALS)
    frame["value"] = np.nan
    assert schema.ANIMALS.conform(frame)["value"].isna().all()


def test_two_rows_with_one_key_are_refused() -> None:
    with pytest.raises(SevhistoError, match="2 rows share a key"):
        schema.ANIMALS.conform(pd.concat([one_row(schema.ANIMALS)] * 2))


def test_foreign_columns_pass_only_where_the_table_is_open_ended() -> None:
    with pytest.raises(SevhistoError, match="do not belong here: extra"):
        schema.SECTIONS.conform(one_row(schema.SECTIONS).assign(extra=1))
    assert "CD68_ring" in schema.CELLS.conform(one_row(schema.CELLS).assign(CD68_ring=1.0)).columns


@pytest.mark.parametrize("metric", metrics.METRIC_UNITS)
def test_an_endpoint_name_ends_with_its_unit_once(metric: str) -> None:
    unit = metrics.METRIC_UNITS[metric].replace(" ", "_")
    name = metrics.endpoint_name("A", "core", "CD68", metric)
    assert name.startswith(f"A_core_CD68_{metric}") and name.endswith(unit) and not name.endswith(f"{unit}_{unit}")


@pytest.mark.parametrize(
    ("args", "name"),
    [
        (("A", "core", "fibronectin", "fraction_pct"), "A_core_fibronectin_fraction_pct"),
        (("A", "0-250", "CD68", "density_per_mm2"), "A_0-250_CD68_density_per_mm2"),
        (("A", "all", "CD68", "integrated_density"), "A_all_CD68_integrated_density_grey_um2"),
        (("BBB", "", "", "auc"), "BBB_auc_score_days"),
    ],
)
def test_endpoint_names(args: tuple[str, str, str, str], name: str) -> None:
    assert metrics.endpoint_name(*args) == name


# ---------------------------------------------------------------- flags and registries


def test_every_flag_has_a_meaning_and_a_level_and_stands_once() -> None:
    assert len(registry.FLAGS) == len(registry._FLAGS)
    for flag in registry.FLAGS.values():
        assert flag.meaning.strip() and flag.level in {"section", "animal", "result"} and ";" not in flag.name


def test_an_unregistered_flag_is_refused() -> None:
    with pytest.raises(KeyError, match="looks_odd"):
        registry.join_flags({"no_lesion", "looks_odd"})


@given(st.sets(st.sampled_from(sorted(registry.FLAGS))))
def test_flags_survive_a_table_cell_in_one_order(flags: set[str]) -> None:
    cell = registry.join_flags(flags)
    assert registry.split_flags(cell) == flags and registry.join_flags(sorted(flags, reverse=True)) == cell


def test_a_registry_takes_a_name_once_and_helps_with_a_wrong_one() -> None:
    readers: registry.Registry[int] = registry.Registry("reader")
    readers.register("tiff")(1)
    assert readers["tiff"] == 1 and "tiff" in readers and list(readers) == ["tiff"]
    with pytest.raises(ValueError, match="reader 'tiff' is registered already"):
        readers.register("tiff")(2)
    with pytest.raises(SevhistoError, match="did you mean 'tiff'"):
        readers["tif"]


# ---------------------------------------------------------------- bins


@pytest.mark.parametrize("edges", [INTENSITY_EDGES, INTENSITY_EDGES_Q, JOINT_EDGES, DISTANCE_EDGES_UM])
def test_edges_grow(edges: np.ndarray) -> None:
    assert np.all(np.diff(edges) > 0)


def test_bins_reach_over_what_a_camera_gives_and_hold_an_edge_at_zero() -> None:
    assert INTENSITY_EDGES[0] < -500 and INTENSITY_EDGES[-1] >= 65535 / QUANTUM * QUANTUM and 0 in INTENSITY_EDGES
    assert len(INTENSITY_EDGES) + 1 == N_INTENSITY and len(JOINT_EDGES) == 63 and 0 in DISTANCE_EDGES_UM
    assert NO_DISTANCE == N_DISTANCE - 1 == len(DISTANCE_EDGES_UM) + 1


def test_coarse_edges_are_among_the_fine_ones_and_edges_are_whole_quanta() -> None:
    assert set(JOINT_EDGES) <= set(INTENSITY_EDGES)
    assert np.array_equal(INTENSITY_EDGES / QUANTUM, INTENSITY_EDGES_Q)


@given(st.floats(-1e6, 1e6))
def test_a_snapped_threshold_is_an_edge_the_nearest_and_stays(value: float) -> None:
    snapped = snap_threshold(value)
    assert snapped in INTENSITY_EDGES and snap_threshold(snapped) == snapped
    assert abs(snapped - value) == np.abs(INTENSITY_EDGES - value).min()


# ---------------------------------------------------------------- errors and records


def test_a_problem_reads_as_place_fact_and_remedy() -> None:
    error = SlideError(Problem("slides.csv, row 3", "no such file", "correct the name"))
    assert str(error) == "slides.csv, row 3: no such file\n    -> correct the name"
    assert len(error.problems) == 1


def test_errors_come_back_whole_from_a_worker_process() -> None:
    error = pickle.loads(pickle.dumps(StudyError([Problem("a", "b"), Problem("c", "d", "e")])))
    assert type(error) is StudyError and error.problems == [Problem("a", "b"), Problem("c", "d", "e")]


def test_a_record_names_what_it_measured() -> None:
    empty = np.zeros((2, 2, 1, 1), np.int64)
    record = SectionRecord({"um_per_px": 0.5}, ("DAPI", "CD68"), empty, empty, empty[0, :, 0], empty[0, :, 0])
    assert record.px_um2 == 0.25 and record.marker_index("CD68") == 1
    with pytest.raises(KeyError, match="measured: DAPI, CD68"):
        record.marker_index("CD206")
