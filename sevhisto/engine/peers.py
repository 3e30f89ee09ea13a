"""The machines of a Dask cluster: whether each does the work as this one would, and whether there is any."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import time
from concurrent.futures import CancelledError
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sevhisto import __version__
from sevhisto.types import Problem, SevhistoError

log = logging.getLogger(__name__)

PACKAGES = (
    *("numpy", "scipy", "numba", "scikit-image", "opencv-python-headless", "imagecodecs", "tifffile", "pandas"),
    *("dask", "distributed", "cloudpickle", "msgpack"),
)
"""Packages on which numbers rest, or that the machines talk by."""
ALONE_S = 30.0
"""How long a cluster may be without workers before that is told."""
LOOK_EVERY_S = 2.0


@dataclass(frozen=True)
class Machine:
    """What must be the same on all machines: versions, and what a file of the study's folder holds (sha256; "" where it is not there)."""

    versions: tuple[tuple[str, str], ...]
    witness: Path | None = None
    seen: str = ""

    def unlike(self, other: Machine) -> list[tuple[str, str]]:
        """Return how another machine differs from this one, each with what to do; nothing where it can take part."""
        theirs = dict(other.versions)
        different = [
            f"{name} {theirs.get(name) or 'none'} (here {mine or 'none'})" for name, mine in self.versions if theirs.get(name) != mine
        ]
        found = [(f"has {', '.join(different)}", "install the same versions on all machines (docs/cluster.md)")] if different else []
        if self.witness is not None and other.witness is not None and self.seen != other.seen:
            what = f"does not see the folder {self.witness.parent} of this run"
            found.append((what, "the study's folder must be on a shared disk, under the same path on all machines"))
        return found


def this_machine(witness: Path | None = None) -> Machine:
    """Return what this machine is; `witness` is a file that all machines should see alike."""
    return Machine(_versions(), witness, _seen(witness))


@lru_cache(maxsize=1)
def _versions() -> tuple[tuple[str, str], ...]:
    return (("Python", f"{sys.version_info[0]}.{sys.version_info[1]}"), ("sevhisto", __version__), *((p, _installed(p)) for p in PACKAGES))


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _seen(witness: Path | None) -> str:
    if witness is None:
        return ""
    try:
        with os.scandir(witness.parent):  # opening the folder makes a network disk ask anew what is in it
            return hashlib.sha256(witness.read_bytes()).hexdigest()
    except OSError:
        return ""


class MisfitError(Exception):
    """This machine is not like the one that sent the work."""


@lru_cache(maxsize=8)
def must_be_like(sender: Machine) -> None:
    """MisfitError where this machine differs from the one that sent the work; looked at once for each run."""
    found = sender.unlike(this_machine(sender.witness))
    if found:
        raise MisfitError("; ".join(what for what, _ in found))


def need_fitting(client: Any, here: Machine) -> None:
    """SevhistoError with all that is wrong with the scheduler and with the workers that are there now."""
    found = _told("scheduler", here, _answer(client.run_on_scheduler, this_machine))
    found += [problem for problems in _misfits(client, here).values() for problem in problems]
    if found:
        raise SevhistoError(found)


def send_away(client: Any, here: Machine, workers: list[str] | None = None) -> None:
    """End those of these workers (of all) that are not like this machine, and say so."""
    wrong = _misfits(client, here, workers)
    for problem in [p for problems in wrong.values() for p in problems]:
        log.warning("%s; it was sent away", problem)
    if wrong:
        client.retire_workers(list(wrong))


def _misfits(client: Any, here: Machine, workers: list[str] | None = None) -> dict[str, list[Problem]]:
    answers = client.run(this_machine, here.witness, workers=workers, on_error="return")
    found = {address: _told(f"worker {address}", here, answer) for address, answer in answers.items()}
    return {address: problems for address, problems in found.items() if problems}


def _answer(ask: Any, *words: Any) -> Any:
    try:
        return ask(*words)
    except Exception as error:
        return error


def _told(where: str, here: Machine, answer: Machine | Exception) -> list[Problem]:
    if isinstance(answer, Machine):
        return [Problem(where, what, remedy) for what, remedy in here.unlike(answer)]
    if isinstance(answer, (OSError, CancelledError)):
        return []  # it was lost meanwhile: others have its work
    what = f"has no sevhisto {__version__} that this Python can speak to ({answer})"
    return [Problem(where, what, f"pip install 'sevhisto[cluster]=={__version__}' there, and start it again")]


class Watch:
    """Sees whether a cluster has workers, says when it has none for long and when they come, and sends away those unlike this machine."""

    def __init__(self, address: str, here: Machine) -> None:
        self.address, self.here = address, here
        self._known: set[str] = set()
        self._with_workers = self._looked = time.monotonic()
        self._told = False

    def look(self, client: Any) -> None:
        """Look every few seconds, however often it is asked for."""
        now = time.monotonic()
        if now - self._looked < LOOK_EVERY_S:
            return
        self._looked = now
        try:
            workers = set(client.nthreads())
            if workers - self._known:
                send_away(client, self.here, sorted(workers - self._known))
        except (OSError, CancelledError):
            return  # the scheduler is away: what becomes of the tasks tells
        self._known, n = workers, len(workers)
        if n:
            if self._told:
                log.warning("%s: %d worker%s there now; going on", self.address, n, " is" if n == 1 else "s are")
            self._with_workers, self._told = now, False
        elif not self._told and now - self._with_workers >= ALONE_S:
            what = f"{self.address}: 0 workers for {now - self._with_workers:.0f} s; waiting for some"
            log.warning("%s. Start them with `dask worker %s` (--slurm: they come as jobs start, see `squeue --me`)", what, self.address)
            self._told = True
