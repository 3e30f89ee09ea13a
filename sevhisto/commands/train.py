"""`sevhisto train`."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from sevhisto.commands.options import Jobs, Memory, StudyFolder, processes
from sevhisto.commands.progress import progress_bars
from sevhisto.commands.voice import answer, found, next_step, typed

EXAMPLES = ("sevhisto train my_study scar", 'sevhisto train my_study scar --panel B --who "A. Smith" --finest-um 1')


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
        answer(line)
    answer(f"\nWrote {done.path}. To measure with it, add to study.toml:\n\n{done.setting}\n")
    found(path=done.path, setting=done.setting)
    next_step(f"add these lines to study.toml, then: sevhisto run {typed(study)}")
