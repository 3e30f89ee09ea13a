"""The order in which sections are looked at."""

from __future__ import annotations

import pandas as pd

from sevhisto.decide.review import review_queue


def rows(
    section: str, positive: float, verdict: str = "keep", confidence: float = 0.9, flags: str = "", core: float = 100.0
) -> pd.DataFrame:
    base = {"animal": "a1", "section": section, "panel": "A", "batch": "b", "position_um": 0.0, "verdict": verdict, "reasons": ""}
    base |= {"core_confidence": confidence, "flags": flags, "marker": "CD68"}
    zones = [("core", core, positive if core else 0.0), ("all", 1000.0, positive)]
    return pd.DataFrame([{**base, "zone": z, "zone_um2": a, "positive_um2": p} for z, a, p in zones])


def order(*parts: pd.DataFrame) -> list[str]:
    return review_queue(pd.concat(parts, ignore_index=True))["section"].tolist()


def test_verdict_comes_first_then_what_the_result_rests_on() -> None:
    found = order(rows("s1", 10), rows("s2", 60), rows("s3", 20, "review"), rows("s4", 5, "exclude"), rows("s5", 5, confidence=0.1))
    assert found == ["s4", "s3", "s2", "s5", "s1"]


def test_a_drawn_outline_needs_no_further_look() -> None:
    assert order(rows("s1", 60, flags="contour_drawn", confidence=float("nan")), rows("s2", 5)) == ["s2", "s1"]


def test_influence_is_a_share_of_the_animals_core() -> None:
    queue = review_queue(pd.concat([rows("s1", 30), rows("s2", 10), rows("s3", 50, core=0.0)], ignore_index=True)).set_index("section")
    assert queue["influence_pct"].to_dict() == {"s1": 75.0, "s2": 25.0, "s3": 0.0}


def test_without_any_core_all_tissue_counts() -> None:
    queue = review_queue(pd.concat([rows("s1", 30, core=0.0), rows("s2", 10, core=0.0)], ignore_index=True)).set_index("section")
    assert queue["influence_pct"].to_dict() == {"s1": 75.0, "s2": 25.0}


def test_nothing_measured_gives_an_empty_queue_with_its_columns() -> None:
    queue = review_queue(rows("s1", 1).iloc[:0])
    assert queue.empty and "influence_pct" in queue.columns
