"""Outlines of masks: filled again they are the mask; text and names of files are inert."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from sevhisto.export.outlines import mask_polygons
from sevhisto.export.text import file_names, inert, inert_frame, number_text, slide_path, write_csv
from sevhisto.io.annotations import Outline, outline_mask
from sevhisto.rings import area_of, contains

MASKS = npst.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))


@given(MASKS, st.sampled_from([1.0, 4.0, 7.0]), st.tuples(st.integers(0, 99), st.integers(0, 99)))
@settings(max_examples=100, deadline=None)
def test_outlines_of_any_mask_fill_to_the_mask(mask, factor, corner):
    polygons = mask_polygons(mask, factor, corner)
    outline = Outline("x", [p[0] for p in polygons], [hole for p in polygons for hole in p[1:]])
    assert np.array_equal(outline_mask([outline], mask.shape, factor, corner), mask)
    assert all(contains(p[0], hole[0]) for p in polygons for hole in p[1:])


def test_the_area_of_a_round_outline_is_that_of_its_mask():
    y, x = np.mgrid[:200, :200]
    ring = np.abs(np.hypot(y - 99.3, x - 100.6) - 60) < 20
    assert area_of(mask_polygons(ring)) == pytest.approx(ring.sum(), rel=2e-4)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("@x", "'@x"),
        ("-x", "'-x"),
        ("-1.5", "-1.5"),
        ("<script>", "<script>"),
        ("a\x00b", "a?b"),
        ("", ""),
    ],
)
def test_text_is_never_a_formula(text, shown):
    assert inert(text) == shown


def test_a_table_is_made_inert_and_its_numbers_stay():
    frame = pd.DataFrame({"=a": ["=HYPERLINK(1)", "-1.5", None], "n": [-1.5, float("nan"), 2.0]})
    out = inert_frame(frame)
    assert list(out.columns) == ["'=a", "n"] and out.iloc[:2, 0].tolist() == ["'=HYPERLINK(1)", "-1.5"]
    assert pd.isna(out.iloc[2, 0]) and out["n"].equals(frame["n"])


def test_numbers_read_back_the_same(tmp_path):
    values = [0.1 + 0.2, 1e-300, -0.0, 5.0, float("nan"), 123456789.123456789]
    assert [number_text(v) for v in values[2:5]] == ["0", "5", ""]
    write_csv(tmp_path / "x.csv", pd.DataFrame({"=v": values, "t": list("abcdef")}))
    back = pd.read_csv(tmp_path / "x.csv")
    assert list(back.columns) == ["'=v", "t"]
    np.testing.assert_array_equal(back["'=v"].to_numpy() + 0.0, np.array(values) + 0.0)


def test_names_of_files_stay_apart_and_inside(tmp_path):
    found = file_names(["A/b", "a_b", "con", "../x", ""], ".csv")
    assert len({name.casefold() for name in found.values()}) == 5
    assert found["con"] == "_con.csv" and all("/" not in name and not name.startswith(".") for name in found.values())
    assert slide_path(tmp_path, "../sub/./a.tif", ".zip") == tmp_path / "sub" / "a.tif.zip"
