"""`sevhisto paper`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def paper(study: Annotated[Path, typer.Argument(metavar="STUDY", help="Folder that holds study.toml, after `sevhisto run`.")]) -> None:
    """Write results/paper/: methods and results as text, checklists, every plot at journal widths (SVG, PDF, CSV), plates of sections."""
    from sevhisto.pipeline import paper as write

    written = write(study)
    typer.echo(f"Wrote {len(written)} files to {written[0].parent}." if written else "There is nothing to draw yet.")
