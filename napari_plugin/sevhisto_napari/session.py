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
    """Tells every dock of a window when a study was opened or its results are new.

    Attributes
    ----------
    root : folder of the study; None before one is opened
    """

    opened = Signal()
    results_changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.root: Path | None = None

    def open(self, root: Path) -> None:
        """Make this the study of the window."""
        if root != self.root:
            self.root = root
            self.opened.emit()


def session_of(viewer: napari.Viewer) -> Session:
    """Return the session of a window; docks get the viewer itself or napari's guarded copy of it."""
    return _SESSIONS.setdefault(getattr(viewer, "__wrapped__", viewer), Session())
