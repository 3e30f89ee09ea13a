"""`sevhisto report`."""

from __future__ import annotations

from typing import Annotated

import typer

from sevhisto.commands.options import Jobs, Memory, StudyFolder, processes
from sevhisto.commands.voice import found, next_step, say, typed

EXAMPLES = ("sevhisto report my_study", "sevhisto report my_study --no-pictures")


def report(
    study: StudyFolder,
    pictures: Annotated[bool, typer.Option(help="Show every section; without, the file is small.")] = True,
    jobs: Jobs = None,
    memory: Memory = None,
) -> None:
    """Write results/report.html: one file, offline, with overlays of every section."""
    from sevhisto.pipeline import report as write

    path = write(study, processes(jobs, memory), pictures)
    say(f"Wrote {path}")
    found(report=path)
    next_step(f"open {path} in a browser; for Prism, R or QuPath: sevhisto export {typed(study)} --to FORMAT")
