"""Progress on stderr: bars on a terminal, a line every half minute elsewhere, what fails when it does; nothing with --quiet."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from sevhisto.commands.voice import MAX_SHOWN, voice

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


@dataclass
class Clock:
    """The time of a stage that went into new work.

    Attributes
    ----------
    last : when something was heard
    new : how much was done newly by then
    idle : seconds in which only such was found as needs no work; they say nothing about the rest
    """

    last: float
    new: int = 0
    idle: float = 0.0

    def hear(self, now: float, done: int, skipped: int) -> None:
        """Hear how much is done, and how much of that needed no work."""
        if done and done - skipped == self.new:
            self.idle += now - self.last
        self.last, self.new = now, done - skipped


def pace(done: int, total: int, seconds: float, failed: int = 0, skipped: int = 0, at_least: int = 3, idle: float = 0.0) -> str:
    """Return time taken, rate, time left and failures, for one line.

    Rate and time left count what was done now (not `skipped`, nor the `idle` seconds of `Clock`), and are told from the `at_least`-th on:
    one or two say little about the rest, and with n processes the first n end together.
    """
    new, worked = done - skipped, seconds - idle
    said = [duration(seconds)]
    if new >= at_least and worked >= MIN_SECONDS:
        said.append(f"{60 * new / worked:.3g} per min")
        if done < total:
            said.append(f"about {duration((total - done) * worked / new)} left")
    return ", ".join(said) + (f", {failed} failed" if failed else "")


@contextmanager
def progress_bars(jobs: int = 1) -> Iterator[Progress]:
    """Yield a progress function for `jobs` processes: bars on a terminal; elsewhere a line every half minute, and one a stage.

    What the library warns of meanwhile (a slide that failed, a cluster without workers) is a line of its own, above the bars.
    """
    from rich.console import Console

    console = Console(stderr=True)
    if voice.quiet:
        with _heard(lambda _: None):
            yield _silent
    elif console.is_terminal:
        with _bars(console, max(3, jobs)) as show, _heard(lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True)):
            yield show
    else:
        with _heard(lambda line: typer.echo(line, err=True)):
            yield _lines(max(3, jobs))


@contextmanager
def _heard(write: Callable[[str], None]) -> Iterator[None]:
    """Write the library's warnings; of those of one module the first ones only, without --verbose."""
    told: Counter[str] = Counter()

    def write_first(record: logging.LogRecord) -> None:
        told[record.name] += 1
        if voice.verbose or told[record.name] <= MAX_SHOWN:
            write(record.getMessage())
        elif told[record.name] == MAX_SHOWN + 1:
            write("and more, which are only counted here (--verbose says each)")

    log, handler = logging.getLogger("sevhisto"), logging.Handler(logging.WARNING)
    handler.emit = write_first  # type: ignore[method-assign]
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


def _silent(what: str, done: int, total: int, failed: int = 0, skipped: int = 0) -> None:
    """Show nothing."""


def _lines(at_least: int) -> Progress:
    started: dict[str, float] = {}
    told: dict[str, float] = {}
    clocks: dict[str, Clock] = {}

    def show(what: str, done: int, total: int, failed: int = 0, skipped: int = 0) -> None:
        now = time.monotonic()
        start = started.setdefault(what, now)
        clock = clocks.setdefault(what, Clock(now))
        clock.hear(now, done, skipped)
        if done == total or now - told.setdefault(what, start) >= LINE_EVERY_S:
            told[what] = now
            typer.echo(f"{what}: {done}/{total}, {pace(done, total, now - start, failed, skipped, at_least, clock.idle)}", err=True)

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
            return Text(pace(int(task.completed), int(task.total or 0), seconds, *counts, at_least, task.fields["clock"].idle))

    bars: dict[str, TaskID] = {}
    clocks: dict[str, Clock] = {}
    with Display(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Pace(), console=console) as display:

        def show(what: str, done: int, total: int, failed: int = 0, skipped: int = 0) -> None:
            now = time.monotonic()
            clock = clocks.setdefault(what, Clock(now))
            clock.hear(now, done, skipped)
            if what not in bars:
                bars[what] = display.add_task(what, total=total, failed=0, skipped=0, clock=clock)
            display.update(bars[what], completed=done, total=total, failed=failed, skipped=skipped)

        yield show
