"""A study is run, stopped, gone on with and changed from the window; the window stays free."""

from __future__ import annotations

import time
import tomllib
from importlib import import_module

import pytest

from sevhisto.pipeline.copying import copy_tables
from sevhisto.pipeline.job_process import COMMANDS, Job
from sevhisto.pipeline.settings_form import given_settings, read_value, save_settings, setting_facts, shown_value
from sevhisto.types import StudyError

from .conftest import wait_until


def finished(job):
    end = time.monotonic() + 60
    found = []
    while job.running and time.monotonic() < end:
        found += job.events()
        time.sleep(0.02)
    return found


def test_every_setting_that_stands_once_has_its_facts():
    facts = {f.place: f for f in setting_facts()}
    ring = facts["imaging", "ring_um"]
    assert (ring.kind, ring.unit, ring.default, ring.bounds) == ("number", "um", 2.0, "> 0, <= 20")
    assert facts["study", "orientation"].choices == ("transverse", "sagittal", "horizontal")
    assert facts["study", "section_spacing_um"].required and facts["thresholds", "per_image"].kind == "yes/no"
    assert all(f.help for f in facts.values()) and "panels" not in {f.section for f in facts.values()}
    for f in facts.values():
        assert read_value(f, shown_value(f, f.default)) == (f.default if f.default != "" else None)


def test_saved_settings_are_those_of_the_study_and_a_wrong_one_is_refused(fresh):
    before = (fresh.root / "study.toml").read_bytes()
    with pytest.raises(StudyError, match=r"ring_um(.|\n)*permutations"):
        save_settings(fresh.root, {("imaging", "ring_um"): -1.0, ("comparison", "permutations"): 1})
    assert (fresh.root / "study.toml").read_bytes() == before
    save_settings(fresh.root, {("imaging", "ring_um"): 2.5, ("comparison", "permutations"): None, ("motor", "criterion"): 10.0})
    given = given_settings(fresh.root)
    assert given["imaging", "ring_um"] == 2.5 and given["motor", "criterion"] == 10 and ("comparison", "permutations") not in given


def test_a_job_tells_what_is_wrong_under_codes(fresh):
    slide = fresh.a_sample()
    (fresh.root / "slides" / slide).write_bytes(b"no image at all")
    (last,) = finished(Job("check", fresh.root))
    assert last.kind == "done" and last.facts["problems"]
    assert slide not in str(last) and "S-" in str(last.facts["problems"])
    (fresh.root / "study.toml").unlink()
    (last,) = finished(Job("run", fresh.root))
    assert last.kind == "failed" and "study.toml" in str(last.problems[0])


def test_tables_are_copied_and_nothing_is_replaced(study, tmp_path):
    copied = copy_tables(study.root, tmp_path / "t")
    assert {"animals.csv", "sections.csv", "status.csv"} <= {p.name for p in copied}
    assert all(p.read_bytes() == (study.results / p.name).read_bytes() for p in copied)
    with pytest.raises(Exception, match="nothing was copied"):
        copy_tables(study.root, tmp_path / "t")


def test_every_job_is_a_command_that_there_is():
    for place in COMMANDS.values():
        module, _, name = place.partition(":")
        assert callable(getattr(import_module(module), name))


@pytest.mark.gui
def test_results_are_exported_and_reported_from_the_window(study, window):
    from sevhisto_napari.run_dock import RunDock
    from sevhisto_napari.session import session_of

    dock = RunDock(window)
    window.window.add_dock_widget(dock, name="Run")
    session_of(window).open(study.root)
    assert dock.format.currentText() == "xlsx" and dock.format.count() > 5
    dock.export.click()
    wait_until(lambda: not dock.runner.running)
    assert "Wrote" in dock.text.toPlainText() and list((study.results / "export" / "xlsx").glob("*.xlsx"))
    dock.buttons["report"].click()
    wait_until(lambda: not dock.runner.running)
    assert "report.html" in dock.text.toPlainText() and (study.results / "report.html").exists()


@pytest.mark.gui
def test_a_run_is_stopped_and_goes_on_from_there(fresh, window):
    from sevhisto_napari.run_dock import RunDock
    from sevhisto_napari.session import session_of

    dock = RunDock(window)
    window.window.add_dock_widget(dock, name="Run")
    assert not dock.buttons["run"].isEnabled()
    session_of(window).open(fresh.root)
    dock.jobs.setValue(1)
    dock.buttons["run"].click()
    assert not dock.buttons["run"].isEnabled() and dock.stop.isEnabled()
    slowest, last = 0.0, time.monotonic()

    def measured_some():
        nonlocal slowest, last
        slowest, last = max(slowest, time.monotonic() - last), time.monotonic()
        return dock.bar.maximum() == 15 and dock.bar.value() >= 3

    wait_until(measured_some)
    assert slowest < 0.5  # the window is not frozen while sections are measured
    dock.stop.click()
    wait_until(lambda: not dock.runner.running)
    assert "Stopped" in dock.text.toPlainText() and not (fresh.results / "run.json").exists()
    dock.buttons["run"].click()
    wait_until(lambda: not dock.runner.running)
    text = dock.text.toPlainText()
    assert "15 sections" in text and 0 < int(text.split(" measured now")[0].split()[-1]) <= 12
    assert (fresh.results / "run.json").exists()


@pytest.mark.gui
def test_a_window_that_closes_stops_its_run(fresh, window):
    from sevhisto_napari.run_dock import RunDock
    from sevhisto_napari.session import session_of

    dock = RunDock(window)
    held = window.window.add_dock_widget(dock, name="Run")
    session_of(window).open(fresh.root)
    dock.start("run")
    (job,) = dock.runner._jobs.now
    window.window.remove_dock_widget(held)
    dock.deleteLater()
    del dock
    wait_until(lambda: job._process.poll() is not None)
    assert not (fresh.results / "run.json").exists()


@pytest.mark.gui
def test_the_form_shows_and_saves_settings(fresh, window):
    from sevhisto_napari.run_dock import RunDock
    from sevhisto_napari.session import session_of

    dock = RunDock(window)
    session_of(window).open(fresh.root)
    form = dock.form
    ring = form.editors["imaging", "ring_um"]
    assert form.section.count() == form._pages.count() and "um" in ring.placeholderText()
    ring.setText("many")
    form.save_button.click()
    assert "Not saved" in form.message.text() and "imaging.ring_um" in form.message.text()
    ring.setText("2.5")
    choice = form.editors["thresholds", "per_image"]
    choice.setCurrentIndex(choice.findData(True))
    form.save_button.click()
    data = tomllib.loads((fresh.root / "study.toml").read_text("utf-8"))
    assert data["imaging"]["ring_um"] == 2.5 and data["thresholds"]["per_image"] is True
    ring.setText("")
    form.save_button.click()
    assert "ring_um" not in tomllib.loads((fresh.root / "study.toml").read_text("utf-8"))["imaging"]
    dock.deleteLater()
