"""A study's folder, or the record of one of its sections, dropped on the window or opened by File > Open. No Qt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sevhisto.io.records import is_record, load_record
from sevhisto.pipeline.reviewing import display_range, open_review
from sevhisto.tallies import Tallies
from sevhisto_napari.layers import LayerData
from sevhisto_napari.record_layers import channel_layers, fault_layer, outline_layers
from sevhisto_napari.stage import real, section_layers

REVIEW = "Review a study"
NO_LAYERS: list[Any] = [(None,)]
"""What napari takes for: read, and nothing to add."""


def napari_get_reader(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], list[LayerData]] | None:
    """Return a function that opens a study's folder or a record, or None where the path is neither."""
    if not isinstance(path, str):
        return None
    if (Path(path) / "study.toml").is_file():
        return read_study
    return read_record if is_record(Path(path)) else None


def read_study(path: str | Sequence[str]) -> list[LayerData]:
    """Open the review of a study in the window; without a window, return the layers of the section to look at first.

    SevhistoError where the study cannot be reviewed.
    """
    root = Path(str(path))
    review = open_review(root)
    dock = _dock()
    if dock is None:
        return section_layers(review, 0, review.record(0), review.contrast(0))
    dock.open(root)
    return NO_LAYERS


def read_record(path: str | Sequence[str]) -> list[LayerData]:
    """Open a record: in the review of its study where that is around it, else as layers. SevhistoError where it is damaged."""
    file = Path(str(path)).resolve()
    record = load_record(file)
    root = file.parents[2] if len(file.parents) > 2 else file.parent
    if file.parent.name == "records" and (root / "study.toml").is_file():
        dock = _dock()
        if dock is not None:
            dock.open_at(root, file.name)
            return NO_LAYERS
    contrast = display_range([Tallies.of(record)])
    return [*channel_layers(record, contrast), fault_layer(record), *outline_layers(record, ())]


def _dock() -> Any:
    """Return the review dock of the window in use, opened where it is not there yet; None without a window."""
    import napari

    viewer = real(napari.current_viewer())
    if viewer is None:
        return None
    _, dock = viewer.window.add_plugin_dock_widget("sevhisto", REVIEW)
    return dock
