"""`sevhisto exclude`."""

from __future__ import annotations

from typing import Annotated

import typer

from sevhisto.commands.options import AnimalId, Person, StudyFolder
from sevhisto.commands.voice import found, next_step, say, typed
from sevhisto.registry import EXCLUSION_REASONS

EXAMPLES = (
    'sevhisto exclude my_study --animal A-7KQ2 --section s03 --reason tissue_damaged --who "A. Smith"',
    'sevhisto exclude my_study --animal A-7KQ2 --reason died --note "day 12" --who "A. Smith"',
    'sevhisto exclude my_study --animal A-7KQ2 --section s03 --undo --who "A. Smith"',
)


def exclude(
    study: StudyFolder,
    animal: AnimalId,
    who: Person,
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
    found(animal=entry.animal, section=entry.section, panel=entry.panel, reason=entry.reason, who=entry.who, when=entry.when, undo=undo)
    next_step(f"sevhisto run {typed(study)}   (no slide is read twice)")
