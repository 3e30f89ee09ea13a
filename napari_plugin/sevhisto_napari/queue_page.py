"""The queue page: sections one after the other, the worst first, to be accepted or left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFormLayout,
    QGridLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from sevhisto.pipeline.reviewing import Review
from sevhisto.registry import EXCLUSION_REASONS, FLAGS, split_flags
from sevhisto_napari.record_layers import OUTLINES

COLUMNS = ("animal", "section", "panel", "verdict", "core_confidence", "state")
TITLES = ("animal", "section", "panel", "verdict", "sure", "you")
TIPS = {
    "verdict": "What the program advises: keep, review or exclude. Nothing is left out because of it.",
    "sure": "How sure the program is of its lesion outline, 0 to 1",
    "you": "What was decided: accepted, drawn or left out",
}
LEGEND = "Outlines: " + ", ".join(
    f'<font color="{colour}">{ {"core": "lesion", "masked": "left out"}.get(name, name) }</font>' for name, colour in OUTLINES.items()
)


class QueuePage(QWidget):  # type: ignore[misc]
    """The table of sections, what there is to know of one, and the buttons.

    Signals: `chosen` with the row that was clicked, `step` with 1 or -1, `accept` and `leave_out` of the row shown.
    """

    chosen = Signal(int)
    step = Signal(int)
    accept = Signal()
    leave_out = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.table = QTableWidget(0, len(COLUMNS))
        self.table.setHorizontalHeaderLabels(TITLES)
        for k, title in enumerate(TITLES):
            self.table.horizontalHeaderItem(k).setToolTip(TIPS.get(title, ""))
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.table.verticalHeader().hide()
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setMinimumHeight(110)
        self.table.currentCellChanged.connect(lambda row, *_: self.chosen.emit(row))
        self.details = QLabel()
        self.details.setWordWrap(True)
        self.details.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.details.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.buttons = {
            "back": _button("Previous (P)", lambda: self.step.emit(-1)),
            "forth": _button("Next (N)", lambda: self.step.emit(1)),
            "accept": _button("Accept outline (A)", self.accept.emit),
            "leave_out": _button("Leave out (X)", self.leave_out.emit),
        }
        self.reason, self.note = QComboBox(), QLineEdit()
        for code, meaning in EXCLUSION_REASONS.items():
            self.reason.addItem(code)
            self.reason.setItemData(self.reason.count() - 1, meaning, Qt.ItemDataRole.ToolTipRole)
        self.reason.setCurrentText("tissue_damaged")
        self.note.setPlaceholderText("needed for reason other")
        self._lay_out()

    def _lay_out(self) -> None:
        grid = QGridLayout()
        for k, button in enumerate(self.buttons.values()):
            grid.addWidget(button, k // 2, k % 2)
        form = QFormLayout()
        form.addRow("reason to leave out", self.reason)
        form.addRow("note", self.note)
        layout = QVBoxLayout(self)
        layout.addWidget(self.table, 2)
        layout.addLayout(grid)
        layout.addLayout(form)
        layout.addWidget(self.details, 1)
        layout.addWidget(QLabel(LEGEND))

    def fill(self, review: Review, states: Sequence[str]) -> None:
        """Show a queue, and what was decided on each of its sections."""
        self.table.blockSignals(True)
        self.table.setRowCount(len(review.queue))
        self.table.setColumnHidden(COLUMNS.index("panel"), review.queue["panel"].nunique() == 1)
        for i, row in enumerate(review.queue.to_dict("records")):
            for k, name in enumerate(COLUMNS[:-1]):
                self.table.setItem(i, k, QTableWidgetItem(_shown(row[name])))
            self.table.setItem(i, len(COLUMNS) - 1, QTableWidgetItem(states[i]))
        self.table.blockSignals(False)

    def mark(self, states: Sequence[str]) -> None:
        """Show what is decided now."""
        for i, state in enumerate(states):
            self.table.item(i, len(COLUMNS) - 1).setText(state)

    def select(self, i: int) -> None:
        """Select a row without telling that it was clicked."""
        self.table.blockSignals(True)
        self.table.setCurrentCell(i, 0)
        self.table.scrollToItem(self.table.item(i, 0))
        self.table.blockSignals(False)

    def tell(self, row: Any) -> None:
        """Show what there is to know of a section, a row of the queue."""
        self.details.setText(told(row))


def _button(text: str, do: Callable[[], None]) -> QPushButton:
    button = QPushButton(text)
    button.clicked.connect(lambda _=False: do())
    return button


def _shown(value: object) -> str:
    return value if isinstance(value, str) else "" if value != value else f"{value:.2f}"


def told(row: Any) -> str:
    """Return what there is to know of a section, in words."""
    facts = dict(row.items())
    lines = [f"{facts['position_um']:.0f} µm along the cord, batch {facts['batch']}; {facts['influence_pct']:.0f} % of the animal's core"]
    if facts["reasons"]:
        lines.append(str(facts["reasons"]))
    lines += [f"{flag}: {FLAGS[flag].meaning}" for flag in sorted(split_flags(str(facts["flags"]))) if flag in FLAGS]
    return "\n".join(lines)
