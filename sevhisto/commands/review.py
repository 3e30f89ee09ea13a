"""`sevhisto review`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def review(study: Annotated[Path, typer.Argument(metavar="STUDY", help="Folder that holds study.toml, after `sevhisto run`.")]) -> None:
    """Look at the sections one after the other in napari, the worst first. N and P go on and back."""
    from sevhisto_napari.window import open_window

    open_window(study)
