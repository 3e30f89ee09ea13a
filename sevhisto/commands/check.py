"""`sevhisto check`."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from sevhisto.commands.options import StudyFolder
from sevhisto.commands.progress import progress_bars
from sevhisto.commands.voice import next_step, note, say, typed
from sevhisto.types import SevhistoError

EXAMPLES = ("sevhisto check my_study", "sevhisto check my_study --sums", "sevhisto check my_study --accept R12_s3.tif")


def check(
    study: StudyFolder,
    sums: Annotated[
        bool,
        typer.Option(
            "--sums", help="Read every image whole: note its checksum, and name those that changed, or differ from lists beside them."
        ),
    ] = False,
    accept: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--accept", metavar="FILE", help="An image that was replaced on purpose, as slides.csv names it."),
    ] = None,
) -> None:
    """Say everything that is wrong with a study, before a pixel is read."""
    from sevhisto.pipeline import check as look

    with progress_bars() as progress:
        problems, notes = look(study, sums, accept or (), progress)
    for text in notes:
        note(text)
    if problems:
        raise SevhistoError(problems)
    say("No problem found.")
    next_step(f"sevhisto run {typed(study)}")
