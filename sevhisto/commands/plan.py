"""`sevhisto plan`."""

from __future__ import annotations

from typing import Annotated

import typer

from sevhisto.commands.options import StudyFolder
from sevhisto.commands.voice import answer, found, next_step, say, typed

EXAMPLES = ("sevhisto plan my_study", "sevhisto plan my_study --endpoint BBB_plateau_score --effect 20 --power 0.9")


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
        answer(line)
    answer("For a two-sided t test at 0.05; contrasts that share it by Holm need more animals.")
    say(f"Wrote plan.csv ({len(done.table)} rows) and plan.svg to {done.path.parent}.")
    found(path=done.path, plan=done.table)
    next_step(f"open plan.svg in {typed(done.path.parent)}; other effects and endpoints: --effect PCT, --endpoint NAME")
