"""The command line: `sevhisto COMMAND`.

Exit status 0: done. 1: the study or the command is wrong, nothing was run. 2: usage. 3: done, but some sections failed.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from sevhisto import __version__
from sevhisto.commands.agreement import agreement
from sevhisto.commands.deciding import accept, threshold
from sevhisto.commands.diff import diff
from sevhisto.commands.review import review
from sevhisto.registry import EXCLUSION_REASONS
from sevhisto.types import SevhistoError

if TYPE_CHECKING:
    from rich.console import Console

    from sevhisto.pipeline import DemoSummary, Progress, RunSummary

app = typer.Typer(
    name="sevhisto",
    help="From a folder of spinal cord slides to per-animal tables and an answer.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
STUDY_WRONG, SOME_FAILED = 1, 3
MAX_FAILURES_SHOWN = 20
LINE_EVERY_S = 30.0
MIN_SECONDS = 5.0

StudyFolder = Annotated[Path, typer.Argument(metavar="STUDY", help="Folder that holds study.toml.")]
Jobs = Annotated[Optional[int], typer.Option("--jobs", "-j", min=1, help="Processes; one per core if not given.")]  # noqa: UP045

Memory = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option("--memory", metavar="GB", min=0, help="Memory to use in all; what is free now if not given. Fewer processes use less."),
]


def say(text: str = "") -> None:
    """Print one line for the user."""
    typer.echo(text)


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


def processes(jobs: int | None, memory_gb: float | None) -> int:
    """Return how many processes to use, and say so where the memory allows fewer than asked for."""
    from sevhisto.engine import WORKER_MB, available_mb, default_jobs, jobs_for

    wanted = jobs or default_jobs()
    if memory_gb is not None:
        fit, why = jobs_for(wanted, 1024 * memory_gb), f"--memory {memory_gb:g}"
    else:
        free = available_mb()
        if free is None:
            return wanted
        fit, why = jobs_for(wanted, max(free, WORKER_MB)), f"{free / 1024:.1f} GB of memory free now"
    if fit < wanted:
        typer.echo(f"{fit} of {wanted} processes fit: {why}, and one needs up to {WORKER_MB} MB.", err=True)
    return fit


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False) -> None:
    """From a folder of spinal cord slides to per-animal tables and an answer."""
    if show:
        say(f"sevhisto {__version__}")
        raise typer.Exit


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New folder for the study.")] = Path("sevhisto-demo"),
    jobs: Jobs = None,
    memory: Memory = None,
) -> None:
    """Make a small study with known truth, run it to the end, and say how far the result is from the truth."""
    from sevhisto.pipeline import demo as make

    n = processes(jobs, memory)
    with progress_bars(n) as progress:
        done = make(folder, jobs=n, progress=progress)
    _say_run(done.run)
    _say_demo(done)
    _exit_if_failed(done.run)


@app.command()
def init(slides: Annotated[Path, typer.Argument(metavar="SLIDES", help="Folder of image files.")]) -> None:
    """Draft study.toml, slides.csv, animals.csv and motor.csv from file names and metadata. No image is moved or changed."""
    from sevhisto.io.draft import draft_study

    for note in draft_study(slides):
        say(note)


@app.command()
def check(study: StudyFolder) -> None:
    """Say everything that is wrong with a study, before a pixel is read."""
    from sevhisto.pipeline import check as look

    problems, notes = look(study)
    for note in notes:
        say(f"note: {note}")
    if problems:
        raise SevhistoError(problems)
    say(f"No problem found. Next: sevhisto run {study}")


@app.command()
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
    from sevhisto.types import Problem

    for option, given in (("--jobs", jobs), ("--memory", memory)):
        if scheduler and given is not None:
            raise SevhistoError(
                Problem(option, "means local processes, but --scheduler names a cluster", "give the cluster's workers their limits")
            )
    n = None if scheduler else processes(jobs, memory)
    with progress_bars(n or 1) as progress:
        done = start(study, n, scheduler, progress)
    _say_run(done)
    say(f"Next: sevhisto report {study}   (or compare, which needs animals.csv and motor.csv filled in)")
    _exit_if_failed(done)


@app.command()
def compare(
    study: StudyFolder,
    unblind: Annotated[
        bool, typer.Option("--unblind", help="Open the key: contours, thresholds and exclusions are hashed and recorded first.")
    ] = False,
    jobs: Jobs = None,
    memory: Memory = None,
) -> None:
    """Compare the groups, per animal, and relate matrix to motor recovery. Groups stay codes until --unblind.

    Every result is made again with other thresholds, lesion borders and zone edges, and without flagged sections, each batch, each animal.
    """
    from sevhisto.pipeline import compare as answer

    n = processes(jobs, memory)
    with progress_bars(n) as progress:
        done = answer(study, unblind, n, progress)
    primary = done.comparisons[done.comparisons["role"] == "primary"]
    for r in primary.itertuples():
        interval = f"{r.ci_low:.4g} to {r.ci_high:.4g}"
        tests = f"p {r.p:.3g}, adjusted {r.p_adjusted:.3g}" + (f"; {r.robustness!s}" if r.robustness else "")
        say(f"{r.endpoint}, {r.contrast}: {r.estimate:.4g} {r.unit} (95 % interval {interval}), {tests}")
    for note in done.notes:
        say(f"note: {note}")
    written = f"comparisons.csv ({len(done.comparisons)} rows), relations.csv ({len(done.relations)} rows) and specifications.csv"
    say(f"Wrote {written} to {done.results}.")
    say(f"Next: sevhisto report {study}" + ("   (groups are codes; add --unblind to compare to open the key)" if done.blinded else ""))


@app.command()
def exclude(
    study: StudyFolder,
    animal: Annotated[str, typer.Option("--animal", metavar="ID", help="Animal, as the results call it: by code until the key is opened.")],
    who: Annotated[str, typer.Option("--who", metavar="NAME", help="Person who decides.")],
    section: Annotated[str, typer.Option("--section", metavar="ID", help="One section of it.")] = "",
    panel: Annotated[str, typer.Option("--panel", metavar="NAME", help="One panel of it.")] = "",
    reason: Annotated[str, typer.Option("--reason", metavar="CODE", help=f"One of {', '.join(EXCLUSION_REASONS)}.")] = "",
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="In your own words.")] = "",
    areas: Annotated[bool, typer.Option("--areas", help="Not the section: give reason and name to the areas drawn on it.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take an exclusion of the same back. Both stay in the journal.")] = False,
) -> None:
    """Leave out an animal, a panel, a section or drawn areas. exclusions.jsonl keeps who did, when and why; nothing is measured again."""
    from sevhisto.pipeline import exclude as leave_out

    entry = leave_out(study, animal, section, panel, who=who, reason=reason, note=note, undo=undo, areas=areas)
    say(f"{entry}: {'taken in again' if undo else f'left out ({entry.reason})'} by {entry.who}, {entry.when}.")
    say(f"Next: sevhisto run {study}   (no slide is read twice)")


app.command()(accept)
app.command()(threshold)
app.command()(agreement)
app.command()(diff)
app.command()(review)


@app.command()
def train(
    study: StudyFolder,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the classifier shall be called.")],
    panel: Annotated[str, typer.Option("--panel", metavar="NAME", help="Panel whose slides were drawn on.")] = "",
    who: Annotated[str, typer.Option("--who", metavar="NAME", help="Person who drew; kept with the classifier.")] = "",
    finest_um: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--finest-um", metavar="UM", min=0.1, max=50, help="Finest scale it sees; 1.5 or the largest pixel if not given."),
    ] = None,
    stroke_um: Annotated[float, typer.Option("--stroke-um", metavar="UM", min=0.1, max=500, help="Width of lines without one.")] = 5.0,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**31 - 1, help="The same outlines and seed give the same bytes.")] = 1,
    jobs: Jobs = None,
    memory: Memory = None,
) -> None:
    """Learn to tell stains apart that no threshold separates, from outlines with classes in training/<image file name>.geojson."""
    from sevhisto.pipeline import train as learn

    n = processes(jobs, memory)
    with progress_bars(n) as progress:
        done = learn(study, name, panel, who=who, finest_um=finest_um, stroke_um=stroke_um, seed=seed, jobs=n, progress=progress)
    for line in done.lines:
        say(line)
    say(f"\nWrote {done.path}. To measure with it, add to study.toml, then run again:\n\n{done.setting}\n")


@app.command()
def report(study: StudyFolder, jobs: Jobs = None, memory: Memory = None) -> None:
    """Write results/report.html: one file, offline, with overlays of every section."""
    from sevhisto.pipeline import report as write

    say(f"Wrote {write(study, processes(jobs, memory))}")


@app.command()
def plan(
    study: StudyFolder,
    endpoint: Annotated[str, typer.Option("--endpoint", metavar="NAME", help="Column of animals_wide.csv, not the primary ones.")] = "",
    effect: Annotated[float, typer.Option("--effect", metavar="PCT", min=0.1, help="Difference to find, in percent of the mean.")] = 30.0,
    power: Annotated[float, typer.Option("--power", min=0.5, max=0.99, help="Chance to find it.")] = 0.8,
) -> None:
    """Animals and sections per arm for the next study, from the variance that this one shows. Writes plan.csv and plan.svg."""
    from sevhisto.pipeline import plan as size

    done = size(study, endpoint, effect, power)
    for line in done.lines:
        say(line)
    say("For a two-sided t test at 0.05; contrasts that share it by Holm need more animals.")
    say(f"Wrote plan.csv ({len(done.table)} rows) and plan.svg to {done.path.parent}.")


@app.command()
def phantom(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New folder for the study.")],
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 1,
    animals: Annotated[int, typer.Option(min=1, help="Animals per arm; there are four arms.")] = 6,
    sections: Annotated[int, typer.Option(min=1, help="Sections per animal and panel.")] = 5,
    um_per_px: Annotated[float, typer.Option(min=0.2, max=4, help="Pixel size.")] = 1.5,
    null: Annotated[bool, typer.Option("--null", help="No arm differs from vehicle.")] = False,
    jobs: Jobs = None,
) -> None:
    """Write a synthetic study with known truth, ready for `sevhisto run`."""
    from sevhisto.engine import default_jobs
    from sevhisto.phantom import StudySpec, make_study
    from sevhisto.types import Problem, StudyError

    if folder.exists() and any(folder.iterdir()):
        raise StudyError(Problem(str(folder), "exists and is not empty", "name a new folder, or delete this one"))
    make_study(folder, StudySpec(seed=seed, n_per_arm=animals, n_sections=sections, um_per_px=um_per_px, null=null), jobs or default_jobs())
    say(f"Wrote a synthetic study to {folder}. Next: sevhisto run {folder}")


def _say_run(done: RunSummary) -> None:
    total = done.ok + done.flagged + done.failed + done.excluded
    left_out = f", {done.excluded} excluded" if done.excluded else ""
    say(f"{total} sections: {done.ok} ok, {done.flagged} flagged, {done.failed} failed{left_out}.")
    say(f"{done.measured_now} measured now, {done.seconds:.0f} s. Tables are in {done.results}.")
    for line in done.notes[:MAX_FAILURES_SHOWN]:
        say(f"  controls: {line}")
    for line in done.failures[:MAX_FAILURES_SHOWN]:
        say(f"  failed: {line}")
    if len(done.failures) > MAX_FAILURES_SHOWN:
        say(f"  and {len(done.failures) - MAX_FAILURES_SHOWN} more: see {done.results / 'status.csv'}")


def _say_demo(done: DemoSummary) -> None:
    say("\nPositive fraction against the truth (noise-free image at the same threshold), sections with a lesion:")
    shown = done.accuracy[done.accuracy["zone"].isin(["core", "0-250"])]  # farther rings are slivers on these small cords
    for r in shown.itertuples():
        figures = f"measured {r.measured_pct:6.2f} %   true {r.true_pct:6.2f} %   off by {r.error_points:+.2f} points"
        say(f"  {r.marker:<12} {r.zone:<6} {figures}")
    say("Declared effects and their measured 95 % intervals:")
    for r in done.effects.itertuples():
        say(f"  {r.endpoint:<42} {r.contrast:<9} {r.scale:<10} {r.declared:8.3f}   {r.measured:8.3f} ({r.low:.3f} to {r.high:.3f})")
    inside, n = int((done.effects["inside"] == "yes").sum()), len(done.effects)
    worst = float(shown["error_points"].abs().max())
    say(f"\nOpen {done.report}; the tables are beside it.")
    say(f"Largest error of a positive fraction there: {worst:.2f} points; {inside} of {n} declared effects lie inside their 95 % interval.")


def _exit_if_failed(done: RunSummary) -> None:
    if done.failed:
        raise typer.Exit(SOME_FAILED)


def main() -> None:
    """Run the command line; problems a user can mend are printed without a traceback."""
    try:
        app()
    except SevhistoError as error:
        n = len(error.problems)
        typer.echo(f"{n} problem{'s' * (n != 1)}:" if n > 1 else "Problem:", err=True)
        for problem in error.problems:
            typer.echo(f"  {problem}", err=True)
        sys.exit(STUDY_WRONG)
    except KeyboardInterrupt:
        typer.echo("\nStopped. Nothing is lost: the same command goes on where this one was.", err=True)
        os._exit(130)


if __name__ == "__main__":
    main()
