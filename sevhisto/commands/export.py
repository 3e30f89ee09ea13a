"""`sevhisto export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from sevhisto.commands.options import Jobs, Memory, StudyFolder, processes
from sevhisto.commands.progress import progress_bars
from sevhisto.commands.voice import SOME_FAILED, found, next_step, note, say
from sevhisto.export.names import FORMATS

EXAMPLES = (
    "sevhisto export my_study --to prism --to r",
    "sevhisto export my_study --to qupath --out to_anna",
    "sevhisto export my_study --to all",
)


def _choices(start: str) -> list[str]:
    return [name for name in (*FORMATS, "all") if name.startswith(start)]


def export(
    study: StudyFolder,
    to: Annotated[
        list[str],
        typer.Option(
            "--to",
            metavar="FORMAT",
            autocompletion=_choices,
            help=f"One of {', '.join(FORMATS)}, or all that can be made; may be repeated.",
        ),
    ],
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", metavar="DIR", help="Where the folders of the formats lie; results/export if not given."),
    ] = None,
    jobs: Jobs = None,
    memory: Memory = None,
) -> None:
    """Write the results for other programs, a folder per format. Animals, groups and files are codes until `compare --unblind`."""
    from sevhisto.pipeline import export as write

    n = processes(jobs, memory)
    with progress_bars(n) as progress:
        done = write(study, to, out, n, progress)
    for text in done.notes:
        note(text)
    for name, folder in done.folders.items():
        say(f"Wrote {folder}. {FORMATS.get(name, '')}".rstrip())
    for problem in done.left_out:
        say(f"Not made: {problem}")
    left_out = [{"where": p.where, "what": p.what, "remedy": p.remedy} for p in done.left_out]
    found(folders=done.folders, blinded=done.blinded, left_out=left_out)
    closed = "; names come with `sevhisto compare --unblind`, and then export again" if done.blinded else ""
    next_step(f"about.txt in each folder says what it holds{closed}")
    if done.left_out:
        raise typer.Exit(SOME_FAILED)
