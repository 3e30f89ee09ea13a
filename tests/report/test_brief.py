"""The answer in a terminal: within its width, a line per question, each caution once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from sevhisto.report.brief import brief

Row = Callable[..., dict[str, Any]]
NAN = float("nan")


@pytest.mark.parametrize("width", [80, 120])
def test_a_question_is_a_line_and_a_caution_stands_once(make_comparison: Row, width: int) -> None:
    rows = [
        make_comparison(flags="contour_unreviewed"),
        make_comparison(group_a="daily+infusion_3d+infusion_6d", group_b="vehicle", flags="contour_unreviewed;dose_unmatched"),
        make_comparison(endpoint="BBB_auc", estimate=NAN, ci_low=NAN, ci_high=NAN, p=NAN, p_adjusted=NAN, flags="too_few_animals"),
    ]
    lines = brief(pd.DataFrame(rows), width)
    text = " ".join(" ".join(lines).split())
    assert max(map(len, lines)) <= width
    assert text.count("nobody has confirmed it") == text.count("did not get the same dose") == 1
    (numbers,) = [line.split() for line in lines if line.startswith("  6-day infusion") and "0.032" in line]
    assert numbers[-9:] == ["−0.012", "−0.021", "to", "−0.003", "0.032", "0.063", "5,", "5", "1"]
    assert [line.split()[-7:] for line in lines if "–" in line] == [["–", "–", "–", "–", "5,", "5", "3"]]  # not compared: no number


def test_nothing_compared_is_no_table() -> None:
    assert brief(pd.DataFrame(columns=["endpoint"]), 80) == []
