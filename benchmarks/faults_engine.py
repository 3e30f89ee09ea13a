"""Faults injected into runs, as parts of `faults.py`: every trial starts from the same small study and ends with a clean run of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path

from faults_cluster import cluster_faults, locally, on_cluster, poisons
from faults_row import Options, Part, Row
from faults_runs import changes, clocks, disks, failing_writes, kills, rivals
from faults_trial import Bench, Tally, prepare

KILLS, TORN, EACH, SLIDES = 200, 100, 40, 40
HARM = ("SIGSEGV", "SIGKILL", "hang", "8GB")
EVERY_S = 8.0
"""Seconds between deaths of Dask workers: more than one takes to start."""


@lru_cache(maxsize=1)
def bench(folder: Path, seed: int) -> Bench:
    """Return the study that all parts share, made once."""
    folder.mkdir(parents=True, exist_ok=True)
    return prepare(folder, seed)


def _part(name: str, trial: Callable[[Bench, Options], Tally], needs_root: bool = False) -> Part:
    def rows(options: Options) -> Iterator[Row]:
        if needs_root and not (hasattr(os, "geteuid") and os.geteuid() == 0):
            yield Row(name, "not run: mounting a small disk needs root", 0, 0)
            return
        yield trial(bench(options.scratch.parent / "runs", options.seed), options).row(name)

    return rows


def _slides(options: Options) -> int:
    return max(12, options.n(SLIDES) // 4 * 4)


def _poison(b: Bench, o: Options, where: Callable[..., object], name: str) -> Tally:
    return poisons(b, HARM, where, f"poison among {_slides(o)} slides, {name}", _slides(o))


PARTS: dict[str, Part] = {
    "kills": _part("kills", lambda b, o: kills(b, o.n(KILLS), torn=False)),
    "torn": _part("torn", lambda b, o: kills(b, o.n(TORN), torn=True)),
    "full": _part("full", lambda b, o: disks(b, o.n(EACH), read_only=False), needs_root=True),
    "read-only": _part("read-only", lambda b, o: disks(b, o.n(EACH), read_only=True), needs_root=True),
    "writes": _part("writes", lambda b, o: failing_writes(b, max(1, round(1 / o.share)))),
    "clocks": _part("clocks", lambda b, o: clocks(b, o.n(EACH))),
    "changed": _part("changed", lambda b, o: changes(b, o.n(EACH))),
    "rivals": _part("rivals", lambda b, o: rivals(b, o.n(EACH))),
    "poison-local": _part("poison-local", partial(_poison, where=locally, name="local")),
    "poison-dask": _part("poison-dask", partial(_poison, where=on_cluster, name="Dask")),
    "dask": _part("dask", lambda b, o: cluster_faults(b, _slides(o), EVERY_S, stored=False)),
    "dask-store": _part("dask-store", lambda b, o: cluster_faults(b, _slides(o), EVERY_S, stored=True)),
}
