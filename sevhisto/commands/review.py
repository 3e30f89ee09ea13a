"""`sevhisto review`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

EXAMPLES = ("sevhisto review my_study",)


def review(
    study: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Argument(metavar="[STUDY]", help="Folder that holds study.toml, after `sevhisto run`; without one, choose it in the window."),
    ] = None,
) -> None:
    """Look at the sections one after the other in napari, the worst first: accept, redraw, leave out, move thresholds."""
    from sevhisto_napari.window import open_window

    open_window(study)
