"""Verdicts on sections: what is kept, looked at or left to a person to exclude, and what he reads."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from sevhisto.config import StudyConfig, parse_config
from sevhisto.decide.quality import FEW_PX, WORDS, Histogram, verdicts
from sevhisto.registry import FAULT_FLAGS
from sevhisto.types import N_INTENSITY, IntArray


def summary(flags: set[str], share: dict[str, float]) -> Any:
    row = SimpleNamespace(animal="R1", section="s1", panel="A", batch="b", role="unstained")
    return SimpleNamespace(row=row, flags=flags, faults={"share": share}, markers=("DAPI",))


def config(masked: bool = True) -> StudyConfig:
    channels = [{"channel": 1, "marker": "DAPI", "role": "nuclei"}]
    return parse_config(
        {"study": {"name": "q", "section_spacing_um": 200.0}, "panels": {"A": {"channels": channels}}, "imaging": {"mask_faults": masked}}
    )


@pytest.mark.parametrize(
    ("flags", "share", "verdict", "said"),
    [
        (set(), {}, "keep", []),
        ({"bubble"}, {"bubble": 0.002}, "keep", ["an air bubble lies over the tissue: 0.2 % of the section, left out"]),
        ({"bubble"}, {"bubble": 0.03}, "review", ["an air bubble lies over the tissue: 3 % of the section, left out"]),
        ({"seams"}, {}, "review", [WORDS["seams"]]),
        ({"no_tissue"}, {}, "exclude", ["no tissue was found on the slide"]),
    ],
)
def test_a_verdict_follows_from_how_much_is_spoilt(flags: set[str], share: dict[str, float], verdict: str, said: list[str]) -> None:
    (found,) = verdicts([summary(flags, share)], {}, config()).values()
    assert (found.verdict, found.reasons) == (verdict, said)


def test_a_fault_over_most_of_a_section_is_told_as_measured_and_the_section_to_be_excluded() -> None:
    (found,) = verdicts([summary({"folded"}, {"folded": 0.6})], {}, config()).values()
    assert found.verdict == "exclude" and "measured all the same" in found.reasons[0] and "60 %" in found.reasons[1]


def test_small_faults_need_a_look_where_nothing_is_masked() -> None:
    (found,) = verdicts([summary({"bubble"}, {"bubble": 0.002})], {}, config(masked=False)).values()
    assert found.verdict == "review" and found.reasons[0].endswith("measured all the same")


@given(npst.arrays(np.int64, N_INTENSITY, elements=st.sampled_from([0, 1, 300, 2**33])), st.integers(0, N_INTENSITY))
@example(np.ones(N_INTENSITY, np.int64) * 10, 3)
def test_a_histogram_without_its_zeros_tells_the_same_share(counts: IntArray, first: int) -> None:
    n = int(counts.sum())
    share = Histogram.of(counts).share_from(first)
    assert share == float(counts[first:].sum()) / n if n > FEW_PX else np.isnan(share)


def test_every_fault_has_words() -> None:
    assert set(WORDS) == set(FAULT_FLAGS)
