"""Tables and marks that tell what a number rests on."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sevhisto.report.canvas import inline
from sevhisto.report.choices import choices_figure
from sevhisto.report.tables import autofluorescence_table
from sevhisto.schema import AS_ANALYSED, NOT_MADE


def test_what_autofluorescence_explains_is_told_by_marker_with_its_range():
    rows = [("a1", "core", 4.0), ("a2", "core", 10.0), ("a3", "core", np.nan), ("a1", "0-250", 1.0), ("a1", "all", 0.5)]
    animals = pd.DataFrame(rows, columns=["animal", "zone", "value"]).assign(panel="A", marker="CD206", metric="autofluorescent_pct")
    other = animals.assign(metric="fraction_pct", value=50.0)
    table = autofluorescence_table(pd.concat([animals, other]))
    assert table is not None
    assert table.rows == (("A", "CD206", "core", "7.0", "4.0 to 10.0", "2"), ("A", "CD206", "all", "0.5", "0.5 to 0.5", "1"))
    assert autofluorescence_table(other) is None


def test_a_choice_that_an_endpoint_has_no_form_of_stands_in_its_figure():
    lines = [(AS_ANALYSED, "", 3.0, 1.0, 5.0, ""), ("background", "local", np.nan, np.nan, np.nan, NOT_MADE)]
    curve = pd.DataFrame(lines, columns=["choice", "variant", "estimate", "ci_low", "ci_high", "verdict"]).assign(contrast="a-b")
    svg = inline(choices_figure(curve, "A_core_CD68_count_cells"), "c")
    assert "background local" in svg
    assert NOT_MADE in svg
