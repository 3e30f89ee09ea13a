"""A classifier is taught in the window: the same files and functions as on the command line."""

from __future__ import annotations

import json
import tomllib

import numpy as np
import pytest

from sevhisto.io.annotations import Outline
from sevhisto.io.training import read_examples
from sevhisto.pipeline.reviewing import open_review
from sevhisto.pipeline.teaching import classes_drawn, open_lesson
from sevhisto.types import SevhistoError

from .conftest import wait_until


def first_place(study):
    return open_review(study.root).place(0)


def true_file(study, place):
    key = study.sheet("results/key/key.csv")
    animal = key.loc[key["code"] == place[0], "name"].iloc[0]
    slides = study.sheet("slides.csv")
    return slides.loc[(slides["animal"] == animal) & (slides["section"] == place[1]), "file"].iloc[0]


def test_strokes_are_kept_beside_what_was_drawn_elsewhere(study):
    place = first_place(study)
    file = study.root / "training" / f"{true_file(study, place)}.geojson"
    ring = [[5, 5], [30, 5], [30, 30], [5, 5]]
    drawn = {
        "type": "Feature",
        "id": "from QuPath",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"classification": {"name": "other"}},
    }
    file.parent.mkdir()
    file.write_text(json.dumps(drawn), "utf-8")
    lesson = open_lesson(study.root, place)
    assert (lesson.path, len(lesson.kept), lesson.strokes) == (file, 1, ())
    lesson.save([Outline("scar", [], [], [np.array([[4.5, 6.5], [10, 20]])])])
    again = open_lesson(study.root, place)
    assert again.kept == (drawn,) and again.strokes[0].name == "scar" and again.strokes[0].strokes[0].tolist() == [[4.5, 6.5], [10, 20]]
    examples, wrong = read_examples(file, (10**4, 10**4))
    assert not wrong and {e.name for e in examples} == {"scar", "other"} == set(classes_drawn(study.root, place[2]))
    again.save([])
    assert json.loads(file.read_text("utf-8"))["features"] == [drawn]


def test_outlines_of_imagej_are_not_touched(study):
    place = first_place(study)
    file = study.root / "training" / f"{true_file(study, place)}.zip"
    file.parent.mkdir()
    file.write_bytes(b"PK")
    with pytest.raises(SevhistoError, match="ImageJ") as told:
        open_lesson(study.root, place)
    assert file.name not in str(told.value)  # the study is blind


@pytest.mark.gui
def test_strokes_are_drawn_learned_from_shown_and_used(study, window):
    from sevhisto_napari.review import ReviewDock
    from sevhisto_napari.session import session_of
    from sevhisto_napari.teach_dock import TeachDock

    dock = TeachDock(window)
    window.window.add_dock_widget(dock, name="Teach")
    assert not dock.train_button.isEnabled() and "Show a section" in dock.message.text()
    review, session = ReviewDock(window, study.root), session_of(window)
    assert dock.train_button.isEnabled()
    for name in ("scar", "other"):
        dock.new_class.setText(name)
        dock.add_class()
    layer = window.layers["strokes"]
    assert layer.mode == "add_path"
    cy, cx = np.array(window.layers["tissue"].extent.world).mean(axis=0)
    for name, y in (("other", -60), ("scar", 60), ("other", -90), ("scar", 90)):
        dock.classes.setCurrentRow(["other", "scar"].index(name))
        layer.add([[cy + y, cx - 50], [cy + y + 5, cx + 50]], shape_type="path")
    assert layer.features["class"].tolist() == ["other", "scar"] * 2 and len({tuple(c) for c in layer.edge_color}) == 2
    file = study.root / "training" / f"{true_file(study, session.place)}.geojson"
    wait_until(file.is_file)
    dock.pixels.setChecked(True)
    assert any(x.name.startswith("slide ") for x in window.layers) and not window.layers["GFAP"].visible
    dock.pixels.setChecked(False)
    assert not any(x.name.startswith("slide ") for x in window.layers) and window.layers["GFAP"].visible
    dock.name.setText("scar")
    dock.use.click()
    assert "train it first" in dock.text.toPlainText()
    dock.train_button.click()
    wait_until(lambda: not dock.runner.running)
    assert (study.root / "classifiers" / "scar.npz").is_file(), dock.text.toPlainText()
    wait_until(lambda: "answer" in window.layers)  # it is shown by itself
    answer = window.layers["answer"]
    assert set(np.unique(answer.data)) <= {0, 1, 2} and window.layers.selection.active == window.layers["strokes"]
    wait_until(lambda: not dock.runner.running)
    assert all(words in dock.text.toPlainText() for words in ("balanced accuracy", "Of the tissue that has a class: other"))
    y, x = (int(v) for v in answer.world_to_data((cy + 62, cx)))
    assert answer.data[y, x] == 2 and answer.metadata["labels"] == {1: "other", 2: "scar"}
    dock.measured.setCurrentText("scar")
    dock.role.setCurrentText("ecm")
    dock.use.click()
    panel = tomllib.loads((study.root / "study.toml").read_text("utf-8"))["panels"]["B"]
    assert panel["classifier"] == "scar"
    assert panel["channels"][-1] == {"channel": "scar", "marker": "scar", "role": "ecm", "source": "classifier"}
    place = session.place
    review.step(1)
    if session.place[:2] != place[:2] and true_file(study, session.place) != true_file(study, place):
        assert not len(window.layers["strokes"].data)
    review.deleteLater()
