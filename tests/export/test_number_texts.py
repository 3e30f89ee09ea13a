"""Numbers made into text by columns are those that Python's own formats give, one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sevhisto.export.number_texts import joined, six_digits, text_bytes

NUMBERS = st.lists(st.floats(-1e7, 1e7, width=32) | st.sampled_from([0.0, 999999.5, 9.999995, 1e-5, 0.1, -3.25, 123456.5]), min_size=1)


@given(NUMBERS)
@settings(max_examples=200, deadline=None)
def test_six_digits_are_those_of_g(values):
    found = six_digits(np.array(values))
    assert [float(v.as_py()) for v in found] == [float(f"{v:.6g}") for v in values]


def test_what_is_missing_is_left_out_with_its_comma():
    texts = joined(joined("a", six_digits(np.array([1.0, np.nan]))), joined("b", six_digits(np.array([2.5, 3]))), between=",", skip=True)
    assert texts.to_pylist() == ["a1,b2.5", "b3"]
    assert text_bytes(joined("\n", texts)[1:]) == b"\nb3" and text_bytes(texts[:0]) == b""
