"""A napari window of one's own, with a study in it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from sevhisto.pipeline.reviewing import open_review
from sevhisto.types import Problem, SevhistoError

QTS = ("PyQt6", "PySide6", "PyQt5", "PySide2")


def open_window(study: Path | None = None) -> None:
    """Show the sections of a study, or a window in which one can be opened, until the window is closed.

    Raises
    ------
    SevhistoError
        The study cannot be reviewed, or napari or a Qt is not installed; no window opens.
    """
    if study is not None:
        open_review(study)
    if find_spec("napari") is None or not any(map(find_spec, QTS)):
        raise SevhistoError(Problem("napari", "the viewer, or a Qt for it, is not installed", "pip install 'sevhisto[all]'"))
    from napari import Viewer, run

    from sevhisto_napari.review import ReviewDock

    viewer = Viewer(title="sevhisto")
    viewer.window.add_dock_widget(ReviewDock(viewer, study), name="Review", area="right")
    run()
