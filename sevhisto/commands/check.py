"""`sevhisto check`."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from sevhisto.commands.options import StudyFolder
from sevhisto.commands.progress import progress_bars
from sevhisto.types import SevhistoError


def check(
    study: StudyFolder,
    sums: Annotated[bool, typer.Option("--sums", help="Read every image whole: note its checksum, and name those that changed.")] = False,
    accept: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--accept", metavar="FILE", help="An image that was replaced on purpose, as slides.csv names it."),
    ] = None,
) -> None:
    """Say everything that is wrong with a study, before a pixel is read."""
    from sevhisto.pipeline import check as look

    with progress_bars() as progress:
        problems, notes = look(study, sums, accept or (), progress)
    for note in notes:
        typer.echo(f"note: {note}")
    if problems:
        raise SevhistoError(problems)
    typer.echo(f"No problem found. Next: sevhisto run {study}")
