"""Exclusions: on codes, in a journal that is only appended to, applied by the next run, told in the comparison."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from sevhisto.io.exclusions import JOURNAL, active, read_journal
from sevhisto.io.key import codes
from sevhisto.io.study import load_study
from sevhisto.pipeline import compare, run
from sevhisto.pipeline.excluding import exclude
from sevhisto.types import SevhistoError, StudyError
from tests.pipeline.conftest import Study, draw


def a_code(study: Study, at: int = 0) -> str:
    status = study.table("status.csv")
    told = study.table("records.csv")
    return sorted(set(status.loc[(told["role"] == "sample").to_numpy(), "animal"]))[at]


def test_a_section_left_out_is_excluded_and_interpolated_and_comes_back(study: Study) -> None:
    code = a_code(study)
    before = study.files()
    entry = exclude(study.root, code, "s02", who="Ann", reason="tissue_damaged", note="fold")
    assert entry.when.endswith("+00:00") and read_journal(study.root) == [entry]
    run(study.root, jobs=1)
    status = study.table("status.csv")
    told = status[status["status"] == "excluded"]
    assert told[["animal", "section", "reason"]].to_numpy().tolist() == [[code, "s02", "tissue_damaged: fold"]]
    animals = study.table("animals.csv")
    mine = animals[(animals["animal"] == code) & (animals["metric"] == "area_um2") & (animals["zone"] == "all")]
    assert set(mine["n_sections"]) == {2} and set(mine["n_expected"]) == {3}
    sections = study.table("sections.csv")
    left = sections[(sections["animal"] == code) & (sections["section"] == "s02")]
    assert len(left) and left["flags"].str.contains("excluded").all()
    assert not sections.drop(left.index)["flags"].str.contains("excluded").any()
    exclude(study.root, code, "s02", who="Bob", undo=True, note="it is no fold")
    run(study.root, jobs=1)
    assert study.files() == before
    assert [e.undo for e in read_journal(study.root)] == [False, True] and not active(read_journal(study.root))


def test_an_animal_left_out_has_no_row_and_no_say(study: Study) -> None:
    code = a_code(study)
    before = study.table("animals.csv")
    exclude(study.root, code, who="Ann", reason="injury_off_target")
    done = run(study.root, jobs=1)
    assert done.excluded == 3
    after = study.table("animals.csv")
    assert set(before["animal"]) - set(after["animal"]) == {code}
    others = before[before["animal"] != code].reset_index(drop=True)
    same = ~others["metric"].isin(["count", "density_per_mm2", "fraction_of_cd68_pct"])  # thresholds of cells pool all samples
    pd.testing.assert_frame_equal(after[same], others[same])
    assert code not in set(pd.read_parquet(study.results / "cells.parquet")["animal"])
    assert code not in set(study.table("profiles.csv")["animal"])


def test_the_comparison_is_made_with_and_without_what_was_left_out(study: Study) -> None:
    code = a_code(study)
    compare(study.root, jobs=1)
    whole = study.table("specifications.csv")
    assert "with excluded" not in set(whole["choice"])
    exclude(study.root, code, who="Ann", reason="died")
    with pytest.raises(SevhistoError, match="changed since the last run"):
        compare(study.root, jobs=1)
    run(study.root, jobs=1)
    compare(study.root, jobs=1)
    curve = study.table("specifications.csv")
    n = {choice: rows[["n_a", "n_b"]].astype(int).sum().sum() for choice, rows in curve.groupby("choice")}
    assert n["with excluded"] == whole.loc[whole["choice"] == "as analysed", ["n_a", "n_b"]].astype(int).sum().sum() > n["as analysed"]
    assert code not in set(curve.loc[curve["choice"] == "without animal", "variant"])


def test_the_sheets_exclusions_are_compared_with_too(study: Study) -> None:
    sheet = study.sheet("animals.csv")
    sheet.loc[sheet["protocol"] != "", ["excluded", "exclusion_reason"]] = ""
    first = sheet.index[sheet["protocol"] != ""][0]
    sheet.loc[first, ["excluded", "exclusion_reason"]] = ["yes", "died"]
    study.write_sheet("animals.csv", sheet)
    compare(study.root, jobs=1)
    curve = study.table("specifications.csv")
    sums = curve.groupby("choice")[["n_a", "n_b"]].sum().astype(float).sum(axis=1)
    assert sums["with excluded"] > sums["as analysed"]


def test_a_change_after_opening_the_key_is_stamped(study: Study) -> None:
    code = a_code(study)
    compare(study.root, open_key=True, jobs=1)
    name = {c: n for n, c in codes(load_study(study.root)).animals.items()}[code]
    assert exclude(study.root, name, who="Ann", reason="died").animal == code  # the journal holds codes
    run(study.root, jobs=1)
    animals = study.table("animals.csv")
    assert name not in set(animals["animal"]) and animals["flags"].str.contains("changed_after_unblinding").all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"animal": "A-NOBODY"}, "no animal 'A-NOBODY'"),
        ({"section": "s9"}, "no section 's9'"),
        ({"panel": "Z"}, "no panel 'Z'"),
        ({"reason": "tisue_damaged"}, "did you mean 'tissue_damaged'"),
        ({"reason": "other"}, "the reason is other"),
        ({"who": "  "}, "name of the person"),
        ({"undo": True}, "nothing to undo"),
    ],
)
def test_what_cannot_be_left_out_is_told_and_writes_nothing(study: Study, changes: dict[str, object], said: str) -> None:
    asked = {"animal": a_code(study), "section": "s01", "who": "Ann", "reason": "tissue_damaged"} | changes
    with pytest.raises(StudyError, match=said):
        exclude(study.root, **asked)  # type: ignore[arg-type]
    assert not (study.root / JOURNAL).exists()


def test_a_true_name_is_refused_while_the_study_is_blind(study: Study) -> None:
    with pytest.raises(StudyError, match="no animal"):
        exclude(study.root, "Ratte01", who="Ann", reason="died")


def test_leaving_out_twice_is_told(study: Study) -> None:
    exclude(study.root, a_code(study), who="Ann", reason="died")
    with pytest.raises(StudyError, match="left out already"):
        exclude(study.root, a_code(study), who="Bob", reason="surgery_failed")
    assert len(read_journal(study.root)) == 1


def _other_reason(lines: list[str]) -> list[str]:
    return [json.dumps(json.loads(lines[0]) | {"reason": "surgery_failed"}, ensure_ascii=False), *lines[1:]]


@pytest.mark.parametrize(
    ("harm", "line"),
    [
        (_other_reason, 1),
        (lambda lines: lines[1:], 1),
        (lambda lines: [lines[1], lines[0], lines[2]], 1),
        (lambda lines: [lines[0], lines[2]], 2),
        (lambda lines: [*lines[:2], lines[2][:40]], 3),
        (lambda lines: [*lines, "left out by hand"], 4),
        (lambda lines: [lines[0], "", *lines[1:]], 2),
    ],
)
def test_a_journal_changed_by_hand_is_named_by_line_and_left_as_it_is(study: Study, harm: object, line: int) -> None:
    code = a_code(study)
    for section in ("s01", "s02", "s03"):
        exclude(study.root, code, section, who="Änne", reason="tissue_damaged")
    path = study.root / JOURNAL
    changed = "\n".join(harm(path.read_text("utf-8").splitlines())) + "\n"  # type: ignore[operator]
    path.write_text(changed, "utf-8")
    for act in (lambda: run(study.root, jobs=1), lambda: exclude(study.root, code, who="Ann", reason="died")):
        with pytest.raises(StudyError, match=f"line {line}: does not fit its seal"):
            act()
    assert path.read_text("utf-8") == changed


def test_a_study_under_another_name_does_not_lose_its_exclusions_silently(study: Study) -> None:
    exclude(study.root, a_code(study), who="Ann", reason="died")
    name = load_study(study.root).config.study.name
    study.edit(f'name = "{name}"', 'name = "renamed"')
    with pytest.raises(StudyError, match="no animal of the study has this code"):
        run(study.root, jobs=1)


def test_drawn_areas_get_reason_and_name_in_the_journal(study: Study) -> None:
    file = study.a_sample()
    draw(study, file, "exclude: staining failed", half_px=10)
    run(study.root, jobs=1)
    area = study.table("exclusions.csv")
    told = ["level", "reason", "who", "source"]
    assert area[told].to_numpy().tolist() == [["area", "staining_failed", "", "outline"]] and area["area_um2"].gt(0).all()
    where = tuple(area[["animal", "section", "panel"]].iloc[0])
    status = study.table("status.csv").set_index(["animal", "section", "panel"])["flags"]
    assert "exclusion_unsigned" in status[where] and not status.drop(where).str.contains("exclusion_unsigned").any()
    before = study.files()
    exclude(study.root, *where, who="Ann", reason="tissue_damaged", note="a fold", areas=True)
    assert run(study.root, jobs=1).excluded == 0
    assert study.table("exclusions.csv")[told].to_numpy().tolist() == [["area", "tissue_damaged", "Ann", "outline and journal"]]
    assert study.files()["animals.csv"] == before["animals.csv"]
    odc = study.table("odc_sci_exclusions.csv").set_index("Subject_ID")
    assert odc.loc[where[0], "Exclusion_in_origin_study"] == f"area on section {where[1]} (panel B)"
    with pytest.raises(StudyError, match="left out already"):
        exclude(study.root, *where, who="Ann", reason="other", note="again", areas=True)
    draw(study, file, "exclude", half_px=12)  # another area: signed anew
    run(study.root, jobs=1)
    assert set(study.table("exclusions.csv")["who"]) == {""}
    exclude(study.root, *where, who="Bob", reason="imaging_failed", areas=True)
    with pytest.raises(StudyError, match="no such section was measured with an excluded area"):
        exclude(study.root, where[0], "s01", who="Ann", reason="died", areas=True)


def test_a_note_with_a_name_is_refused_while_blind(study: Study) -> None:
    with pytest.raises(StudyError, match="say it with codes: A-"):
        exclude(study.root, a_code(study), who="Ann", reason="died", note="Ratte01 had a fever")
