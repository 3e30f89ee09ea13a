"""Rules of phenotypes: the parser, against Python's own logic, and every way to write one wrongly."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevhisto.rules import parse_rule

NAMES = ("CD68", "CD206", "GFAP")
TEXTS = st.recursive(
    st.sampled_from(NAMES),
    lambda inner: st.one_of(
        inner.map(lambda t: f"not {t}" if " " not in t else f"not ({t})"),
        st.tuples(inner, st.sampled_from(["and", "or", "AND"]), inner).map(lambda t: f"({t[0]}) {t[1]} ({t[2]})"),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(" ".join),
    ),
    max_leaves=6,
)


def by_python(text: str, truth: dict[str, bool]) -> bool:
    for name, value in truth.items():
        text = text.replace(name, str(value))
    return bool(eval(text.replace("AND", "and")))


@given(TEXTS)
def test_rules_mean_what_python_means_by_them(text):
    rows = [dict(zip(NAMES, row, strict=True)) for row in itertools.product((False, True), repeat=3)]
    wanted = [by_python(text, row) for row in rows]
    if len(set(wanted)) == 1:
        with pytest.raises(ValueError, match=r"can never hold|holds for every cell"):
            parse_rule(text)
        return
    rule = parse_rule(text)
    arrays = {n: np.array([row[n] for row in rows]) for n in NAMES}
    assert rule.holds(arrays).tolist() == wanted
    assert [rule.holds(row) for row in rows] == wanted


def test_what_a_rule_implies():
    assert parse_rule("CD68 and not CD206").implied == ("CD68",)
    assert parse_rule("CD68 or CD206").implied == ()
    assert parse_rule("not CD68").implied == ()
    assert parse_rule("(CD68 and CD206) or (CD68 and GFAP)").implied == ("CD68",)


def test_a_marker_with_spaces_stands_in_quotes():
    assert parse_rule("CD68 and \"collagen I\" or 'and'").markers == ("CD68", "collagen I", "and")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a marker is missing at the end"),
        ("CD68 and", "a marker is missing at the end"),
        ("and CD68", "a marker is missing before 'and'"),
        ("CD68 CD206", "'CD206' is not expected there"),
        ("(CD68", "parenthesis is not closed"),
        ("CD68)", r"'\)' is not expected there"),
        ('CD68 and "CD206', "quote is not closed"),
        ('CD68 and ""', "a marker is missing before ''"),
        ("CD68 and not CD68", "can never hold"),
        ("CD68 or not CD68", "holds for every cell"),
        ("(" * 60 + "CD68" + ")" * 60, "more than 40"),
        ("not " * 60 + "CD68", "more than 40"),
        (" and ".join("abcdefghi"), "names 9 markers"),
    ],
)
def test_wrong_rules_say_what_is_wrong(text, said):
    with pytest.raises(ValueError, match=said):
        parse_rule(text)
