"""`sevhisto accept` and `sevhisto threshold`: what a person decides on sections and batches, as in the viewer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

_Study = Annotated[Path, typer.Argument(metavar="STUDY", help="Folder that holds study.toml, after `sevhisto run`.")]
_Who = Annotated[str, typer.Option("--who", metavar="NAME", help="Person who decides.")]


def accept(
    study: _Study,
    animal: Annotated[str, typer.Option("--animal", metavar="ID", help="Animal, as the results call it: by code until the key is opened.")],
    section: Annotated[str, typer.Option("--section", metavar="ID", help="Section of it, whose outlines you have looked at.")],
    who: _Who,
    panel: Annotated[str, typer.Option("--panel", metavar="NAME", help="Panel, where the section has several.")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Take an acceptance back. Both stay in the journal.")] = False,
) -> None:
    """Accept a section's outlines as they are. accepted.jsonl keeps who did and when; contour_unreviewed goes with the next run."""
    from sevhisto.pipeline import accept as found_right

    entry = found_right(study, animal, section, panel, who=who, undo=undo)
    typer.echo(f"{entry}: {'no longer accepted' if undo else 'accepted'} by {entry.who}, {entry.when}.")
    typer.echo(f"Next: sevhisto run {study}   (no slide is read twice)")


def threshold(
    study: _Study,
    batch: Annotated[str, typer.Option("--batch", metavar="NAME", help="Stain batch, as the results call it.")],
    marker: Annotated[str, typer.Option("--marker", metavar="NAME", help="Marker.")],
    who: _Who,
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
    from sevhisto.types import Problem, StudyError

    if undo == (value is not None):
        raise StudyError(Problem("--value, --undo", "one of the two is needed", "give --value GREY, or --undo"))
    entry = set_threshold(study, panel, batch, marker, value, who=who, note=note)
    told = "left to the controls again" if entry.value is None else f"set to {entry.value:g}"
    typer.echo(f"{entry}: {told} by {entry.who}, {entry.when}.")
    typer.echo(f"Next: sevhisto run {study}   (no slide is read)")
