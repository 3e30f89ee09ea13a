"""Slides that do harm, in local processes and on Dask, and a cluster whose workers and scheduler die."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd
from faults_trial import Bench, Tally, tables
from tiny_study import command, copies, environment, read, say

POISON = Path(__file__).with_name("poison")


def poisons(bench: Bench, kinds: tuple[str, ...], where: Callable[[dict[str, str]], object], name: str, slides: int) -> Tally:
    """Run many slides of which one does harm: it must be a failed row, and every other record as without it."""
    tally = Tally(name)
    root = bench.fresh()
    for _ in copies(root, slides // 4 - 1):
        pass
    if say("run", root, "--jobs", 2).returncode:
        raise SystemExit("the study without poison fails")
    whole = records_of(root)
    shutil.rmtree(root / "results")
    victim = sorted(f for f in read(root / "slides.csv")["file"].unique() if f[0].isdigit())[2]
    for kind in kinds:
        env = {"POISON": f"{victim}={kind}", "PYTHONPATH": str(POISON)}
        with where(env) as words:
            done = say("run", root, *words, "--time-limit", max(0.25, bench.seconds / 60), **env)
        now = records_of(root)
        status = pd.read_csv(root / "results" / "status.csv", dtype=str, keep_default_na=False)
        failed = status[status["status"] == "failed"]
        note = (
            ""
            if done.returncode == 3 and len(failed) == 3 and len(set(failed["file"])) == 1
            else f"status {done.returncode}, {len(failed)} rows"
        )
        tally.add(len(whole) - len(now) - 3, len(set(now) - set(whole)), 0, note)
        print(f"    {kind}: {failed['reason'].iloc[0] if len(failed) else done.stderr[-300:]}", flush=True)
        shutil.rmtree(root / "results")
    shutil.rmtree(root.parent)
    return tally


def records_of(root: Path) -> list[str]:
    """Return the names of a study's records: key and checksum of the bytes."""
    return sorted(p.name for p in (root / "results" / "records").glob("*.npz"))


@contextmanager
def locally(env: dict[str, str]) -> Iterator[tuple[object, ...]]:
    """Run in local processes, of which each may use 1.2 GB."""
    yield "--jobs", 2, "--memory", 2.7


@contextmanager
def on_cluster(env: dict[str, str], workers: int = 2) -> Iterator[tuple[object, ...]]:
    """Run on a scheduler and workers, processes of their own on this machine, which allow 1.2 GB a task."""
    with Cluster(env) as cluster:
        for _ in range(workers):
            cluster.join()
        yield "--scheduler", cluster.address


class Cluster:
    """A scheduler and workers as processes on loopback, that can be killed and begun anew."""

    def __init__(self, env: dict[str, str] | None = None, port: int = 28786) -> None:
        self.env, self.port = environment(**(env or {})), port
        self.address = f"tcp://127.0.0.1:{port}"
        self.workers: list[subprocess.Popen[bytes]] = []

    def _dask(self, *words: object) -> subprocess.Popen[bytes]:
        line = [sys.executable, "-m", "distributed.cli." + str(words[0]), *map(str, words[1:])]
        return subprocess.Popen(line, env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in [*self.workers, self.scheduler]:
            self.end(process)

    def start(self) -> None:
        """Start the scheduler."""
        self.scheduler = self._dask(
            "dask_scheduler", "--host", "127.0.0.1", "--port", self.port, "--no-dashboard", "--dashboard-address", "127.0.0.1:0"
        )

    def join(self) -> None:
        """Add a worker with one thread."""
        options = (
            "--host",
            "127.0.0.1",
            "--nthreads",
            1,
            "--memory-limit",
            "1.2GiB",
            "--no-dashboard",
            "--dashboard-address",
            "127.0.0.1:0",
            "--local-directory",
            tempfile.gettempdir(),
        )
        self.workers.append(self._dask("dask_worker", self.address, *options, "--no-nanny"))

    @staticmethod
    def end(process: subprocess.Popen[bytes]) -> None:
        """Kill a process and all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def cluster_faults(bench: Bench, slides: int, every_s: float, stored: bool) -> Tally:
    """Kill a Dask worker every few seconds, let another join late, kill the scheduler once: the tables must be those of a local run.

    With `stored`, records go to a store, and must be there in the end, byte by byte.
    """
    tally = Tally(f"Dask{', records in a store' if stored else ''}: workers lost, joined; scheduler killed")
    root = bench.fresh()
    store = root.parent / "store"
    store.mkdir()
    more = ("--records", store.as_uri()) if stored else ()
    for _ in copies(root, slides // 4 - 1):
        pass
    say("run", root, "--jobs", 2)
    whole = tables(root)
    shutil.rmtree(root / "results")
    with Cluster() as cluster:
        for _ in range(3):
            cluster.join()
        words, log = command("run", root, "--scheduler", cluster.address, *more), root.parent / "log.txt"
        with log.open("wb") as told:
            child = subprocess.Popen(words, env=environment(), stdout=told, stderr=told)
        deaths = there = 0
        while child.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                child.wait(bench.rng.uniform(0.7, 1.3) * every_s)
                break
            before, there = there, len(list((store if stored else root / "results").rglob("*.npz")))
            if there == before:
                continue  # on a busy machine workers take long to start: killed at once, none would ever do work
            deaths += 1
            cluster.end(cluster.workers.pop(0))
            if deaths == 2:
                cluster.end(cluster.scheduler)
                for worker in cluster.workers:
                    cluster.end(worker)
                cluster.workers.clear()
                cluster.start()
                cluster.join()
            cluster.join()
    now, said = tables(root), log.read_text("utf-8")
    tally.injected = deaths
    kept = {p.name: p.read_bytes() for p in store.rglob("*.npz")}
    same = child.returncode == 0 and now == whole
    same = same and kept == ({p.name: p.read_bytes() for p in (root / "results" / "records").glob("*.npz")} if stored else {})
    tally.survived, tally.changed = (deaths if same else 0), sum(now.get(n) != d for n, d in whole.items())
    if not same:
        tally.notes.append(f"status {child.returncode}: {said[-500:]}")
    shutil.rmtree(root.parent)
    return tally
