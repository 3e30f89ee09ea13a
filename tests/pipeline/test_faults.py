"""A run to which things happen: the command line in a process of its own. More kinds, and many times: benchmarks/faults.py."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sevhisto.io import patience
from sevhisto.io.lock import LOCK, held
from sevhisto.io.tiff import TiffSlideFile
from sevhisto.pipeline import measuring, run
from sevhisto.types import OutputError, Problem

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals and /proc of Linux")
TABLES = (".csv", ".parquet")


def begin(root: Path, repo: Path, **env: str) -> subprocess.Popen[str]:
    paths = [str(repo / "benchmarks" / "poison"), str(repo), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **env}
    words = [sys.executable, "-m", "sevhisto.cli", "run", str(root), "--jobs", "2"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(words, env=environment, start_new_session=True, preexec_fn=hears_ctrl_c, **pipes)


def hears_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # which programs started in the background do not


def ended(child: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = child.communicate(timeout=300)
    return child.returncode, out + err


def lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def tables(study: Any) -> dict[str, bytes]:
    return {name: data for name, data in study.files().items() if name.endswith(TABLES)}


def test_a_slide_that_kills_its_process_is_a_failed_row_and_costs_nothing_else(fresh: Any, study: Any, repo: Path) -> None:
    victim = fresh.a_sample()
    status, said = ended(begin(fresh.root, repo, POISON=f"{victim}=SIGSEGV"))
    assert status == 3, said
    assert "died (SIGSEGV), 3 times" in said
    failed = fresh.table("status.csv").query("status == 'failed'")
    assert len(failed) == 3 and failed["reason"].str.contains("SIGSEGV").all()
    here, whole = ({name for name in s.files() if name.startswith("records/")} for s in (fresh, study))
    assert here < whole and len(whole - here) == 2 * 3  # a record and its tallies of three sections
    status, said = ended(begin(fresh.root, repo))
    assert status == 0, said
    assert "3 measured now" in said
    assert tables(fresh) == tables(study)


def test_a_run_that_is_asked_to_stop_says_how_to_go_on_and_leaves_nothing(fresh: Any, repo: Path) -> None:
    child = begin(fresh.root, repo, POISON=f"{fresh.a_sample()}=hang")
    until = time.monotonic() + 120
    while not list(fresh.results.glob("records/*.npz")) and time.monotonic() < until:
        time.sleep(0.1)
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does for Ctrl-C
    status, said = ended(child)
    assert status == 130
    assert "Stopped. Nothing is lost" in said and "Traceback" not in said
    assert not (fresh.results / LOCK).exists()
    until = time.monotonic() + 10
    while lives(child.pid) and time.monotonic() < until:
        time.sleep(0.1)
    assert not lives(child.pid)


def test_results_that_cannot_be_written_stop_the_run_and_the_old_tables_stay(study: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for record in sorted((study.results / "records").glob("*.npz"))[:2]:
        record.unlink()
    before = study.files()

    def full(*_: Any) -> Path:
        raise OutputError(Problem("results", "cannot be written: No space left on device", "make room"))

    monkeypatch.setattr(measuring, "save_record", full)
    with pytest.raises(OutputError, match="No space left"):
        run(study.root, jobs=1)
    assert study.files() == before


def test_nothing_is_compared_while_a_run_writes(study: Any, sevhisto: Any) -> None:
    with held(study.results):
        said = sevhisto("compare", study.root, "--jobs", 1)
    assert said.status == 1 and "another run holds it" in said.err


@pytest.mark.parametrize(("times", "from_call"), [(1, 1), (1, 8), (1000, 8)])
def test_a_share_that_drops_is_waited_for_but_not_for_ever(study: Any, monkeypatch: pytest.MonkeyPatch, times: int, from_call: int) -> None:
    before = tables(study)
    records = study.table("records.csv").merge(study.table("status.csv")[["animal", "section", "panel", "file"]])
    for name in records.loc[records["file"] == records["file"].iloc[-1], "record"]:
        (study.results / "records" / name).unlink()
    read, waited, calls = TiffSlideFile.read, [], [0]

    def dropping(self: Any, *args: Any) -> Any:
        calls[0] += self.path.parent.name == "slides"
        if self.path.parent.name == "slides" and from_call <= calls[0] < from_call + times:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return read(self, *args)

    monkeypatch.setattr(TiffSlideFile, "read", dropping)
    monkeypatch.setattr(patience.time, "sleep", waited.append)
    done = run(study.root, jobs=1)
    if times == 1:
        assert (done.failed, waited) == (0, [patience.WAITS_S[0]])
        assert tables(study) == before
    else:
        assert waited == list(patience.WAITS_S)
        failed = study.table("status.csv").query("status == 'failed'")
        assert len(failed) == 3 and failed["reason"].str.contains("Stale file handle").all()
