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
from matplotlib.backends.backend_agg import FigureCanvasAgg

from sevhisto.report import ReportInputs
from sevhisto.report.canvas import COLUMN, FULL_WIDTH, Drawing, inline, on_page, pdf_file, quiet_style, svg_file
from sevhisto.report.estimation import estimation_plot
from sevhisto.report.figures import border_lines, curves, mean_interval, relation_plot

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
    svg = inline(estimation_plot(wide[VOLUME], inputs.groups, VOLUME, rows), "a")
    assert marks(svg, "dots-") == 19  # 20 animals, one without a volume
    assert marks(svg, "estimate-") == 4
    assert marks(inline(estimation_plot(wide[AUC], inputs.groups, AUC, None), "a"), "dots-") == 20
    assert marks(inline(relation_plot(wide[VOLUME], wide[AUC], inputs.groups, (VOLUME, AUC)), "a"), "dots-") == 19


@settings(max_examples=15, deadline=None)
@given(st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(float("nan")), st.just(0.0)), min_size=1, max_size=12))
def test_no_dot_is_lost_whatever_the_values(values: list[float]) -> None:
    index = [f"R{i}" for i in range(len(values))]
    groups = pd.Series(["a" if i % 2 else "b" for i in range(len(values))], index=index)
    svg = inline(estimation_plot(pd.Series(values, index=index), groups, "x", None), "a")
    assert marks(svg, "dots-") == int(np.isfinite(values).sum())


def test_every_animal_is_a_curve(make_inputs: Make) -> None:
    inputs = make_inputs(pictures=False)
    lines = inputs.motor.rename(columns={"day": "x", "score": "y"})
    svg = inline(curves(lines, inputs.groups, "days", "BBB", "Recovery"), "a")
    assert groups_with(svg, "animal-") == 20
    assert "Recovery" in svg and "vehicle: 5 animals" in svg


def test_figures_are_valid_xml_with_own_ids_and_alt_text(make_inputs: Make) -> None:
    inputs = make_inputs(pictures=False)
    wide = inputs.wide.set_index("animal")
    svg = inline(estimation_plot(wide[AUC], inputs.groups.replace("vehicle", '<a href="http://x">&"$^'), AUC, None), "own")
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


def two_groups(inputs: ReportInputs) -> tuple[pd.Series, pd.Series, pd.DataFrame]:
    """One endpoint of the two groups of one contrast, with its row of comparisons.csv."""
    rows = inputs.comparisons[(inputs.comparisons["endpoint"] == AUC) & (inputs.comparisons["contrast"] == "duration")]
    groups = inputs.groups[inputs.groups.isin([rows["group_a"].iloc[0], rows["group_b"].iloc[0]])]
    return inputs.wide.set_index("animal")[AUC], groups, rows


def test_two_groups_share_one_scale_with_their_difference(make_inputs: Make) -> None:
    values, groups, rows = two_groups(make_inputs(pictures=False))
    drawing = estimation_plot(values, groups, AUC, rows)
    left, right = drawing.figure.axes
    zero = values[groups.index[groups == rows["group_b"].iloc[0]]].mean()
    assert right.get_ylim() == pytest.approx([v - zero for v in left.get_ylim()])  # zero of the difference: the mean that is subtracted
    assert marks(inline(drawing, "a"), "estimate-") == 1


def drawings(inputs: ReportInputs) -> list[Drawing]:
    wide = inputs.wide.set_index("animal")
    rows = inputs.comparisons[inputs.comparisons["endpoint"] == AUC]
    lines = inputs.motor.rename(columns={"day": "x", "score": "y"})
    return [
        estimation_plot(wide[AUC], inputs.groups, AUC, rows),
        estimation_plot(*two_groups(inputs)[:2], AUC, two_groups(inputs)[2]),
        relation_plot(wide[VOLUME], wide[AUC], inputs.groups, (VOLUME, AUC)),
        curves(lines, inputs.groups, "days", "BBB", "Recovery"),
    ]


@pytest.mark.parametrize(("page", "mm"), [(COLUMN, 85), (FULL_WIDTH, 174)])
def test_figures_for_journals_fit_their_page(make_inputs: Make, page: Any, mm: float) -> None:
    with on_page(page):
        for drawing in drawings(make_inputs(pictures=False)):
            assert drawing.figure.get_figwidth() * 25.4 <= mm + 1e-6
            with quiet_style():
                box = drawing.figure.get_tightbbox(FigureCanvasAgg(drawing.figure).get_renderer())
            width, height = drawing.figure.get_size_inches()
            assert box.x0 >= -0.01 and box.x1 <= width + 0.01 and box.y0 >= -0.01 and box.y1 <= height + 0.01, drawing.alt
            sizes = {t.get_fontsize() for t in drawing.figure.findobj(lambda a: hasattr(a, "get_fontsize")) if t.get_text()}
            assert min(sizes) >= 5.4


def test_text_of_journal_figures_stays_text(make_inputs: Make) -> None:
    with on_page(COLUMN):
        drawing = drawings(make_inputs(pictures=False))[0]
        svg, pdf = svg_file(drawing).decode(), pdf_file(drawing)
        assert svg_file(drawing).decode() == svg
    root = ET.fromstring(svg)
    assert "vehicle" in {"".join(e.itertext()).strip() for e in root.iter() if e.tag.endswith("}text")}
    assert b"/FontFile2" in pdf or b"/Subtype /Type0" in pdf or b"/Type42" in pdf
    assert b"/Type3" not in pdf


def test_the_numbers_of_a_figure_are_beside_it(make_inputs: Make) -> None:
    inputs = make_inputs(pictures=False)
    data = drawings(inputs)[0].data
    animals = data[data["what"] == "animal"].set_index("animal")["value"]
    assert animals.to_dict() == inputs.wide.set_index("animal")[AUC].to_dict()
    assert (data["what"] == "difference").sum() == 4
