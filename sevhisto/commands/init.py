"""`sevhisto init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sevhisto.commands.voice import next_step, say, typed

EXAMPLES = ("sevhisto init my_study/slides",)


def init(slides: Annotated[Path, typer.Argument(metavar="SLIDES", help="Folder of image files.")]) -> None:
    """Draft study.toml, slides.csv, animals.csv and motor.csv from file names and metadata. No image is moved or changed."""
    from sevhisto.io.draft import draft_study, study_folder

    for line in draft_study(slides):
        say(line)
    next_step(f"fill in what is a ? in these files (a text editor; Excel for the .csv), then: sevhisto check {typed(study_folder(slides))}")
