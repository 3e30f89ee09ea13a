"""Slurm jobs: what they ask for; those that are refused, end, or never work. benchmarks/cluster_real.py has a real Slurm."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from sevhisto.commands.run import _stoppable
from sevhisto.engine import slurm
from sevhisto.engine.cluster import LOOPBACK
from sevhisto.engine.slurm import _Jobs, slurm_jobs
from sevhisto.types import SevhistoError, StudyError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Slurm is not on Windows")

COMMANDS = {
    "sbatch": """n=$(( $(cat numbers | wc -l) + 1 ))
cat > script
if [ $n -gt $(cat most) ]; then echo "sbatch: error: too many" >&2; exit 1; fi
echo $n >> numbers; touch jobs/$n; echo "$n;cluster"
""",
    "squeue": "ls jobs",
    "scancel": "cd jobs && rm $*",
    "scontrol": "echo JobId=$4 JobState=FAILED StdErr=$PWD/log-%J.err",
}


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a file for each job that commands of a Slurm would know; they take three."""
    for name, text in COMMANDS.items():
        (tmp_path / name).write_text(f"#!/bin/sh\ncd {tmp_path}\n{text}\n", "utf-8")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "jobs").mkdir()
    (tmp_path / "numbers").touch()
    (tmp_path / "most").write_text("3", "utf-8")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(slurm, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(slurm, "ASK_EVERY_S", 0.05)
    return tmp_path / "jobs"


def names(queue: Path) -> list[str]:
    return sorted(p.name for p in queue.iterdir())


def test_a_job_asks_for_what_was_configured_and_starts_workers_of_this_scheduler_until_the_end(queue: Path) -> None:
    pytest.importorskip("dask_jobqueue")
    settings = {"cores": 16, "memory": "32GB", "queue": "long", "account": "lab", "walltime": "12:00:00"}
    ear = signal.getsignal(signal.SIGINT)
    with slurm_jobs(2, LOOPBACK, tls=False, **settings) as (address, script):
        assert signal.getsignal(signal.SIGINT) is ear
        assert address.startswith("tcp://127.0.0.1:")
        assert {c.laddr[0] for c in psutil.Process().net_connections() if c.status == psutil.CONN_LISTEN} == {LOOPBACK}
        assert names(queue) == ["1", "2"] and (queue.parent / "script").read_text("utf-8") == script
    assert not names(queue)
    lines = script.splitlines()
    for line in ("-p long", "-A lab", "-n 1", "--cpus-per-task=16", "--mem=30G", "-t 12:00:00"):
        assert f"#SBATCH {line}" in lines
    (start,) = [line for line in lines if "dask_worker" in line or "dask worker" in line]
    assert f"{address} --name $SLURM_JOB_ID " in start and "--no-dashboard" in start and "--nthreads" in start


def test_jobs_of_which_no_worker_comes_end_the_run_with_what_their_log_says(queue: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("dask_jobqueue")
    (queue.parent / "log-2.err").write_text("starting\nno such module\n", "utf-8")
    end = r"every job ended before a worker came; the last, 2 \(FAILED\), said: .*log-2.err: no such module"
    with pytest.raises(SevhistoError, match=end), _stoppable(), slurm_jobs(2, LOOPBACK, tls=False, cores=1, memory="1GB"):
        for job in names(queue):
            (queue / job).unlink()
        threading.Event().wait(60)
    assert "job 1 ended (FAILED) before a worker came, and is not replaced; it said: nothing in" in caplog.text


def test_what_slurm_refuses_is_told_and_jobs_that_worked_are_replaced(queue: Path, caplog: pytest.LogCaptureFixture) -> None:
    workers = {"tcp://1": {"name": "1-0"}, "tcp://2": {"name": 2}}
    jobs, over = _Jobs(SimpleNamespace(scheduler_info={"workers": workers}), "script", 5), threading.Event()
    jobs.fill()
    assert jobs.numbers == ["1", "2", "3"] and jobs.refused == "sbatch: error: too many"
    assert caplog.text.count("only 3 of 5 jobs are there: sbatch: error: too many") == 1
    (queue.parent / "most").write_text("6", "utf-8")
    watching = threading.Thread(target=jobs.watch, args=(over,))
    watching.start()
    for job in "123":
        (queue / job).unlink()
    while jobs.numbers != ["4", "5", "6"]:
        assert watching.is_alive()
    over.set()
    watching.join()
    jobs.cancel()
    assert not names(queue)


def test_what_keeps_a_cluster_from_being_begun_is_told(queue: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dask_jobqueue")
    with pytest.raises(StudyError, match="without --tls"), slurm_jobs(1, "10.0.0.1", tls=False, cores=1, memory="1GB"):
        pass
    with pytest.raises(StudyError, match="what a job asks for is not told"), slurm_jobs(1, LOOPBACK, tls=False):
        pass
    monkeypatch.setenv("PATH", "/nowhere")
    nothing = pytest.raises(SevhistoError, match="no job could be submitted: there is no sbatch on this computer")
    with nothing, slurm_jobs(1, LOOPBACK, tls=False, cores=1, memory="1GB"):
        pass
