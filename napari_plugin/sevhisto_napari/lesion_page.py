"""The lesion page: draw, reshape, add, subtract, leave out an area; a change is saved at once, and can be undone after a restart too."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QGridLayout, QHBoxLayout, QLabel, QPushButton, QVBoxLayout

from sevhisto.io.annotations import Outline
from sevhisto.pipeline.editing import Editing, for_polygons, open_editing, program_outline
from sevhisto.pipeline.reviewing import Review
from sevhisto.registry import EXCLUSION_REASONS
from sevhisto.types import SevhistoError, Shown
from sevhisto_napari.drawing import DrawnLayer
from sevhisto_napari.page import Page

LASSO, CORNERS = "add_polygon_lasso", "add_polygon"
HELP = {
    "draw": "Draw the lesion anew, with the mouse held down; what was drawn before goes",
    "add": "Draw an area that belongs to the lesion too",
    "subtract": "Draw an area that does not belong to the lesion",
    "reshape": "Move the corners of an outline; what the program drew can be taken over so",
    "area": "Draw an area to be left out, for the reason chosen below",
    "delete": "Click an outline, then press the key Delete or this button again",
}
LINE = "hold the left mouse button and draw around it. It is saved when you let go."
HINTS = {
    "draw": f"The lesion: {LINE} The old outline counts until then.",
    "add": f"What belongs to the lesion too: {LINE}",
    "subtract": f"What does not belong to the lesion: {LINE}",
    "area": f"An area to leave out: {LINE}",
    "reshape": "Click the outline, then drag its corners. Keys 2 and 1 add corners and take them away, 4 moves corners.",
    "delete": "Click an outline, then press Delete outline once more.",
}
WORDS = {"added": "drawn", "changed": "reshaped", "removed": "deleted"}
UNTOUCHED = "Nothing is drawn here: the program's outline counts."


class LesionPage(Page):
    """Changes what is drawn on the section shown; what is drawn is saved at once as a correction of its slide."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.drawn = DrawnLayer(self.viewer, self._autosave)
        self.editing: Editing | None = None
        self._kept: list[Outline] = []
        self._record: Shown | None = None
        self.buttons = {name: QPushButton(text) for name, text in _TEXTS.items()}
        for name, button in self.buttons.items():
            button.setToolTip(HELP.get(name, ""))
            button.clicked.connect(lambda _=False, what=name: self.do(what))
        self.reason = QComboBox()
        for code, meaning in EXCLUSION_REASONS.items():
            if code != "other":  # an area's reason stands in its name
                self.reason.addItem(code)
                self.reason.setItemData(self.reason.count() - 1, meaning, Qt.ItemDataRole.ToolTipRole)
        self.reason.setCurrentText("tissue_damaged")
        self.reason.currentTextChanged.connect(self._take_reason)
        self.state = QLabel(UNTOUCHED)
        self.state.setWordWrap(True)
        self._lay_out()

    _mode = ""
    """What is being drawn; empty where nothing is."""
    unsaved = False
    """Whether something is drawn that could not be saved."""

    def _take_reason(self, _: str) -> None:
        if self._mode == "area":
            self.do("area")

    def _lay_out(self) -> None:
        grid = QGridLayout()
        for k, name in enumerate(("draw", "add", "subtract", "reshape", "area", "delete")):
            grid.addWidget(self.buttons[name], k // 2, k % 2)
        row = QHBoxLayout()
        row.addWidget(QLabel("reason of an area"))
        row.addWidget(self.reason, 1)
        back = QHBoxLayout()
        for name in ("undo", "redo", "save"):
            back.addWidget(self.buttons[name])
        layout = QVBoxLayout(self)
        layout.addLayout(grid)
        layout.addLayout(row)
        layout.addLayout(back)
        layout.addWidget(self.state)
        layout.addStretch(1)
        self._keep_unsaved(False)

    def show_section(self, review: Review, i: int, record: Shown) -> None:
        """Take the section that is shown now, and show what is drawn on it."""
        self.finish()
        self._record, self.editing = record, None
        try:
            self.editing = open_editing(review.study, review.key, *review.place(i), record)
        except SevhistoError as error:
            self.drawn.show([], 1.0)
            self.state.setText(str(error))
        else:
            self._show()
        self._enable()

    @property
    def um_per_px(self) -> float:
        """Pixel size of the section's slide in um."""
        return 1.0 if self._record is None else float(self._record.meta["um_per_px"])

    def finish(self) -> None:
        """Save what is not saved yet, before another section comes; it stays on the screen where that is not possible."""
        self._mode = ""
        self.drawn.rest()

    def _show(self) -> None:
        if self.editing is None:
            return
        polygons, self._kept = for_polygons(self.editing.outlines)
        self.drawn.show(polygons, self.um_per_px)
        self._tell("")

    def _tell(self, done: str) -> None:
        if self.editing is None:
            return
        n = len(self.editing.outlines)
        there = UNTOUCHED if not n else f"{n} outline{'s' * (n > 1)} drawn on this section, saved in corrections/."
        self.state.setText(f"{done} {there}".strip())
        self._keep_unsaved(False)

    def _keep_unsaved(self, unsaved: bool) -> None:
        self.unsaved = unsaved
        self.buttons["save"].setVisible(unsaved)

    def _enable(self) -> None:
        for button in self.buttons.values():
            button.setEnabled(self.editing is not None)
        if self.editing is not None:
            self.buttons["undo"].setEnabled(self.editing.can_undo)
            self.buttons["redo"].setEnabled(self.editing.can_redo)

    def do(self, what: str) -> None:
        """Do what a button says: draw, add, subtract, reshape, area, delete, undo, redo or save."""
        if self.editing is None or self._record is None:
            return
        if what in ("undo", "redo"):
            self._step(what)
        elif what == "save":
            self._autosave("changed")
        elif what == "delete" and self.drawn.layer is not None and len(self.drawn.layer.selected_data):
            self.drawn.delete_selected()
        else:
            self._start(what)

    def _start(self, what: str) -> None:
        self._mode = what
        has_lesion = any(o.kind == "lesion" for o in self.drawn.outlines())
        if what == "draw" and has_lesion:
            others = [o for o in self.drawn.outlines() if o.kind not in ("lesion", "not_lesion")]
            self.drawn.show(others, self.um_per_px)
        elif what in ("add", "subtract", "reshape") and not has_lesion and self._record is not None:
            self.drawn.show([*program_outline(self._record), *self.drawn.outlines()], self.um_per_px)
        names = {"draw": "lesion", "add": "lesion", "subtract": "not lesion", "area": f"exclude: {self.reason.currentText()}"}
        modes = {"reshape": "direct", "delete": "select"}
        self.state.setText(HINTS[what])
        self.drawn.begin(names.get(what, ""), modes.get(what, LASSO), self.um_per_px)

    def _step(self, what: str) -> None:
        assert self.editing is not None
        try:
            (self.editing.undo if what == "undo" else self.editing.redo)(self.who())
        except SevhistoError as error:
            self.say(str(error))
        self._show()
        self._enable()
        self.decided()

    def _autosave(self, action: str) -> None:
        """Save what the layer holds now; where that fails it stays in the layer, and a button to try again comes up."""
        if self.editing is None:
            return
        word = {"area": "left out"}.get(self._mode, WORDS[action]) if action == "added" else WORDS[action]
        try:
            self.editing.save([*self.drawn.outlines(), *self._kept], word, self.who())
        except SevhistoError as error:
            self.say(f"Not saved; your drawing stays here until it is. {error}")
            self.state.setText("NOT SAVED. Make room, then press Save.")
            self._keep_unsaved(True)
        else:
            self._tell(f"Saved ({word}). Press Apply to measure this section again.")
            self.decided()
        self._enable()


_TEXTS = {
    "draw": "Draw lesion",
    "reshape": "Reshape",
    "add": "Add to lesion",
    "subtract": "Subtract",
    "area": "Leave out an area",
    "delete": "Delete outline",
    "undo": "Undo",
    "redo": "Redo",
    "save": "Save",
}
