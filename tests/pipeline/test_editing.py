"""What is drawn on a section in the viewer: the correction that `run` measures by, section by section, with a history."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sevhisto.io import versions
from sevhisto.io.annotations import Outline, read_outlines
from sevhisto.io.outlines import area_mask
from sevhisto.pipeline import run
from sevhisto.pipeline.editing import Editing, for_polygons, open_editing, program_outline
from sevhisto.pipeline.reviewing import open_review
from sevhisto.registry import split_flags
from sevhisto.types import SevhistoError
from tests.pipeline.conftest import Study, draw


def editing_of(study: Study, i: int = 0) -> tuple[Editing, tuple[str, str, str]]:
    review = open_review(study.root)
    animal, section, panel = (str(review.queue[c].iloc[i]) for c in ("animal", "section", "panel"))
    return open_editing(review.study, review.key, animal, section, panel, review.record(i)), (animal, section, panel)


def square(record, name: str = "lesion", half: float = 20.0) -> Outline:
    """A square in the middle of a section's tissue."""
    y, x = (np.mean(v) for v in np.nonzero(record.masks["tissue"]))
    factor, corner = record.meta["overview_factor"], record.meta["corner_px"]
    middle = np.array([y + 0.5, x + 0.5]) * factor + corner
    return Outline(name, [middle + half * np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)], float)], [])


def with_core(study: Study) -> int:
    review = open_review(study.root)
    return next(i for i in range(len(review.queue)) if review.record(i).masks["core"].any())


def test_only_the_section_that_was_drawn_on_is_measured_again_and_undo_brings_back_all(study: Study) -> None:
    before, corrections = study.files(), study.root / "corrections"
    i = with_core(study)
    editing, (animal, section, _) = editing_of(study, i)
    assert not editing.can_undo and editing.features == ()
    review = open_review(study.root)
    editing.save([square(review.record(i))], "drawn", "Ann")
    assert run(study.root, jobs=1).measured_now == 1
    status = study.table("status.csv")
    drawn = status[status["flags"].map(lambda f: "contour_drawn" in split_flags(f))]
    assert drawn[["animal", "section"]].to_numpy().tolist() == [[animal, section]]
    again, _ = editing_of(study, i)  # as after a restart
    assert again.can_undo and again.outlines[0].name == "lesion"
    again.undo("Ann")
    assert not list(corrections.glob("*.geojson")) and again.can_redo
    assert run(study.root, jobs=1).measured_now == 0
    tables = [{name: data for name, data in files.items() if not name.startswith("records/")} for files in (before, study.files())]
    assert tables[0] == tables[1]
    third, _ = editing_of(study, i)
    third.redo("Ann")
    assert run(study.root, jobs=1).measured_now == 0 and third.outlines[0].name == "lesion"


def test_the_programs_outline_can_be_taken_over_and_reshaped(study: Study) -> None:
    review = open_review(study.root)
    record = review.record(with_core(study))
    outlines = program_outline(record)
    core = record.masks["core"] > 0
    mask = area_mask(outlines, "lesion", core.shape, float(record.meta["overview_factor"]), tuple(record.meta["corner_px"]))
    assert mask is not None and (mask != core).sum() <= 0.05 * core.sum()
    record.masks["core"][...] = 0
    assert program_outline(record) == []


def test_what_others_drew_on_the_slide_stays_as_it_is(study: Study) -> None:
    review = open_review(study.root)
    slides = study.sheet("slides.csv")
    file = slides.loc[(slides["role"] == "sample") & (slides["piece"] == "2"), "file"].iloc[0]
    draw(study, file, "lesion", piece=2)
    path = study.root / "corrections" / f"{file}.geojson"
    feature = json.loads(path.read_text("utf-8"))
    feature["properties"]["colour"] = [1, 2, 3]
    path.write_text(json.dumps(feature), "utf-8")
    found = []
    for i in range(len(review.queue)):
        editing, _ = editing_of(study, i)
        if editing.path == path:
            found.append((i, editing))
    owner = [e for _, e in found if e.features]
    assert len(found) == 3 and len(owner) == 1
    i, other = next((i, e) for i, e in found if not e.features)
    other.save([square(review.record(i), "exclude: tissue_damaged")], "excluded", "Ann")
    assert json.loads(path.read_text("utf-8"))["features"][0] == feature
    assert [o.kind for o in read_outlines(path)] == ["lesion", "excluded"]
    other.undo("Ann")
    assert json.loads(path.read_text("utf-8"))["features"] == [feature]


