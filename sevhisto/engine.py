"""Where work runs: local processes, or a Dask cluster. One bad task costs one task."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, TypeVar

from sevhisto.imaging.process import prepare_worker
from sevhisto.types import Problem, SevhistoError, StudyError

T = TypeVar("T")
R = TypeVar("R")

DASK_TIMEOUT_S = 10
PARENT_WATCH_S = 2.0
WORKER_MB = 600
"""Most memory that a process needs to measure a section; see "Speed and memory" in benchmarks/RESULTS.md."""
PARENT_MB = 300
"""What the process that hands out the work needs beside its workers."""


def default_jobs() -> int:
    """Return the number of processes used where none is asked for: one per available core."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_mb(meminfo: Path = Path("/proc/meminfo")) -> float | None:
    """Return the memory that new processes can have without swapping, or None where the system (not Linux) does not tell."""
    try:
        lines = meminfo.read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    kb = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(kb[0]) / 1024 if kb else None


def jobs_for(jobs: int, memory_mb: float) -> int:
    """Return how many of `jobs` processes fit in `memory_mb`; StudyError where the memory is not enough for one."""
    if memory_mb < WORKER_MB:
        what = f"{memory_mb:.0f} MB is not enough: one process needs {WORKER_MB} MB"
        raise StudyError(Problem("--memory", what, f"allow {WORKER_MB / 1000:g} GB or more"))
    return max(1, min(jobs, int((memory_mb - PARENT_MB) // WORKER_MB)))  # a single job runs in the parent itself


def run_tasks(
    function: Callable[[T], R], tasks: Sequence[T], jobs: int = 1, scheduler: str | None = None
) -> Iterator[tuple[int, R | BaseException]]:
    """Run `function` on every task and yield (task number, result or the error it raised) as they finish, in any order.

    Parameters
    ----------
    jobs : local processes; 1 runs in this process
    scheduler : address of a Dask scheduler (``tcp://...``); then `jobs` is not used
    """
    if scheduler:
        yield from _on_dask(function, tasks, scheduler)
    elif jobs <= 1 or len(tasks) <= 1:
        for i, task in enumerate(tasks):
            try:
                yield i, function(task)
            except Exception as error:
                yield i, error
    else:
        yield from _in_processes(function, tasks, jobs)


def _in_processes(function: Callable[[T], R], tasks: Sequence[T], jobs: int) -> Iterator[tuple[int, R | BaseException]]:
    suspects: list[int] = []
    with _pool(min(jobs, len(tasks))) as pool:
        waiting: dict[Future[R], int] = {pool.submit(function, task): i for i, task in enumerate(tasks)}
        try:
            for future in as_completed(waiting):
                error = future.exception()
                if isinstance(error, BrokenProcessPool):
                    suspects.append(waiting[future])  # some task killed a worker: which one is found below
                else:
                    yield waiting[future], error if error is not None else future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    for i in suspects:
        yield i, _alone(function, tasks[i])


def _alone(function: Callable[[T], R], task: T) -> R | BaseException:
    with _pool(1) as pool:
        try:
            return pool.submit(function, task).result()
        except BrokenProcessPool:
            return SevhistoError(
                Problem("worker", "the process that measured this slide died", "look at the memory, then `sevhisto run` again")
            )
        except Exception as error:
            return error


def _pool(jobs: int) -> ProcessPoolExecutor:
    # spawn: no lock or handle of the parent is inherited, and the same on every platform
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, mp_context=context, initializer=_start_worker, initargs=(os.getpid(),))


def _start_worker(parent: int) -> None:
    prepare_worker()
    if os.name == "posix":
        threading.Thread(target=_die_with, args=(parent,), daemon=True).start()


def _die_with(parent: int) -> None:
    # a parent that was killed tells nobody, and its workers would measure on, for no one
    while os.getppid() == parent:
        time.sleep(PARENT_WATCH_S)
    os._exit(1)


def _on_dask(function: Callable[[T], R], tasks: Sequence[T], scheduler: str) -> Iterator[tuple[int, R | BaseException]]:
    try:
        import distributed
    except ImportError:
        raise SevhistoError(Problem("--scheduler", "needs the package distributed", "pip install 'sevhisto[cluster]'")) from None
    try:
        client: Any = distributed.Client(scheduler, timeout=DASK_TIMEOUT_S)
    except (OSError, ValueError) as error:
        raise SevhistoError(
            Problem(f"--scheduler {scheduler}", f"cannot be reached ({error})", "start one with `dask scheduler`")
        ) from None
    with client:
        futures = client.map(function, list(tasks), pure=False)
        number = {future.key: i for i, future in enumerate(futures)}
        for future in distributed.as_completed(futures):
            failure = future.exception()
            yield number[future.key], failure if failure is not None else future.result()
