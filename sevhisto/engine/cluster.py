"""A Dask cluster: the same tasks, each in a process of its own beside the Dask worker that got it."""

from __future__ import annotations

import logging
import multiprocessing
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from sevhisto.engine.limits import Limits, share_mb
from sevhisto.engine.local import Worker, in_processes
from sevhisto.engine.peers import Machine, MisfitError, Watch, must_be_like, need_fitting, send_away, this_machine
from sevhisto.types import Problem, SevhistoError, SlideError, StudyError

T = TypeVar("T")
R = TypeVar("R")

log = logging.getLogger(__name__)

CONNECT_S = 10
ANSWER_S = 5.0
"""How long a scheduler may take to greet."""
RETURN_S = 300.0
"""How long a scheduler that went away is waited for."""
ROUNDS = 10
"""How often a task is handed out again whose Dask worker was lost four times in a row."""
POLL_S = 0.05
LONGEST_GREETING = 2**20
LOOPBACK = "127.0.0.1"


class _SchedulerGoneError(Exception):
    """The scheduler went away, and with it all that it knew."""


def on_dask(
    function: Callable[[T], R], tasks: Sequence[T], scheduler: str, limits: Limits | None, witness: Path | None = None
) -> Iterator[tuple[int, R | BaseException]]:
    """Run tasks on a Dask cluster; as `run_tasks`. Workers may come and go; a scheduler that comes back gets what is left to do.

    A task may run more than once, when its worker is lost with the answer: it must not matter how often it ran. SevhistoError where the
    scheduler cannot be reached, or a machine is not like this one; workers of that kind that come later are sent away.
    """
    left = dict(enumerate(tasks))
    wait_s, here = float(CONNECT_S), this_machine(witness)
    watch = Watch(scheduler, here)
    for _ in range(ROUNDS):
        client = _client(scheduler, wait_s)
        try:
            if wait_s == CONNECT_S:
                _look_at_machines(client, here)
            for i, found in _one_round(client, _Guarded(function, limits, here), left, watch):
                del left[i]
                yield i, found
        except _SchedulerGoneError:
            log.warning("%s: the scheduler is gone; waiting %.0f min for one at that address", scheduler, RETURN_S / 60)
            wait_s = RETURN_S
        finally:
            client.close(timeout=CONNECT_S)
        if not left:
            return
    for i in left:
        yield (
            i,
            SlideError(Problem("cluster", "its workers were lost each time that they had this slide", "run again, or without --scheduler")),
        )


def _look_at_machines(client: Any, here: Machine) -> None:
    try:
        need_fitting(client, here)
    except OSError as error:
        raise _SchedulerGoneError from error


def _one_round(client: Any, call: _Guarded, left: Mapping[int, Any], watch: Watch) -> Iterator[tuple[int, Any]]:
    """Yield what becomes of the tasks; those whose workers were lost too often, or sent away, are left for another round."""
    import distributed

    futures = client.map(call, list(left.values()), pure=False)
    number = dict(zip((f.key for f in futures), list(left), strict=True))
    for future in _as_they_come(client, futures, watch):
        try:
            failure = future.exception()
            found = failure if failure is not None else future.result()
            if isinstance(found, MisfitError):
                send_away(client, call.sender)
        except (CancelledError, OSError) as error:
            raise _SchedulerGoneError from error
        if not isinstance(found, (distributed.KilledWorker, MisfitError)):
            yield number[future.key], found


def _as_they_come(client: Any, futures: list[Any], watch: Watch) -> Iterator[Any]:
    """Yield futures as they end, and look after the workers meanwhile."""
    import distributed

    done = distributed.as_completed(futures, loop=client.loop)
    while not done.is_empty():
        while not done.has_ready():
            watch.look(client)
            time.sleep(POLL_S)
        yield next(done)


