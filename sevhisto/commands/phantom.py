"""`sevhisto phantom`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sevhisto.commands.options import Jobs
from sevhisto.commands.voice import found, next_step, say, typed
from sevhisto.types import Problem, StudyError

EXAMPLES = ("sevhisto phantom synthetic", "sevhisto phantom synthetic --animals 8 --sections 12 --seed 7")


def phantom(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New folder for the study.")],
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same bytes.")] = 1,
    animals: Annotated[int, typer.Option("--animals", min=1, help="Animals per arm; there are four arms.")] = 6,
    sections: Annotated[int, typer.Option("--sections", min=1, help="Sections per animal and panel.")] = 5,
    um_per_px: Annotated[float, typer.Option("--um-per-px", min=0.2, max=4, help="Pixel size.")] = 1.5,
    null: Annotated[bool, typer.Option("--null", help="No arm differs from vehicle.")] = False,
    jobs: Jobs = None,
) -> None:
    """Write a synthetic study with known truth, ready for `sevhisto run`."""
    from sevhisto.engine import default_jobs
    from sevhisto.phantom import StudySpec, make_study

    if folder.exists() and any(folder.iterdir()):
        raise StudyError(Problem(str(folder), "exists and is not empty", "name a new folder, or delete this one"))
    make_study(folder, StudySpec(seed=seed, n_per_arm=animals, n_sections=sections, um_per_px=um_per_px, null=null), jobs or default_jobs())
    say(f"Wrote a synthetic study to {folder}.")
    found(study=folder)
    next_step(f"sevhisto run {typed(folder)}")
