"""A figure of what the viewer shows, saved with the stamps that every result of its study carries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sevhisto.io.files import write_bytes_atomic
from sevhisto.io.study import load_study
from sevhisto.pipeline.running import current_stamp
from sevhisto.report.canvas import stamp_figures
from sevhisto.report.view_figure import SUFFIXES, View, figure_bytes, view_figure
from sevhisto.types import Problem, SevhistoError


def save_view(
    view: View, paths: Sequence[Path], root: Path | None = None, *, width_mm: float = 85.0, inset: View | None = None, bar: bool = True
) -> None:
    """Write a view as PNG or SVG, as the ending of each path says; further arguments as of `report.view_figure.view_figure`.

    Parameters
    ----------
    root : folder of the study that is shown, if it is one

    Raises
    ------
    SevhistoError
        Another ending, or a file that cannot be written.
    """
    for path in paths:
        if path.suffix.lower() not in SUFFIXES:
            raise SevhistoError(Problem(str(path), f"{path.suffix or 'no ending'} is no kind of figure", f"use {' or '.join(SUFFIXES)}"))
    with stamp_figures(_stamp(root)):
        figure = view_figure(view, width_mm, inset, bar)
    for path in paths:
        write_bytes_atomic(path, figure_bytes(figure, path))


def _stamp(root: Path | None) -> set[str]:
    study = None if root is None else load_study(root)
    if study is None or not (study.results_dir / "run.json").is_file():
        return set()
    return current_stamp(study)
