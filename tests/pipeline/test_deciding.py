"""What a person decides on sections and batches: accepted outlines and thresholds set by hand, in journals that the next run applies."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sevhisto.io.accepted import JOURNAL as ACCEPTED
from sevhisto.io.accepted import read_accepted
from sevhisto.io.hand_thresholds import JOURNAL as THRESHOLDS
from sevhisto.io.hand_thresholds import read_hand_thresholds
from sevhisto.io.journals import append_line
from sevhisto.io.key import codes
from sevhisto.io.study import load_study
from sevhisto.pipeline import accept, run, set_threshold
from sevhisto.registry import split_flags
from sevhisto.types import StudyError, snap_threshold
from tests.pipeline.conftest import Study, draw


def unreviewed(study: Study) -> list[tuple[str, str]]:
    status = study.table("status.csv")
    return [(r.animal, r.section) for r in status.itertuples() if "contour_unreviewed" in split_flags(r.flags)]


def flags_of(study: Study, place: tuple[str, str], name: str = "sections.csv") -> set[str]:
    table = study.table(name)
    mine = table[(table["animal"] == place[0]) & (table["section"] == place[1])]
    assert len(mine)
    return set().union(*map(split_flags, mine["flags"]))


def test_an_accepted_outline_is_no_longer_unreviewed_in_any_table(study: Study) -> None:
    places = unreviewed(study)
    animal = places[0][0]
    mine = [p for p in places if p[0] == animal]
    before = study.files()
    for place in mine:
        entry = accept(study.root, *place, who=" Ann ")
        assert (entry.who, entry.place[:2]) == ("Ann", place) and entry.when.endswith("+00:00")
    with pytest.raises(StudyError, match="was accepted by Ann"):
        accept(study.root, *mine[0], who="Bob")
    assert run(study.root, jobs=1).measured_now == 0
    for place in mine:
        found = flags_of(study, place)
        assert "contour_accepted" in found and not found & {"contour_unreviewed", "contour_uncertain"}
    animals = study.table("animals.csv")
    told = {a: animals[animals["animal"] == a]["flags"].str.contains("contour_unreviewed").any() for a in set(animals["animal"])}
    assert not told[animal] and any(told.values())
    provenance = study.table("provenance.csv")
    assert (provenance["outline_from"] == "accepted").sum() == len(mine)
    for place in mine:
        accept(study.root, *place, who="Ann", undo=True)
    run(study.root, jobs=1)
    assert study.files() == before


def test_an_acceptance_holds_for_the_outline_that_was_seen_only(study: Study) -> None:
    file = study.a_sample()
    key, slides = codes(load_study(study.root)), study.sheet("slides.csv")
    row = slides[(slides["file"] == file) & (slides["piece"] == "2")].iloc[0]
    place = key.shown(row["animal"], row["section"])
    accept(study.root, *place, who="Ann")
    draw(study, file)
    run(study.root, jobs=1)
    assert "contour_drawn" in flags_of(study, place) and "contour_accepted" not in flags_of(study, place)
    (study.root / "corrections" / f"{file}.geojson").unlink()
    run(study.root, jobs=1)
    assert "contour_accepted" in flags_of(study, place)  # the outline that was seen is back


def test_what_cannot_be_accepted_says_why_and_writes_nothing(study: Study, sevhisto) -> None:
    animal, section = unreviewed(study)[0]
    for words, told in (
        (("--animal", animal, "--section", "nowhere", "--who", "Ann"), "not in the last run"),
        (("--animal", animal, "--section", section, "--who", " "), "--who"),
        (("--animal", animal, "--section", section, "--who", "Ann", "--undo"), "nothing to undo"),
    ):
        said = sevhisto("accept", study.root, *words)
        assert said.status == 1 and told in said.err
    assert not (study.root / ACCEPTED).exists()
    assert sevhisto("accept", study.root, "--animal", animal, "--section", section, "--who", "Ann").status == 0
    path = study.root / ACCEPTED
    path.write_text(path.read_text("utf-8").replace("Ann", "Bob"), "utf-8")
    with pytest.raises(StudyError, match="seal"):
        run(study.root, jobs=1)


def test_a_threshold_set_for_a_batch_moves_it_and_only_it(study: Study, sevhisto) -> None:
    before = study.files()
    thresholds = study.table("thresholds.csv").set_index("marker")
    panel, batch = thresholds.loc["fibronectin", ["panel", "batch"]]
    value = float(thresholds.loc["fibronectin", "threshold"]) * 1.4
    place = ("--panel", panel, "--batch", batch, "--marker", "fibronectin")
    said = sevhisto("threshold", study.root, *place, "--value", value, "--who", "Ann", "--note", "background of the glass")
    assert said.status == 0, said.err
    assert run(study.root, jobs=1).measured_now == 0
    after = study.table("thresholds.csv").set_index("marker")
    assert float(after.loc["fibronectin", "threshold"]) == snap_threshold(value)
    assert after.loc["fibronectin", "source"] == "by_hand" and "threshold_fixed" in after.loc["fibronectin", "flags"]
    others = [m for m in after.index if m != "fibronectin"]
    assert (after.loc[others, "source"] == thresholds.loc[others, "source"]).all()
    assert read_hand_thresholds(study.root)[0].note == "background of the glass"
    facts = json.loads((study.results / "run.json").read_text("utf-8"))
    assert facts["settings"]["batches"][batch]["thresholds"] == {panel: {"fibronectin": value}}
    assert sevhisto("threshold", study.root, *place, "--undo", "--who", "Ann").status == 0
    run(study.root, jobs=1)
    assert study.files() == before


def test_a_threshold_for_nothing_is_refused(study: Study, sevhisto) -> None:
    panel, batch = study.table("thresholds.csv").loc[0, ["panel", "batch"]]
    for place, value, told in (
        ((panel, "nowhere", "CD68"), 5.0, "no batch 'nowhere'"),
        ((panel, batch, "CD86"), 5.0, "no marker 'CD86'"),
        ((panel, batch, "fibronectin"), float("nan"), "finite"),
        ((panel, batch, "fibronectin"), None, "nothing to undo"),
    ):
        with pytest.raises(StudyError, match=told):
            set_threshold(study.root, *place, value, who="Ann")
    assert not (study.root / THRESHOLDS).exists()
    assert sevhisto("threshold", study.root, "--panel", panel, "--batch", batch, "--marker", "fibronectin", "--who", "A").status == 1
    set_threshold(study.root, panel, batch, "fibronectin", 5.0, who="Ann")
    study.edit("fibronectin", "laminin")
    with pytest.raises(StudyError, match=THRESHOLDS):
        load_study(study.root)


def test_a_full_disk_leaves_a_journal_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.jsonl"
    append_line(path, "first", "nothing was done")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StudyError, match="No space left on device"):
        append_line(path, "second", "nothing was done")
    assert path.read_text("utf-8") == "first\n"


def test_the_journal_is_empty_before_anything_is_accepted(study: Study) -> None:
    assert read_accepted(study.root) == [] and np.all([len(p) == 2 for p in unreviewed(study)])


def test_a_batch_whose_name_tells_an_animal_is_named_by_its_code(study: Study) -> None:
    slides = study.sheet("slides.csv")
    (old,) = set(slides["batch"]) - {""}
    telling = f"day of {slides.loc[slides['role'] == 'sample', 'animal'].iloc[0]}"
    study.write_sheet("slides.csv", slides.assign(batch=telling))
    study.edit(f"[batches.{old}]", f'[batches."{telling}"]')
    run(study.root, jobs=1)
    panel, batch = study.table("thresholds.csv").loc[0, ["panel", "batch"]]
    assert batch != telling and "A-" in batch
    assert set_threshold(study.root, panel, batch, "fibronectin", 12.0, who="Ann").batch == batch
    run(study.root, jobs=1)
    applied = study.table("thresholds.csv").set_index("marker").loc["fibronectin"]
    assert float(applied["threshold"]) == snap_threshold(12.0) and applied["batch"] == batch and applied["source"] == "by_hand"
