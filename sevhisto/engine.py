"""Where work runs: local processes, or a Dask cluster. One bad task costs one task."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from sevhisto.imaging.measure import single_threaded
from sevhisto.types import Problem, SevhistoError

T = TypeVar("T")
R = TypeVar("R")


DASK_TIMEOUT_S = 10


def default_jobs() -> int:
    """Return the number of processes used where none is asked for: one per available core."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
    return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"), initializer=single_threaded)


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
