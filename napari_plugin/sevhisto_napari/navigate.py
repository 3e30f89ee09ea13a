"""From any dock to a section in the review dock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sevhisto_napari.review import ReviewDock
from sevhisto_napari.session import session_of

if TYPE_CHECKING:
    import napari


def open_review_dock(viewer: napari.Viewer) -> None:
    """Open the review dock where the window has none."""
    if not any(isinstance(dock, ReviewDock) for dock in viewer.window.dock_widgets.values()):
        viewer.window.add_dock_widget(ReviewDock(viewer), name="Review a study", area="right", tabify=True)


def show_in_review(viewer: napari.Viewer, place: tuple[str, str, str]) -> None:
    """Show a section, by animal, section and panel, in the review dock."""
    open_review_dock(viewer)
    session_of(viewer).section_wanted.emit(*place)
