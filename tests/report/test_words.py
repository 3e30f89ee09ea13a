from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevhisto.metrics import METRIC_UNITS, endpoint_name
from sevhisto.report.asked import asked
from sevhisto.report.tables import comparison_table
from sevhisto.report.words import comparison_sentence, endpoint_words, number, p_words, relation_sentence

Row = Callable[..., dict[str, Any]]
NAN = float("nan")


def test_a_clear_result_in_one_sentence(make_comparison: Row) -> None:
    assert comparison_sentence(make_comparison()) == (
        "Fibronectin volume in the core: 6-day infusion lower than 3-day infusion by 0.012 mm³ "
        "(95 % interval 0.003 to 0.021 mm³; ratio 0.78, 0.64 to 0.95; p = 0.032, Holm 0.063; n = 5 and 5 animals)."
    )


def test_an_interval_over_zero_tells_its_range(make_comparison: Row) -> None:
    said = comparison_sentence(make_comparison(estimate=-0.004, ci_low=-0.021, ci_high=0.013, p=0.6, p_adjusted=1.0))
    assert "lower than 3-day infusion by 0.004 mm³; the 95 % interval goes from 0.021 mm³ lower to 0.013 mm³ higher (ratio" in said


def test_two_scales_that_disagree_are_never_both_told(make_comparison: Row) -> None:
    row = make_comparison(estimate=-0.004, ci_low=-0.021, ci_high=0.013, ratio=1.3, ratio_low=0.8, ratio_high=2.1, flags="scales_disagree")
    said = comparison_sentence(row)
    assert "ratio 1.3" not in said and "1.30" not in said
    assert "The ratio of geometric means points the other way than the difference of means" in said
    assert "1.30" not in comparison_table(pd.DataFrame([row])).rows[0]


@pytest.mark.parametrize(
    ("robustness", "low", "high", "said"),
    [
        ("robust", -0.021, -0.003, "stays on the same side of zero under every other choice"),
        ("robust", -0.021, 0.013, "holds zero under every other choice"),
        ("fragile", -0.021, -0.003, "moves on or off zero"),
        ("reverses", -0.021, 0.013, "the sign changes"),
        ("", -0.021, 0.013, None),
    ],
)
def test_what_other_choices_do_is_said_of_the_interval(
    make_comparison: Row, robustness: str, low: float, high: float, said: str | None
) -> None:
    row = make_comparison(ci_low=low, ci_high=high, robustness=robustness)
    (found,) = asked(pd.DataFrame([row]), None, [row["endpoint"]])
    assert said in found.stands if said else found.stands == ""


@given(
    estimate=st.one_of(st.floats(-1e4, 1e4), st.just(NAN)),
    half=st.one_of(st.floats(0, 1e4), st.just(NAN)),
    p=st.one_of(st.floats(1e-6, 1), st.just(NAN)),
    flags=st.sampled_from(["", "cannot_reach_0.05", "no_variation;exploratory", "too_few_animals"]),
)
def test_never_says_that_there_is_none(make_comparison: Row, estimate: float, half: float, p: float, flags: str) -> None:
    row = make_comparison(estimate=estimate, ci_low=estimate - half, ci_high=estimate + half, p=p, p_adjusted=p, flags=flags)
    said = comparison_sentence(row).lower()
    assert not any(word in said for word in ("no effect", "no difference", "not significant", "no significant", "n.s.", "nan", "inf "))


def test_too_few_animals_are_told(make_comparison: Row) -> None:
    said = comparison_sentence(make_comparison(n_a=3, n_b=3, p=0.1, p_min=0.1, flags="cannot_reach_0.05", role="secondary"))
    assert (
        "Too few animals to reach p < 0.05 (the smallest that these group sizes can give is 0.10): a large p is no evidence of equality."
        in said
    )
    assert "Benjamini-Hochberg" in said


def test_pooled_groups_fractions_and_missing_intervals(make_comparison: Row) -> None:
    row = make_comparison(
        endpoint="A_core_CD68_fraction_pct", group_a="a+b+c", estimate=5.26, ci_low=NAN, ci_high=NAN, ratio=NAN, robustness="reverses"
    )
    said = comparison_sentence(row)
    assert "a, b and c together higher than 3-day infusion by 5.3 percentage points (no interval can be given;" in said
    assert "ratio" not in said
    assert "its sign changes" in said


def test_an_association_is_never_a_cause(make_relation: Row) -> None:
    said = relation_sentence(make_relation())
    assert said == (
        "BBB area under the recovery curve and fibronectin volume in the core, within groups: 21 score × days less "
        "for each SD more (95 % interval −38 to −5; partial correlation −0.58; p = 0.014; n = 19 animals)."
    )
    pooled = relation_sentence(make_relation(model="pooled", flags="pooled_across_groups"))
    assert "Group differences alone can create this association." in pooled
    for word in ("cause", "drive", "because", "leads to", "due to"):
        assert word not in (said + pooled).lower()
    assert "could not be estimated" in relation_sentence(make_relation(estimate=NAN, ci_low=NAN, ci_high=NAN, p=NAN))


@pytest.mark.parametrize("metric", list(METRIC_UNITS))
@pytest.mark.parametrize("zone", ["core", "all", "0-250", "1000-2000_rostral"])
def test_every_endpoint_name_has_words(metric: str, zone: str) -> None:
    words = endpoint_words(endpoint_name("ECM_1", zone, "collagen_I", metric))
    assert words.panel == "ECM_1"
    assert words.label.startswith("Collagen_I ")
    assert "_um2" not in words.axis and "_mm" not in words.axis


def test_endpoint_words() -> None:
    assert endpoint_words("BBB_onset_day").axis == "BBB day of onset (days)"
    assert endpoint_words("A_250-500_caudal_CD68_fraction_pct").label == "CD68 area fraction at 250–500 µm from the core, caudal"
    assert endpoint_words("something else").label == "something else"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0123456, "0.0123"),
        (12345.6, "12\u202f300"),
        (0, "0"),
        (-1.5, "−1.50"),
        (float("nan"), "–"),
        (None, "–"),
        (np.float64(99.96), "100.0"),
        (np.int64(7), "7.00"),
        (-3.2e-180, "−3e−180"),
    ],
)
def test_number(value: Any, text: str) -> None:
    assert number(value) == text


def test_p_words() -> None:
    assert [p_words(p) for p in (0.00004, 0.0079, 0.05, 0.123, 1.0, NAN)] == ["< 0.001", "0.008", "0.050", "0.12", "1.00", "–"]


def test_an_interval_beside_zero_shows_on_which_side_it_is(make_comparison: Row) -> None:
    assert "95 % interval 0.0001 to 0.0104 mm³" in comparison_sentence(make_comparison(estimate=0.0053, ci_low=0.00012, ci_high=0.0104))
