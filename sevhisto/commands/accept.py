"""`sevhisto accept`."""

from __future__ import annotations

from typing import Annotated

import typer

from sevhisto.commands.options import AnimalId, Person, StudyFolder
from sevhisto.commands.voice import found, next_step, say, typed

EXAMPLES = (
    'sevhisto accept my_study --animal A-7KQ2 --section s03 --who "A. Smith"',
    'sevhisto accept my_study --animal A-7KQ2 --section s03 --undo --who "A. Smith"',
)


def accept(
    study: StudyFolder,
    animal: AnimalId,
    section: Annotated[str, typer.Option("--section", metavar="ID", help="Section of it, whose outlines you have looked at.")],
    who: Person,
    panel: Annotated[str, typer.Option("--panel", metavar="NAME", help="Panel, where the section has several.")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Take an acceptance back. Both stay in the journal.")] = False,
) -> None:
    """Accept a section's outlines as they are. accepted.jsonl keeps who did and when; contour_unreviewed goes with the next run."""
    from sevhisto.pipeline import accept as found_right

    entry = found_right(study, animal, section, panel, who=who, undo=undo)
    say(f"{entry}: {'no longer accepted' if undo else 'accepted'} by {entry.who}, {entry.when}.")
    found(animal=entry.animal, section=entry.section, panel=entry.panel, who=entry.who, when=entry.when, undo=undo)
    next_step(f"sevhisto run {typed(study)}   (no slide is read twice)")
