"""Local processes, each with one task at a time: which task a lost process had is known, and no other suffers."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from sevhisto.engine.limits import Limits, keep_to
from sevhisto.imaging.process import prepare_worker
from sevhisto.types import Problem, SlideError

T = TypeVar("T")
R = TypeVar("R")

TRIES = 3
"""How often a task is begun whose process dies: the system may have killed it for what another program took."""
START_S = 120.0
"""What a new process may take to come up before its task counts as hanging: importing from a slow disk."""
_END_S = 5.0


def in_processes(
    function: Callable[[T], R], tasks: Sequence[T], jobs: int, limits: Limits, kept: list[Worker] | None = None
) -> Iterator[tuple[int, R | BaseException]]:
    """Run tasks in up to `jobs` processes; as `run_tasks`. A task whose process died is tried again when all others are done, alone.

    `kept` : processes with these limits that are there; those that are idle at the end stay in it
    """
    waiting = deque(range(len(tasks)))
    again: deque[int] = deque()
    died: Counter[int] = Counter()
    idle: list[Worker] = [] if kept is None else kept
    busy: list[Worker] = []
    try:
        while waiting or again or busy:
            while waiting and len(busy) < jobs:
                _give(idle, busy, waiting.popleft(), function, tasks, limits)
            if not waiting and not busy:
                _give(idle, busy, again.popleft(), function, tasks, limits)
            for worker in _ready(busy):
                busy.remove(worker)
                i, found = worker.number, worker.take()
                if isinstance(found, Lost):
                    died[i] += 1
                    if found.for_good or died[i] >= TRIES:
                        yield i, found.error(died[i])
                    else:
                        again.append(i)
                else:
                    idle.append(worker)
                    yield i, found
    finally:
        for worker in busy + (idle if kept is None else []):
            worker.end()


def _give(idle: list[Worker], busy: list[Worker], i: int, function: Callable[[T], R], tasks: Sequence[T], limits: Limits) -> None:
    while idle and not idle[-1].process.is_alive():
        idle.pop().end()
    worker = idle.pop() if idle else Worker(limits)
    worker.start(i, function, tasks[i])
    busy.append(worker)


def _ready(busy: Sequence[Worker]) -> list[Worker]:
    """Return the workers that have answered, died or run out of time; waits for the first."""
    until = min((w.deadline for w in busy if w.deadline is not None), default=None)
    wait([x for w in busy for x in (w.answers, w.process.sentinel)], None if until is None else max(0.0, until - time.monotonic()))
    now = time.monotonic()
    return [w for w in busy if w.answers.poll() or not w.process.is_alive() or (w.deadline is not None and now >= w.deadline)]


class Lost:
    """Why a process gave no answer; `for_good` where trying again is of no use."""

    def __init__(self, what: str, remedy: str, for_good: bool = False) -> None:
        self.what, self.remedy, self.for_good = what, remedy, for_good

    def error(self, times: int) -> SlideError:
        """Return it as an error, after so many tries."""
        often = f", {times} times" if times > 1 else ""
        return SlideError(Problem("worker", self.what + often, self.remedy))


class Worker:
    """A process that runs one task after the other. It dies with its parent, holds no file of it, and hears no Ctrl-C."""

    def __init__(self, limits: Limits) -> None:
        # spawn: no lock or handle of the parent is inherited, and the same on every platform
        context = multiprocessing.get_context("spawn")
        self.limits = limits
        self.number = -1
        self.deadline: float | None = None
        self.answers, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, limits.memory_mb), daemon=True)
        self.process.start()
        theirs.close()
        self._new = True

    def start(self, number: int, function: Callable[[Any], Any], task: Any) -> None:
        """Begin a task; `take` has its answer."""
        self.number = number
        if self.limits.seconds is not None:
            self.deadline = time.monotonic() + self.limits.seconds + (START_S if self._new else 0)
        self._new = False
        with suppress(OSError):  # it died: `take` says so
            self.answers.send((function, task))

    def take(self) -> Any:
        """Return the answer to the task, the error that it raised, or `Lost`, after which the worker is gone."""
        with suppress(EOFError, OSError):
            if self.answers.poll():
                return self.answers.recv()
        self.process.join(0 if self.deadline is not None and time.monotonic() >= self.deadline else _END_S)
        code = self.process.exitcode
        self.end()
        if code is None:
            return Lost(
                f"not done within the time limit ({(self.limits.seconds or 0) / 60:.3g} min a slide)",
                "look at the file, or allow more with --time-limit; `sevhisto run` tries it again",
                for_good=True,
            )
        return Lost(
            f"the process that measured this slide died ({_how(code)})", "look at the file and at the memory, then `sevhisto run` again"
        )

    def end(self) -> None:
        """End the process now; what it was writing is not there, and nothing else is lost."""
        self.process.kill()
        self.process.join(_END_S)
        self.answers.close()


def _how(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    name = next((s.name for s in signal.Signals if s == -code), f"signal {-code}")
    return f"{name}: systems do this when memory runs out" if name == "SIGKILL" else name


def _serve(tasks: Connection, memory_mb: float | None) -> None:
    """Run tasks until the parent closes the pipe or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it, and ends its workers
    threading.Thread(target=_die_with_parent, daemon=True).start()
    prepare_worker()
    keep_to(memory_mb)
    while True:
        try:
            function, task = tasks.recv()
        except (EOFError, OSError):
            return
        tasks.send(_answer(function, task))


def _answer(function: Callable[[Any], Any], task: Any) -> Any:
    try:
        return function(task)
    except Exception as error:
        return _sendable(error)


def _sendable(error: Exception) -> Exception:
    """Return the error, or one that says the same where it cannot be sent to another process."""
    from multiprocessing.reduction import ForkingPickler

    try:
        ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:
        return SlideError(Problem("worker", f"{type(error).__name__}: {error}"))
    return error


def _die_with_parent() -> None:
    # a parent that was killed tells nobody, and its workers would measure on, for no one
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
