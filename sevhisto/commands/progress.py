"""What is told while a command runs: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from sevhisto.pipeline import Progress

LINE_EVERY_S = 30.0
MIN_SECONDS = 5.0


def duration(seconds: float) -> str:
    """Return a time as people say it: ``45 s``, ``12 min``, ``3 h 5 min``."""
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def pace(done: int, total: int, seconds: float, failed: int = 0, skipped: int = 0, at_least: int = 3) -> str:
    """Return time taken, rate, time left and failures, for one line.

    Rate and time left count what was done now (not `skipped`), and are told from the `at_least`-th on: one or two say little about the
    rest, and with n processes the first n end together.
    """
    new = done - skipped
    said = [duration(seconds)]
    if new >= at_least and seconds >= MIN_SECONDS:
        said.append(f"{60 * new / seconds:.3g} per min")
        if done < total:
            said.append(f"about {duration((total - done) * seconds / new)} left")
    return ", ".join(said) + (f", {failed} failed" if failed else "")


@contextmanager
def progress_bars(jobs: int = 1) -> Iterator[Progress]:
    """Yield a progress function for `jobs` processes: bars on a terminal; elsewhere a line every half minute, and one a stage."""
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_terminal:
        with _bars(console, max(3, jobs)) as show:
            yield show
    else:
        yield _lines(max(3, jobs))


def _lines(at_least: int) -> Progress:
    started: dict[str, float] = {}
    told: dict[str, float] = {}

    def show(what: str, done: int, total: int, failed: int = 0, skipped: int = 0) -> None:
        now = time.monotonic()
        start = started.setdefault(what, now)
        if done == total or now - told.setdefault(what, start) >= LINE_EVERY_S:
            told[what] = now
            typer.echo(f"{what}: {done}/{total}, {pace(done, total, now - start, failed, skipped, at_least)}", err=True)

    return show


@contextmanager
def _bars(console: Console, at_least: int) -> Iterator[Progress]:
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TaskID, TextColumn
    from rich.progress import Progress as Display
    from rich.text import Text

    class Pace(ProgressColumn):
        def render(self, task: Task) -> Text:
            seconds = task.finished_time or task.elapsed or 0.0
            counts = task.fields["failed"], task.fields["skipped"]
            return Text(pace(int(task.completed), int(task.total or 0), seconds, *counts, at_least))

    bars: dict[str, TaskID] = {}
    with Display(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Pace(), console=console) as display:

        def show(what: str, done: int, total: int, failed: int = 0, skipped: int = 0) -> None:
            if what not in bars:
                bars[what] = display.add_task(what, total=total, failed=0, skipped=0)
            display.update(bars[what], completed=done, total=total, failed=failed, skipped=skipped)

        yield show
