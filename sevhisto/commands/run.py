"""`sevhisto run`."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from sevhisto.commands.options import Jobs, Memory, StudyFolder, processes
from sevhisto.commands.progress import progress_bars
from sevhisto.commands.voice import SOME_FAILED, found, listed, next_step, say, typed
from sevhisto.registry import FLAGS
from sevhisto.types import Problem, StudyError

if TYPE_CHECKING:
    from sevhisto.pipeline import RunSummary

EXAMPLES = (
    "sevhisto run my_study",
    "sevhisto run my_study --jobs 8 --memory 24",
    "sevhisto run my_study --scheduler tcp://cluster:8786",
    "sevhisto run my_study --scheduler tcp://cluster:8786 --records s3://lab/my_study",
    "sevhisto run my_study --slurm 16 --host login1 --tls certificates",
)
LOOPBACK = "127.0.0.1"
TIME_LIMIT_MIN = 120.0
"""What a slide may take: two hundred times what the largest measured one takes, so that only what hangs is ended."""


def run(
    study: StudyFolder,
    jobs: Jobs = None,
    memory: Memory = None,
    time_limit: Annotated[
        float, typer.Option("--time-limit", metavar="MIN", min=0.01, help="Minutes that one slide may take; then it is failed.")
    ] = TIME_LIMIT_MIN,
    scheduler: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--scheduler", metavar="tcp://HOST:PORT", help="Dask scheduler to run on, instead of local processes."),
    ] = None,
    slurm: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--slurm", metavar="N", min=1, help="Run in N Slurm jobs, which dask-jobqueue submits; see docs/cluster.md."),
    ] = None,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="With --slurm: this computer, as the jobs reach it.")] = LOOPBACK,
    tls: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--tls", metavar="FOLDER", help="Folder with ca.pem, cert.pem and key.pem: a cluster is spoken to encrypted only."),
    ] = None,
    records: Annotated[
        str, typer.Option("--records", metavar="URL", help="Store for records (file://, s3://, sftp://, ...) that all machines reach.")
    ] = "",
) -> None:
    """Measure all slides and write the tables. Run it again to go on: sections that are done are not read again."""
    from sevhisto.pipeline import run as start

    local = scheduler is None and slurm is None
    _refuse({"--jobs": jobs, "--memory": memory} if not local else {"--tls": tls}, local)
    if scheduler and slurm:
        raise StudyError(Problem("--slurm", "starts a scheduler of its own", "leave out --scheduler"))
    n = processes(jobs, memory) if local else None
    with _stoppable(), _on(scheduler, slurm, host, tls) as address, progress_bars(n or slurm or 1) as progress:
        done = start(study, n, address, progress, _limits(n, memory, time_limit), records)
    say_run(done)
    next_step(f"sevhisto report {typed(study)}   (then compare, once every outline and threshold is settled)")
    exit_if_failed(done)


def _refuse(given: dict[str, Any], local: bool) -> None:
    for option, value in given.items():
        if value is not None:
            what = "is for a cluster" if local else "means local processes, but --scheduler or --slurm names a cluster"
            remedy = "add --scheduler or --slurm" if local else "give the cluster's workers their limits"
            raise StudyError(Problem(option, what, remedy))


def _limits(jobs: int | None, memory_gb: float | None, minutes: float) -> Any:
    """Return what one slide may use: a share of the memory asked for, or of what is free now."""
    from sevhisto.engine import Limits, available_mb, share_mb

    if jobs is None:
        return Limits(None, 60 * minutes)  # on a cluster, each worker has its own
    whole = 1024 * memory_gb if memory_gb is not None else available_mb()
    return Limits(None if whole is None else share_mb(jobs, whole), 60 * minutes)


@contextmanager
def _on(scheduler: str | None, slurm: int | None, host: str, tls: Path | None) -> Iterator[str | None]:
    """Yield the address of the scheduler to use, if any; jobs that were submitted are cancelled at the end."""
    if scheduler is None and slurm is None:
        yield None
        return
    from sevhisto.engine.cluster import encrypted
    from sevhisto.engine.slurm import slurm_jobs

    with encrypted(tls):
        if slurm is None:
            yield scheduler
            return
        with slurm_jobs(slurm, host, tls is not None) as (address, script):
            say(f"{slurm} jobs submitted; the scheduler listens at {address}. One of them:\n{script}")
            yield address


@contextmanager
def _stoppable() -> Iterator[None]:
    """Take a request to end (SIGTERM: `kill`, Slurm, a shutdown) like Ctrl-C."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def say_run(done: RunSummary) -> None:
    """Say how a run ended, and what failed."""
    total = done.ok + done.flagged + done.failed + done.excluded
    left_out = f", {done.excluded} excluded" if done.excluded else ""
    say(f"{total} sections: {done.ok} ok, {done.flagged} flagged, {done.failed} failed{left_out}.")
    say(f"{done.measured_now} measured now, {done.seconds:.0f} s. Tables are in {done.results}.")
    listed([f"{n} x {name}: {FLAGS[name].meaning}" for name, n in done.flags.items()], "flag", "see docs/tables.md")
    listed(done.notes, "controls", "see run.json")
    listed(done.failures, "failed", f"see {done.results / 'status.csv'}")
    found(**vars(done))


def exit_if_failed(done: RunSummary) -> None:
    """End with status 3 where sections failed."""
    if done.failed:
        raise typer.Exit(SOME_FAILED)