class _Guarded:
    """A function whose every call is made only on a machine like the sender's, and, with limits, in a process beside the Dask worker."""

    def __init__(self, function: Callable[[Any], Any], limits: Limits | None, sender: Machine) -> None:
        self.function, self.limits, self.sender = function, limits, sender

    def __call__(self, task: Any) -> Any:
        must_be_like(self.sender)
        if self.limits is None:
            return self.function(task)
        if multiprocessing.current_process().daemon:
            multiprocessing.current_process().daemon = False  # Dask says it of its workers, which then may have no processes
        limits = Limits(_memory_mb(self.limits), self.limits.seconds)
        ((_, found),) = in_processes(self.function, [task], 1, limits, _processes(limits))
        if isinstance(found, BaseException):
            raise found
        return found


_of_thread = threading.local()


def _processes(limits: Limits) -> list[Worker]:
    """Return this thread's process, if it has one with these limits: begun once, used for many tasks."""
    kept: dict[Limits, list[Worker]] = _of_thread.__dict__.setdefault("kept", {})
    return kept.setdefault(limits, [])


def _memory_mb(limits: Limits) -> float | None:
    """Return the limit of one task: what the Dask worker leaves of its own, shared by the tasks that it runs at once."""
    import distributed

    worker = distributed.get_worker()
    allowed = worker.memory_manager.memory_limit
    return limits.memory_mb if not allowed else share_mb(worker.state.nthreads, allowed / 2**20)


def _client(scheduler: str, wait_s: float) -> Any:
    distributed = needs_distributed("--scheduler")
    until = time.monotonic() + wait_s
    if scheduler.startswith("tls:") and distributed.Security().get_connection_args("client").get("ssl_context") is None:
        raise StudyError(Problem(f"--scheduler {scheduler}", "asks for certificates", "add --tls FOLDER (docs/cluster.md)"))
    while True:
        try:
            _needs_answer(scheduler)
            return distributed.Client(scheduler, timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError, RuntimeError) as error:
            if time.monotonic() < until and not isinstance(error, ValueError):
                time.sleep(1)
                continue
            remedy = "start one with `dask scheduler`, then run again: what was done is kept (docs/cluster.md)"
            raise SevhistoError(Problem(f"--scheduler {scheduler}", f"cannot be reached ({error})", remedy)) from None


def _needs_answer(scheduler: str) -> None:
    """OSError or ValueError, within seconds, where nobody listens at an address, or one who is no Dask scheduler; a client would wait."""
    address = urlsplit(scheduler)
    if address.scheme not in ("tcp", "tls") or not address.hostname or not address.port:
        raise ValueError("an address is tcp://HOST:PORT, or tls://HOST:PORT")
    with socket.create_connection((address.hostname, address.port), ANSWER_S) as connection:
        try:
            # a scheduler greets, first of all with the length of the greeting; with TLS it waits to be greeted
            greets = address.scheme == "tls" or 0 < int.from_bytes(connection.recv(8), "little") < LONGEST_GREETING
        except TimeoutError:
            greets = False
        if not greets:
            raise ConnectionError("what listens there does not speak as a Dask scheduler without certificates does")


def needs_distributed(option: str) -> Any:
    """Return the package; SevhistoError where it is not installed, with the option that asks for it."""
    try:
        import distributed
    except ImportError:
        raise SevhistoError(Problem(option, "needs the package distributed", "pip install 'sevhisto[cluster]'")) from None
    return distributed


@contextmanager
def encrypted(folder: Path | None) -> Iterator[None]:
    """Use ``ca.pem``, ``cert.pem`` and ``key.pem`` of a folder for all that is said to a cluster, and say nothing in the clear."""
    if folder is None:
        yield
        return
    needs_distributed("--tls")
    import dask

    with dask.config.set(_tls_settings(folder)):
        yield


def _tls_settings(folder: Path) -> dict[str, Any]:
    missing = [name for name in ("ca.pem", "cert.pem", "key.pem") if not (folder / name).is_file()]
    if missing:
        raise StudyError(Problem(f"--tls {folder}", f"holds no {', '.join(missing)}", "docs/cluster.md says how to make them"))
    tls = "distributed.comm.tls"
    own = {f"{tls}.{role}.{part}": str(folder / f"{part}.pem") for role in ("scheduler", "worker", "client") for part in ("cert", "key")}
    return {f"{tls}.ca-file": str(folder / "ca.pem"), **own, "distributed.comm.require-encryption": True}
