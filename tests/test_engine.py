"""Work in processes: how many fit in the memory, one bad task, and a parent that is killed."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sevhisto import __version__
from sevhisto.engine import LEAST_LIMIT_MB, PARENT_MB, WORKER_MB, Limits, available_mb, jobs_for, peers, run_tasks, share_mb
from sevhisto.engine import cluster as cluster_module
from sevhisto.engine.cluster import LOOPBACK, encrypted
from sevhisto.types import SevhistoError, StudyError


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


def test_each_process_may_use_its_share_of_the_memory_and_a_section_always_fits() -> None:
    assert share_mb(4, PARENT_MB + 8000) == 2000
    assert share_mb(32, 4000) == LEAST_LIMIT_MB > WORKER_MB


def test_the_memory_available_is_read_where_the_system_tells_it(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    assert available_mb(meminfo) is None
    meminfo.write_text("MemTotal:       16315276 kB\nMemFree:         1000000 kB\nMemAvailable:    2048000 kB\n", "ascii")
    assert available_mb(meminfo) == 2000
    meminfo.write_text("MemTotal:       16315276 kB\n", "ascii")
    assert available_mb(meminfo) is None


def work(what: str) -> str:
    if what == "fail":
        raise ValueError("two")
    if what == "hang":
        time.sleep(600)
    if what == "eat":
        return str(len(bytes(8 * 2**30)))
    if what == "unsendable":
        raise UnsendableError(1, 2)
    if what.startswith("SIG"):
        os.kill(os.getpid(), getattr(signal, what))
    return f"{what} done"


class UnsendableError(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


BAD = ["a", "fail", "b", "SIGSEGV", "c", "hang", "d", "eat", "unsendable", "e"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep no process to its memory")
def test_a_task_that_fails_dies_hangs_or_eats_memory_costs_itself_only() -> None:
    done = dict(run_tasks(work, BAD, jobs=2, limits=Limits(memory_mb=700, seconds=3)))
    said = {task: done[i] for i, task in enumerate(BAD)}
    assert {t: r for t, r in said.items() if isinstance(r, str)} == {t: f"{t} done" for t in "abcde"}
    assert str(said["fail"]) == "two"
    assert "died (SIGSEGV), 3 times" in str(said["SIGSEGV"])
    assert "time limit" in str(said["hang"]) and "--time-limit" in str(said["hang"])
    assert isinstance(said["eat"], MemoryError)
    assert "1 and 2" in str(said["unsendable"])


def test_with_limits_a_single_job_is_a_process_of_its_own() -> None:
    assert "SIGKILL" in str(dict(run_tasks(work, ["SIGKILL"], jobs=1, limits=Limits()))[0])


def die_once(marker: str) -> str:
    path = Path(marker)
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def test_a_task_whose_process_was_killed_is_tried_again(tmp_path: Path) -> None:
    assert dict(run_tasks(die_once, [str(tmp_path / "seen")], jobs=2, limits=Limits())) == {0: "done"}


def test_stopping_in_the_middle_leaves_no_process() -> None:
    tasks = run_tasks(work, ["a", "hang", "hang"], jobs=2, limits=Limits())
    assert next(tasks) == (0, "a done")
    tasks.close()  # type: ignore[attr-defined]  # as Ctrl-C does
    assert not multiprocessing.active_children()


def test_a_dask_worker_is_spared_by_what_kills_its_task() -> None:
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None, "protocol": "tcp"}
    with distributed.LocalCluster(**options) as cluster:
        done = dict(run_tasks(work, ["a", "SIGSEGV", "fail", "b"], scheduler=cluster.scheduler_address, limits=Limits(seconds=60)))
    assert (done[0], done[3]) == ("a done", "b done")
    assert "died (SIGSEGV)" in str(done[1]) and str(done[2]) == "two"


KINDS = """
import os, sys
kind = os.environ.get("KIND", "")
if kind == "without":
    sys.modules["sevhisto"] = None
elif kind:
    import sevhisto
    sevhisto.__version__ = kind
