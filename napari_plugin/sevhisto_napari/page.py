"""What every page of the review dock is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtWidgets import QWidget


class Page(QWidget):  # type: ignore[misc]
    """A page of the review dock.

    Parameters
    ----------
    viewer : the window
    say : tells the user something
    who : gives the name of the person
    decided : is called when something was saved that the next run applies
    """

    def __init__(self, viewer: Any, say: Callable[[str], None], who: Callable[[], str], decided: Callable[[], None]) -> None:
        super().__init__()
        self.viewer, self.say, self.who, self.decided = viewer, say, who, decided
