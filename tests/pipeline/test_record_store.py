"""A run whose records are in a store: the same bytes, found again from an empty folder, and a store that fails ends it in one sentence."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from sevhisto.io.study import load_study
from sevhisto.pipeline import run
from sevhisto.pipeline.measuring import measure_slide
from sevhisto.pipeline.running import slide_tasks
from sevhisto.pipeline.stages import batch_corrections
from sevhisto.types import OutputError

pytest.importorskip("fsspec")


def test_records_in_a_store_are_shared_found_again_and_mended(study, tmp_path):
    before = study.files()
    (tmp_path / "store").mkdir()
    url = (tmp_path / "store").as_uri()
    done = run(study.root, jobs=1, records=url)
    assert (done.failed, done.measured_now) == (0, 0)
    stored = {p.name: p.read_bytes() for p in (tmp_path / "store").rglob("*") if p.is_file()}
    assert stored == {p.name: p.read_bytes() for p in (study.results / "records").glob("*.npz")}
    assert study.files() == before
    gone, torn, *_ = sorted((tmp_path / "store").rglob("*.npz"))
    gone.unlink()
    torn.write_bytes(torn.read_bytes()[:-50])
    shutil.rmtree(study.results)
    done = run(study.root, jobs=1, records=url)
    assert (done.failed, done.measured_now) == (0, 2)
    assert study.files() == before
    assert {p.name: p.read_bytes() for p in (tmp_path / "store").rglob("*") if p.is_file()} == stored


def test_a_store_that_cannot_be_written_ends_the_run_and_the_tables_stay(study, sevhisto, tmp_path):
    before = study.files()
    said = sevhisto("run", study.root, "--jobs", 1, "--records", (tmp_path / "nowhere").as_uri())
    assert said.status == 1 and "cannot be written: FileNotFoundError" in said.err and "Traceback" not in said.err
    with pytest.raises(OutputError, match="no package reaches"):
        run(study.root, jobs=1, records="nosuch://lab")
    assert study.files() == before


def test_a_machine_without_the_results_folder_measures_into_the_store(study, tmp_path):
    """As a worker elsewhere does: it sees the slides, and writes to the store only."""
    loaded = load_study(study.root)
    (tmp_path / "store").mkdir()
    tasks = slide_tasks(loaded)
    corrections, _ = batch_corrections(tasks, lambda function, work: enumerate(map(function, work)), lambda *_: None)
    task = next(t for t in tasks if t.pieces[0].role == "sample")
    away = replace(
        task,
        correction=corrections[task.panel_name, task.batch_name],
        records=tmp_path / "no" / "records",
        store=(tmp_path / "store").as_uri(),
    )
    made = measure_slide(away)
    assert all(o.new and o.record is not None for o in made) and not (tmp_path / "no").exists()
    here = {p.name for p in (study.results / "records").glob("*.npz")}
    assert {o.record.name for o in made} <= here
    again = measure_slide(away)
    assert [(o.record, o.new) for o in again] == [(o.record, False) for o in made]
