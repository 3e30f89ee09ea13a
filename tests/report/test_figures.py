from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevhisto.report import ReportInputs
from sevhisto.report.figures import border_lines, curves, estimation_plot, mean_interval, relation_plot

Make = Callable[..., ReportInputs]
VOLUME, AUC = "ECM_core_fibronectin_positive_volume_mm3", "BBB_auc_score_days"


def marks(svg: str, part: str) -> int:
    """How many markers lie in the groups whose id holds `part`."""
    root = ET.fromstring(svg.replace("<svg ", '<svg xmlns:xlink="http://www.w3.org/1999/xlink" ', 1) if "xmlns:xlink" not in svg else svg)
    groups = [g for g in root.iter() if part in g.get("id", "")]
    return sum(1 for g in groups for e in g.iter() if e.tag.endswith("use"))


def groups_with(svg: str, part: str) -> int:
    return len(re.findall(rf'id="[^"]*{part}', svg))


def test_every_animal_with_a_value_is_a_dot(make_inputs: Make) -> None:
    inputs = make_inputs(pictures=False)
    wide = inputs.wide.set_index("animal")
    rows = inputs.comparisons[inputs.comparisons["endpoint"] == VOLUME]
    svg = estimation_plot(wide[VOLUME], inputs.groups, VOLUME, rows, "a")
    assert marks(svg, "dots-") == 19  # 20 animals, one without a volume
    assert marks(svg, "estimate-") == 4
    assert marks(estimation_plot(wide[AUC], inputs.groups, AUC, None, "a"), "dots-") == 20
    assert marks(relation_plot(wide[VOLUME], wide[AUC], inputs.groups, (VOLUME, AUC), "a"), "dots-") == 19


@settings(max_examples=15, deadline=None)
@given(st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(float("nan")), st.just(0.0)), min_size=1, max_size=12))
def test_no_dot_is_lost_whatever_the_values(values: list[float]) -> None:
    index = [f"R{i}" for i in range(len(values))]
    groups = pd.Series(["a" if i % 2 else "b" for i in range(len(values))], index=index)
    svg = estimation_plot(pd.Series(values, index=index), groups, "x", None, "a")
    assert marks(svg, "dots-") == int(np.isfinite(values).sum())


def test_every_animal_is_a_curve(make_inputs: Make) -> None:
    inputs = make_inputs(pictures=False)
    lines = inputs.motor.rename(columns={"day": "x", "score": "y"})
    svg = curves(lines, inputs.groups, "days", "BBB", "Recovery", "a")
    assert groups_with(svg, "animal-") == 20
    assert "Recovery" in svg and "vehicle: 5 animals" in svg


def test_figures_are_valid_xml_with_own_ids_and_alt_text(make_inputs: Make) -> None:
    inputs = make_inputs(pictures=False)
    wide = inputs.wide.set_index("animal")
    svg = estimation_plot(wide[AUC], inputs.groups.replace("vehicle", '<a href="http://x">&"$^'), AUC, None, "own")
    root = ET.fromstring(svg)
    assert root.get("role") == "img" and "one dot per animal" in str(root.get("aria-label"))
    assert all(str(e.get("id")).startswith("own-") for e in root.iter() if e.get("id"))
    assert not any(e.tag.endswith("}a") for e in root.iter())
    used = {str(v)[1:] for e in root.iter() for k, v in e.attrib.items() if k.endswith("href")}
    assert used <= {e.get("id") for e in root.iter()}


def test_mean_interval_is_the_t_interval() -> None:
    mean, low, high = mean_interval([8, 9, 11, 10, 12])  # sd 1.5811, t(4) 2.7764: half width 1.9632
    assert mean == 10
    assert (low, high) == pytest.approx((8.0368, 11.9632), abs=1e-4)
    assert np.isnan(mean_interval([3.0])[1])


def test_border_lines_are_ratios_of_sums() -> None:
    rows: list[dict[str, Any]] = [
        {"animal": "R1", "axis": "border", "position_um": 0, "zone_um2": 100, "positive_um2": 50},
        {"animal": "R1", "axis": "border", "position_um": 40, "zone_um2": 300, "positive_um2": 30},
        {"animal": "R1", "axis": "border", "position_um": 50, "zone_um2": 0, "positive_um2": 0},
        {"animal": "R1", "axis": "border", "position_um": -10, "zone_um2": 200, "positive_um2": 0},
        {"animal": "R1", "axis": "border", "position_um": 100, "zone_um2": 100, "positive_um2": np.nan},
        {"animal": "R1", "axis": "cord", "position_um": 0, "zone_um2": 100, "positive_um2": 100},
    ]
    lines = border_lines(pd.DataFrame(rows))
    assert lines[["x", "y"]].to_numpy().tolist() == [[-25.0, 0.0], [25.0, 20.0]]  # no tissue: no point; no threshold: no zero
