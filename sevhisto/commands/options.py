"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from sevhisto.commands.voice import voice

StudyFolder = Annotated[Path, typer.Argument(metavar="STUDY", help="Folder that holds study.toml.")]
AnimalId = Annotated[str, typer.Option("--animal", metavar="ID", help="Animal, as the results call it: by code until the key is opened.")]
Person = Annotated[str, typer.Option("--who", metavar="NAME", help="Person who decides.")]
Jobs = Annotated[Optional[int], typer.Option("--jobs", "-j", min=1, help="Processes; one per core if not given.")]  # noqa: UP045
Memory = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option("--memory", metavar="GB", min=0, help="Memory to use in all; what is free now if not given. Fewer processes use less."),
]


def processes(jobs: int | None, memory_gb: float | None) -> int:
    """Return how many processes to use, and say so where the memory allows fewer than asked for."""
    from sevhisto.engine import WORKER_MB, available_mb, default_jobs, jobs_for

    wanted = jobs or default_jobs()
    if memory_gb is not None:
        fit, why = jobs_for(wanted, 1024 * memory_gb), f"--memory {memory_gb:g}"
    else:
        free = available_mb()
        if free is None:
            return wanted
        fit, why = jobs_for(wanted, max(free, WORKER_MB)), f"{free / 1024:.1f} GB of memory free now"
    if fit < wanted and not voice.quiet:
        typer.echo(f"{fit} of {wanted} processes fit: {why}, and one needs up to {WORKER_MB} MB.", err=True)
    return fit
