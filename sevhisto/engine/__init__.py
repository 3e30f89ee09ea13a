"""Where work runs: local processes, or a Dask cluster. One bad task costs one task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from sevhisto.engine.limits import (
    LEAST_LIMIT_MB,
    PARENT_MB,
    WORKER_MB,
    Limits,
    available_mb,
    default_jobs,
    jobs_for,
    memory_remedy,
    share_mb,
)
from sevhisto.engine.local import Worker, in_processes

__all__ = [
    "LEAST_LIMIT_MB",
    "PARENT_MB",
    "WORKER_MB",
    "Limits",
    "available_mb",
    "crew",
    "default_jobs",
    "jobs_for",
    "memory_remedy",
    "run_tasks",
    "share_mb",
]

T = TypeVar("T")
R = TypeVar("R")


def run_tasks(
    function: Callable[[T], R],
    tasks: Sequence[T],
    jobs: int = 1,
    scheduler: str | None = None,
    limits: Limits | None = None,
    kept: list[Worker] | None = None,
) -> Iterator[tuple[int, R | BaseException]]:
    """Run `function` on every task and yield (task number, result or the error it raised) as they finish, in any order.

    Parameters
    ----------
    jobs : local processes; 1 runs in this process, where there are no `limits`
    scheduler : address of a Dask scheduler (``tcp://...``, ``tls://...``); then `jobs` is not used
    limits : what one task may use. With it, each task runs in a process other than this one, and can do no harm but to itself.
    kept : idle local processes, to be used and left there; see `crew`
    """
    if scheduler:
        from sevhisto.engine.cluster import on_dask

        yield from on_dask(function, tasks, scheduler, limits)
    elif limits is None and (jobs <= 1 or len(tasks) <= 1):
        for i, task in enumerate(tasks):
            try:
                yield i, function(task)
            except Exception as error:
                yield i, error
    else:
        yield from in_processes(function, tasks, jobs, limits or Limits(), kept)


@contextmanager
def crew(jobs: int, scheduler: str | None = None, limits: Limits | None = None) -> Iterator[Callable[..., Iterator[tuple[int, Any]]]]:
    """Yield `run_tasks` on these machines; local processes stay from one stage to the next, as each takes a second to come up."""
    kept: list[Worker] = []
    try:
        yield partial(run_tasks, jobs=jobs, scheduler=scheduler, limits=limits, kept=kept)
    finally:
        for worker in kept:
            worker.end()
