"""One name in two spellings is told, with both and where they stand; names that differ are not."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevhisto.io.spellings import Cell, level_key, near_equal, spelling_key, spelling_problems
from sevhisto.io.study import load_study


def cells(*texts: str) -> list[Cell]:
    return [Cell(text, "a.csv", row) for row, text in enumerate(texts, 2)]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("A1", "a1"),
        ("A1", "A1 "),
        ("007", "7"),
        ("R01", "R1"),
        ("é1", "e\u03011"),
        ("\u04101", "A1"),
        ("\uff21\uff11", "A1"),
        ("A  1", "A 1"),
    ],
)
def test_near_equal_ids(a: str, b: str) -> None:
    problems = near_equal(cells(a, b, "other", a), "here")
    assert len(problems) == 1 and repr(a) in problems[0].what and repr(b) in problems[0].what


@pytest.mark.parametrize(("a", "b"), [("R10", "R1"), ("R100", "R1"), ("1E5", "100000"), ("A1", "A-1"), ("0", "00A")])
def test_different_ids(a: str, b: str) -> None:
    assert not near_equal(cells(a, b), "here")


@given(st.text(max_size=12))
def test_spelling_key_is_stable(text: str) -> None:
    assert spelling_key(text + " ") == spelling_key(text)
    assert not near_equal(cells(text, text), "here")


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("intrathecal", "Intrathecal "),
        ("intrathecal", "i.t."),
        ("Intra-thecal", "IT"),
        ("i. v.", "intravenous"),
        ("infusion_3d", "Infusion 3d"),
        ("infusion-3d", "infusion_3d"),
        ("f", "Female"),
        ("cohort1", "Cohort1"),
        ("Long Evans", "long-evans"),
    ],
)
def test_levels_in_two_spellings(a: str, b: str) -> None:
    assert level_key(a) == level_key(b)


@pytest.mark.parametrize(
    ("a", "b"),
    [("intrathecal", "intravenous"), ("day -1", "day 1"), ("A1", "A-1"), ("0.5 % PBS", "5 % PBS"), ("1.5", "15"), ("batch 1", "batch 11")],
)
def test_levels_that_differ(a: str, b: str) -> None:
    assert level_key(a) != level_key(b)


def test_every_column_that_sorts_animals_is_looked_at_and_told_with_both_spellings_and_rows(study_dir: Path) -> None:
    ids = [f"R{i}" for i in range(6)]
    animals = pd.DataFrame({"animal": ids, "protocol": "V", "sex": ["f", "f", "F", "f", "?", ""]}, index=range(2, 8))
    animals["surgeon"], animals["remark"] = ["Ann", "Ben", "Ann", "ann", "Ben", ""], ["ok", "OK then", "Ok", "fine", "x", "y"]
    slides = pd.DataFrame({"animal": ids, "section": "s1", "batch": ["b1", "B1", *["b2"] * 4]}, index=range(2, 8))
    motor = pd.DataFrame({"animal": ids, "side": ["left", "Left", "l", "right", "right", ""]}, index=range(2, 8))
    config = load_study(study_dir).config
    one = next(iter(config.protocols.values()))
    routes = {"V": "intrathecal", "D3": "Intrathecal ", "P3": "i.t.", "P6": "intravenous"}
    changed = {name: one.model_copy(update={"route": route}) for name, route in routes.items()}
    told = spelling_problems(slides, animals, motor, config.model_copy(update={"protocols": changed}))
    assert [(p.where, p.what.partition(": ")[2]) for p in told] == [
        ("slides.csv, column batch", "'b1' (slides.csv, row 2) and 'B1' (slides.csv, row 3)"),
        ("animals.csv, column sex", "'f' (animals.csv, rows 2-3, 5) and 'F' (animals.csv, row 4)"),
        ("animals.csv, column surgeon", "'Ann' (animals.csv, rows 2, 4) and 'ann' (animals.csv, row 5)"),
        ("motor.csv, column side", "'left' (motor.csv, row 2) and 'Left' (motor.csv, row 3) and 'l' (motor.csv, row 4)"),
        (
            "study.toml: route",
            "'intrathecal' (protocols.V.route) and 'Intrathecal ' (protocols.D3.route) and 'i.t.' (protocols.P3.route)",
        ),
    ]
