"""`sevhisto demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sevhisto.commands.options import Jobs, Memory, processes
from sevhisto.commands.progress import progress_bars
from sevhisto.commands.run import exit_if_failed, say_run
from sevhisto.commands.voice import answer, found, next_step

if TYPE_CHECKING:
    from sevhisto.pipeline import DemoSummary

EXAMPLES = ("sevhisto demo", "sevhisto demo my_demo --jobs 4")


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
    found(study=done.study, report=done.report, accuracy=done.accuracy, effects=done.effects)
    next_step(f"open {done.report}; for slides of your own: sevhisto init SLIDES")
    exit_if_failed(done.run)


def _say_demo(done: DemoSummary) -> None:
    answer("\nPositive fraction against the truth (noise-free image at the same threshold), sections with a lesion:")
    shown = done.accuracy[done.accuracy["zone"].isin(["core", "0-250"])]  # farther rings are slivers on these small cords
    for r in shown.itertuples():
        figures = f"measured {r.measured_pct:6.2f} %   true {r.true_pct:6.2f} %   off by {r.error_points:+.2f} points"
        answer(f"  {r.marker:<12} {r.zone:<6} {figures}")
    answer("Declared effects and their measured 95 % intervals:")
    for r in done.effects.itertuples():
        answer(f"  {r.endpoint:<42} {r.contrast:<9} {r.scale:<10} {r.declared:8.3f}   {r.measured:8.3f} ({r.low:.3f} to {r.high:.3f})")
    inside, n = int((done.effects["inside"] == "yes").sum()), len(done.effects)
    worst = float(shown["error_points"].abs().max())
    answer(f"\nOpen {done.report}; the tables are beside it.")
    answer(
        f"Largest error of a positive fraction there: {worst:.2f} points; {inside} of {n} declared effects lie inside their 95 % interval."
    )
