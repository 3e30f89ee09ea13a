"""`sevhisto threshold`."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from sevhisto.commands.options import Person, StudyFolder
from sevhisto.commands.voice import found, next_step, say, typed
from sevhisto.types import Problem, StudyError

EXAMPLES = (
    'sevhisto threshold my_study --panel main --batch batch1 --marker CD68 --value 180 --who "A. Smith"',
    'sevhisto threshold my_study --panel main --batch batch1 --marker CD68 --undo --who "A. Smith"',
)


def threshold(
    study: StudyFolder,
    batch: Annotated[str, typer.Option("--batch", metavar="NAME", help="Stain batch, as the results call it.")],
    marker: Annotated[str, typer.Option("--marker", metavar="NAME", help="Marker.")],
    who: Person,
    panel: Annotated[str, typer.Option("--panel", metavar="NAME", help="Panel.")],
    value: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option("--value", metavar="GREY", help="Threshold on corrected intensity, for every section of the batch."),
    ] = None,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="Why, in your own words.")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Let the controls decide again. Both stay in the journal.")] = False,
) -> None:
    """Set a marker's threshold by hand for a batch. thresholds.jsonl keeps who did and when; no slide is read again."""
    from sevhisto.pipeline import set_threshold

    if undo == (value is not None):
        raise StudyError(Problem("--value, --undo", "one of the two is needed", "give --value GREY, or --undo"))
    entry = set_threshold(study, panel, batch, marker, value, who=who, note=note)
    decided = "left to the controls again" if entry.value is None else f"set to {entry.value:g}"
    say(f"{entry}: {decided} by {entry.who}, {entry.when}.")
    found(panel=panel, batch=batch, marker=marker, value=entry.value, who=entry.who, when=entry.when)
    next_step(f"sevhisto run {typed(study)}   (no slide is read)")
