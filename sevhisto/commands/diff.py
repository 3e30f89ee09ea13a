"""`sevhisto diff`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from sevhisto.commands.voice import answer, found, next_step, say, typed

EXAMPLES = ("sevhisto diff results_before my_study", "sevhisto diff results_before my_study --csv why.csv")


def diff(
    run_a: Annotated[Path, typer.Argument(metavar="RUN_A", help="Study folder, or a copy of its results folder: before.")],
    run_b: Annotated[Path, typer.Argument(metavar="RUN_B", help="The same: after.")],
    csv: Annotated[Optional[Path], typer.Option("--csv", metavar="FILE", help="Write every value that differs, with its cause.")] = None,  # noqa: UP045
) -> None:
    """Say why numbers changed between two runs: which input, setting, version, exclusion, outline or threshold moved what."""
    from sevhisto.pipeline import diff as find
    from sevhisto.report.differences import difference_lines

    changes = find(run_a, run_b, csv)
    for line in difference_lines(changes):
        answer(line)
    if csv is not None:
        say(f"Wrote {len(changes)} rows to {csv}.")
    elif len(changes):
        next_step(f"every value with its cause: sevhisto diff {typed(run_a)} {typed(run_b)} --csv FILE")
    found(differences=len(changes), csv=csv)
