"""Work in processes: how many fit in the memory, one bad task, and a parent that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sevhisto.engine import PARENT_MB, WORKER_MB, available_mb, jobs_for, run_tasks
from sevhisto.types import StudyError


@pytest.mark.parametrize(
    ("jobs", "memory_mb", "expected"),
    [
        (8, 1e6, 8),
        (8, PARENT_MB + 3 * WORKER_MB, 3),
        (8, PARENT_MB + 4 * WORKER_MB - 1, 3),
        (8, WORKER_MB, 1),
        (1, WORKER_MB, 1),
        (1, 1e6, 1),
    ],
)
def test_processes_are_no_more_than_fit(jobs: int, memory_mb: float, expected: int) -> None:
    assert jobs_for(jobs, memory_mb) == expected


def test_too_little_memory_for_one_process_is_told_with_the_need() -> None:
    with pytest.raises(StudyError, match=f"--memory: 500 MB is not enough: one process needs {WORKER_MB} MB"):
        jobs_for(4, 500)


def test_the_memory_available_is_read_where_the_system_tells_it(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    assert available_mb(meminfo) is None
    meminfo.write_text("MemTotal:       16315276 kB\nMemFree:         1000000 kB\nMemAvailable:    2048000 kB\n", "ascii")
    assert available_mb(meminfo) == 2000
    meminfo.write_text("MemTotal:       16315276 kB\n", "ascii")
    assert available_mb(meminfo) is None


def double_or_fail(x: int) -> int:
    if x == 2:
        raise ValueError("two")
    if x == 3:
        os._exit(7)
    return 2 * x


def test_a_task_that_fails_or_kills_its_process_costs_itself_only() -> None:
    done = dict(run_tasks(double_or_fail, [1, 2, 3, 4, 5], jobs=2))
    assert [done[i] for i in (0, 3, 4)] == [2, 8, 10]
    assert str(done[1]) == "two"
    assert "died" in str(done[2])


SCRIPT = """
import os, sys, time
from pathlib import Path
from sevhisto.engine import run_tasks

def beat(folder):
    for _ in range(600):
        Path(folder, str(os.getpid())).write_text(str(time.time()))
        time.sleep(0.1)

if __name__ == "__main__":
    list(run_tasks(beat, sys.argv[1:] * 2, jobs=2))
"""


@pytest.mark.skipif(os.name != "posix", reason="POSIX only: elsewhere a process does not learn that its parent is gone")
def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, "utf-8")
    beats = tmp_path / "beats"
    beats.mkdir()
    with subprocess.Popen([sys.executable, str(script), str(beats)]) as parent:
        try:
            until = time.monotonic() + 60
            while len(list(beats.iterdir())) < 2 and time.monotonic() < until:
                time.sleep(0.1)
            assert len(list(beats.iterdir())) == 2
        finally:
            parent.send_signal(signal.SIGKILL)

    def heard() -> list[str]:
        return [path.read_text("utf-8") for path in beats.iterdir()]

    until = time.monotonic() + 30
    before = heard()
    while time.monotonic() < until:
        time.sleep(1)
        if (now := heard()) == before:
            return
        before = now
    pytest.fail("the workers went on without their parent")
