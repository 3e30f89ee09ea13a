"""The study that a window works on, known to all of its docks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from qtpy.QtCore import QObject, Signal

if TYPE_CHECKING:
    import napari

_SESSIONS: WeakKeyDictionary[Any, Session] = WeakKeyDictionary()


class Session(QObject):  # type: ignore[misc]
    """Tells every dock of a window when a study was opened, its results are new, or another section is shown.

    Attributes
    ----------
    root : folder of the study; None before one is opened
    place : animal, section and panel of the section shown, as the results call them; None before one is shown
    """

    opened = Signal()
    results_changed = Signal()
    section_shown = Signal()
    section_wanted = Signal(str, str, str)

    def __init__(self) -> None:
        super().__init__()
        self.root: Path | None = None
        self.place: tuple[str, str, str] | None = None

    def open(self, root: Path) -> None:
        """Make this the study of the window."""
        if root != self.root:
            self.root, self.place = root, None
            self.opened.emit()

    def tell_shown(self, animal: str, section: str, panel: str) -> None:
        """Tell that this section is shown now."""
        self.place = animal, section, panel
        self.section_shown.emit()


def session_of(viewer: napari.Viewer) -> Session:
    """Return the session of a window; docks get the viewer itself or napari's guarded copy of it."""
    return _SESSIONS.setdefault(getattr(viewer, "__wrapped__", viewer), Session())
