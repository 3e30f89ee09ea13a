"""The command line: `sevhisto COMMAND`.

Exit status 0: done. 1: the study or the command is wrong, nothing was run. 2: usage. 3: done, but some sections failed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from sevhisto import __version__
from sevhisto.commands.agreement import agreement
from sevhisto.commands.check import check
from sevhisto.commands.diff import diff
from sevhisto.commands.options import Jobs, Memory, StudyFolder, processes, say
from sevhisto.commands.progress import progress_bars
from sevhisto.commands.review import review
from sevhisto.commands.running import exit_if_failed, run, say_run
from sevhisto.commands.selftest import selftest
from sevhisto.registry import EXCLUSION_REASONS
from sevhisto.types import SevhistoError

if TYPE_CHECKING:
    from sevhisto.pipeline import DemoSummary

app = typer.Typer(
    name="sevhisto",
    help="From a folder of spinal cord slides to per-animal tables and an answer.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
STUDY_WRONG, STOPPED = 1, 130


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
    say_run(done.run)
    _say_demo(done)
    exit_if_failed(done.run)


@app.command()
def init(slides: Annotated[Path, typer.Argument(metavar="SLIDES", help="Folder of image files.")]) -> None:
    """Draft study.toml, slides.csv, animals.csv and motor.csv from file names and metadata. No image is moved or changed."""
    from sevhisto.io.draft import draft_study

    for note in draft_study(slides):
        say(note)


app.command()(check)


app.command()(run)


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


app.command()(agreement)
app.command()(diff)
app.command()(review)
app.command()(selftest)


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
    except SystemExit as end:
        if end.code == STOPPED:
            typer.echo("\nStopped. Nothing is lost: the same command goes on where this one was.", err=True)
        raise


if __name__ == "__main__":
    main()