"""


class Processes:
    """A Dask scheduler and workers, each a process on loopback; a kind is another version of sevhisto, or `without`."""

    def __init__(self, folder: Path) -> None:
        (folder / "sitecustomize.py").write_text(KINDS, "utf-8")
        self.folder, self.every, self.port = folder, list[subprocess.Popen[bytes]](), free_port()
        self.address = f"tcp://{LOOPBACK}:{self.port}"
        self.start("scheduler", "--port", str(self.port))

    def start(self, role: str, *words: str, kind: str = "") -> subprocess.Popen[bytes]:
        line = [sys.executable, "-m", f"distributed.cli.dask_{role}", *words, "--host", LOOPBACK, "--no-dashboard"]
        path = os.pathsep.join([str(self.folder), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
        env = {**os.environ, "PYTHONPATH": path, "KIND": kind}
        told = (self.folder / f"{len(self.every)}.log").open("wb")
        with told:
            process = subprocess.Popen([*line, "--dashboard-address", f"{LOOPBACK}:0"], env=env, stdout=told, stderr=told)
        self.every.append(process)
        return process

    def join(self, kind: str = "") -> subprocess.Popen[bytes]:
        options = ("--nthreads", "1", "--no-nanny", "--local-directory", str(self.folder))
        return self.start("worker", self.address, *options, kind=kind)

    def wait_for(self, n: int) -> None:
        import distributed

        with distributed.Client(self.address, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(n, timeout=60)

    def wait_for_none(self) -> None:
        """Wait until the scheduler knows that all are gone: until then it would have them asked, and wait for their answer."""
        import distributed

        with distributed.Client(self.address, timeout=60, set_as_default=False) as client:
            until = time.monotonic() + 60
            while client.nthreads() and time.monotonic() < until:
                time.sleep(0.1)

    def end(self) -> None:
        for process in self.every:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind((LOOPBACK, 0))
        return int(listening.getsockname()[1])


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    pytest.importorskip("distributed")
    found = Processes(tmp_path)
    yield found
    found.end()


def test_a_cluster_says_what_is_wrong_with_its_machines_and_when_it_has_none(
    processes: Processes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING", "sevhisto")
    bad = [processes.join("0.0.1"), processes.join("without")]
    processes.wait_for(2)
    with pytest.raises(SevhistoError) as told:
        list(run_tasks(len, ["a"], scheduler=processes.address))
    said = sorted(p.what for p in told.value.problems)
    assert len(said) == 2
    assert said[0].startswith(f"has no sevhisto {__version__} that")
    assert said[1] == f"has sevhisto 0.0.1 (here {__version__})"
    for worker in bad:
        worker.kill()
    processes.wait_for_none()
    monkeypatch.setattr(peers, "ALONE_S", 1.0)
    monkeypatch.setattr(peers, "LOOK_EVERY_S", 0.3)
    tasks = run_tasks(time.sleep, [0.5, 0.6, 0.7], scheduler=processes.address)  # longer than until the next look
    asked = threading.Thread(target=lambda: answers.update(tasks))
    answers: dict[int, object] = {}
    asked.start()
    until_said(caplog, "0 workers for ")
    processes.join("0.0.1").wait(60)  # comes late: it is sent away, and costs nothing
    assert [r.message for r in caplog.records if "sent away" in r.message and "0.0.1" in r.message]
    assert not answers
    processes.join()
    asked.join(60)
    assert answers == {0: None, 1: None, 2: None}
    assert f"`dask worker {processes.address}`" in caplog.text and "1 worker is there now" in caplog.text
    with pytest.raises(SevhistoError, match="does not see the folder /proc/self"):
        list(run_tasks(len, ["a"], scheduler=processes.address, witness=Path("/proc/self/cmdline")))


def until_said(caplog: pytest.LogCaptureFixture, what: str) -> None:
    until = time.monotonic() + 60
    while what not in caplog.text and time.monotonic() < until:
        time.sleep(0.1)
    assert what in caplog.text


def test_a_scheduler_that_is_none_is_told_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(cluster_module, "CONNECT_S", 0.5)
    monkeypatch.setattr(cluster_module, "ANSWER_S", 0.5)
    with socket.socket() as silent:
        silent.bind((LOOPBACK, 0))
        silent.listen(5)
        port = silent.getsockname()[1]
        for address, why in (
            (f"tcp://{LOOPBACK}:{port}", "does not speak as a Dask scheduler"),
            (f"tcp://{LOOPBACK}:{free_port()}", "refused"),
            (f"{LOOPBACK}:8786", "an address is tcp://HOST:PORT"),
        ):
            started = time.monotonic()
            with pytest.raises(SevhistoError, match=why):
                list(run_tasks(len, ["a"], scheduler=address))
            assert time.monotonic() - started < 10


@pytest.mark.skipif(shutil.which("openssl") is None, reason="certificates are made with openssl")
def test_with_certificates_a_cluster_is_spoken_to_encrypted_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed")
    for line in (  # as docs/cluster.md has them
        "req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN=sevhisto-ca -keyout ca-key.pem -out ca.pem",
        "req -newkey rsa:2048 -nodes -subj /CN=sevhisto -keyout key.pem -out request.pem",
        "x509 -req -in request.pem -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 365 -out cert.pem",
    ):
        subprocess.run(["openssl", *line.split()], cwd=tmp_path, check=True, capture_output=True)
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with encrypted(tmp_path), distributed.LocalCluster(**options, protocol="tls", security=distributed.Security()) as cluster:
        address = cluster.scheduler_address
        assert address.startswith("tls://127.0.0.1:")
        assert dict(run_tasks(work, ["a"], scheduler=address)) == {0: "a done"}
        monkeypatch.setattr(cluster_module, "CONNECT_S", 1)
        with pytest.raises((ValueError, SevhistoError)):
            list(run_tasks(work, ["a"], scheduler=address.replace("tls:", "tcp:")))
    with pytest.raises(StudyError, match=r"holds no ca.pem, cert.pem, key.pem"), encrypted(tmp_path / "nowhere"):
        pass


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
