"""`sevhisto run`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Optional

import typer

from sevhisto.commands.options import Jobs, Memory, StudyFolder, processes
from sevhisto.commands.progress import progress_bars
from sevhisto.commands.voice import SOME_FAILED, found, listed, next_step, say
from sevhisto.types import Problem, SevhistoError

if TYPE_CHECKING:
    from sevhisto.pipeline import RunSummary

EXAMPLES = (
    "sevhisto run my_study",
    "sevhisto run my_study --jobs 8 --memory 24",
    "sevhisto run my_study --scheduler tcp://cluster:8786",
)


def run(
    study: StudyFolder,
    jobs: Jobs = None,
    memory: Memory = None,
    scheduler: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--scheduler", metavar="tcp://HOST:PORT", help="Dask scheduler to run on, instead of local processes."),
    ] = None,
) -> None:
    """Measure all slides and write the tables. Run it again to go on: sections that are done are not read again."""
    from sevhisto.pipeline import run as start

    for option, given in (("--jobs", jobs), ("--memory", memory)):
        if scheduler and given is not None:
            raise SevhistoError(
                Problem(option, "means local processes, but --scheduler names a cluster", "give the cluster's workers their limits")
            )
    n = None if scheduler else processes(jobs, memory)
    with progress_bars(n or 1) as progress:
        done = start(study, n, scheduler, progress)
    say_run(done)
    next_step(f"sevhisto report {study}   (or compare, which needs animals.csv and motor.csv filled in)")
    exit_if_failed(done)


def say_run(done: RunSummary) -> None:
    """Say how a run ended."""
    total = done.ok + done.flagged + done.failed + done.excluded
    left_out = f", {done.excluded} excluded" if done.excluded else ""
    say(f"{total} sections: {done.ok} ok, {done.flagged} flagged, {done.failed} failed{left_out}.")
    say(f"{done.measured_now} measured now, {done.seconds:.0f} s. Tables are in {done.results}.")
    listed(done.notes, "controls", "see run.json")
    listed(done.failures, "failed", f"see {done.results / 'status.csv'}")
    found(**vars(done))


def exit_if_failed(done: RunSummary) -> None:
    """End with status 3 where sections failed."""
    if done.failed:
        raise typer.Exit(SOME_FAILED)