def test_a_change_in_another_program_is_a_version_too(study: Study) -> None:
    i = with_core(study)
    record = open_review(study.root).record(i)
    editing, _ = editing_of(study, i)
    editing.save([square(record)], "drawn", "Ann")
    editing.path.write_text(editing.path.read_text("utf-8").replace("lesion", "white matter"), "utf-8")
    again, _ = editing_of(study, i)
    assert again.outlines[0].name == "white matter" and again.can_undo
    again.save([*again.outlines, square(record, half=10)], "added", "Bob")
    assert [v.what for v in again.history.versions.values()] == ["found", "drawn", "found", "added"]
    again.undo("Bob")
    assert [o.name for o in again.outlines] == ["white matter"]
    again.undo("Bob")
    assert [o.name for o in again.outlines] == ["lesion"]


def test_a_full_disk_loses_no_edit(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    i = with_core(study)
    record = open_review(study.root).record(i)
    editing, _ = editing_of(study, i)
    editing.save([square(record)], "drawn", "Ann")
    before = editing.path.read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(SevhistoError, match="No space left"):
            editing.save([square(record, half=9)], "reshaped", "Ann")
    assert editing.path.read_bytes() == before and editing.outlines[0].name == "lesion"
    with monkeypatch.context() as patch:
        patch.setattr(versions, "append_line", lambda *_: full(0))
        with pytest.raises(OSError, match="No space left"):
            editing.save([square(record, half=9)], "reshaped", "Ann")
    assert editing.path.read_bytes() != before  # the outline is safe, its history is not
    editing.save([square(record, half=8)], "reshaped", "Ann")
    assert [v.what for v in editing.history.versions.values()] == ["found", "drawn", "found", "reshaped"]


def test_outlines_of_imagej_are_taken_over_and_the_file_is_kept(study: Study) -> None:
    import roifile

    i = with_core(study)
    record = open_review(study.root).record(i)
    editing, _ = editing_of(study, i)
    ring = square(record).polygons[0]
    roi = roifile.ImagejRoi.frompoints(ring[:, ::-1])
    roi.name = "lesion"
    path: Path = editing.path.with_suffix(".roi")
    path.parent.mkdir(exist_ok=True)
    roi.tofile(path)
    again, _ = editing_of(study, i)
    assert np.abs(np.sort(again.outlines[0].polygons[0][:4], axis=0) - np.sort(ring, axis=0)).max() < 0.01
    again.save([*again.outlines, square(record, "exclude", 5)], "excluded", "Ann")
    assert not path.exists() and path.with_name(path.name + ".replaced").is_file() and again.path.is_file()
    run(study.root, jobs=1)
    assert study.table("status.csv")["flags"].str.contains("contour_drawn").sum() == 1


def test_holes_become_polygons_of_their_own() -> None:
    ring = np.array([(0, 0), (0, 9), (9, 9), (9, 0)], float)
    holed, plain = Outline("lesion", [ring], [ring / 3 + 2]), Outline("lesion", [ring + 20], [])
    area = Outline("exclude", [ring], [ring / 3])
    parts, kept = for_polygons([plain, holed, area])
    assert [o.name for o in parts] == ["lesion", "not lesion", "lesion"] and kept == [area] and not any(o.holes for o in parts)
    both = [area_mask(list(o), "lesion", (30, 30), 1.0) for o in ([plain, holed], parts)]
    assert both[0] is not None and np.array_equal(both[0], both[1])
