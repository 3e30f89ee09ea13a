"""`sevhisto report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from sevhisto.commands.options import Jobs, Memory, StudyFolder, processes
from sevhisto.commands.progress import progress_bars
from sevhisto.commands.voice import SOME_FAILED, found, listed, next_step, say, typed
from sevhisto.types import Problem, StudyError

EXAMPLES = (
    "sevhisto report my_study",
    "sevhisto report my_study --no-pictures",
    "sevhisto report my_study --slides",
    "sevhisto report my_study --slides --slides-um-per-px 0",
)


def report(
    study: StudyFolder,
    pictures: Annotated[bool, typer.Option(help="Show every section; without, the file is small.")] = True,
    slides: Annotated[
        bool, typer.Option("--slides", help="Also write results/slides/: every section to zoom into in a browser, with its outlines.")
    ] = False,
    slides_um_per_px: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            "--slides-um-per-px",
            metavar="UM",
            min=0,
            help="With --slides: pixels of the pictures are no larger than this, 1 if not given. 0: as fine as the slides, "
            "at 0.5 um up to five times the size.",
        ),
    ] = None,
    jobs: Jobs = None,
    memory: Memory = None,
) -> None:
    """Write results/report.html: one file, offline, with overlays of every section."""
    from sevhisto.pipeline import report as write

    if slides_um_per_px is not None and not slides:
        raise StudyError(Problem("--slides-um-per-px", "is for the slide viewer", "add --slides"))
    n = processes(jobs, memory)
    failures = _slides(study, slides_um_per_px, n) if slides else ()
    path = write(study, n, pictures)
    say(f"Wrote {path}")
    found(report=path)
    next_step(f"open {path} in a browser; for Prism, R or QuPath: sevhisto export {typed(study)} --to FORMAT")
    if failures:
        raise typer.Exit(SOME_FAILED)


def _slides(study: Path, finest_um: float | None, jobs: int) -> tuple[str, ...]:
    """Make the slide viewer, say so, and return which sections have no picture, and why."""
    from sevhisto.pipeline import slides as write

    with progress_bars(jobs) as progress:
        done = write(study, jobs, finest_um, progress)
    say(f"Wrote {done.index}: {done.shown} sections ({done.new} new), {done.n_bytes / 1e6:.0f} MB. {done.resolution}")
    listed(done.failures, "no picture", str(done.index))
    facts = {"index": done.index, "sections": done.shown, "new": done.new, "bytes": done.n_bytes, "no_picture": list(done.failures)}
    found(slides=facts | {"seconds": round(done.seconds, 1)})
    next_step(f"open {done.index} in a browser; to pass it on, copy the whole folder {done.index.parent} or put it on a web server")
    return done.failures
