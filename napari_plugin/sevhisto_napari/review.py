"""The review dock: sections of a study one after the other, the worst first, under coded ids."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from sevhisto.pipeline import exclude
from sevhisto.pipeline.reviewing import Review, open_review
from sevhisto.registry import EXCLUSION_REASONS, FLAGS, split_flags
from sevhisto.types import SevhistoError
from sevhisto_napari.session import session_of
from sevhisto_napari.stage import put_layers, section_layers

if TYPE_CHECKING:
    import napari

COLUMNS = ("animal", "section", "panel", "verdict", "core_confidence")
TITLES = ("animal", "section", "panel", "verdict", "sure")


class ReviewDock(QWidget):  # type: ignore[misc]
    """Shows a study's sections, the worst first; N and P go on and back.

    Parameters
    ----------
    napari_viewer : the window; napari gives it
    study : folder to open at once
    """

    def __init__(self, napari_viewer: napari.Viewer, study: Path | None = None) -> None:
        super().__init__()
        self._viewer, self._review, self._contrast = napari_viewer, None, {}
        self._build()
        napari_viewer.bind_key("n", lambda _: self.step(1), overwrite=True)
        napari_viewer.bind_key("p", lambda _: self.step(-1), overwrite=True)
        if study is not None:
            self.open(study)

    _review: Review | None
    _contrast: dict[tuple[str, str], dict[str, tuple[float, float]]]

    def _build(self) -> None:
        self.open_button = QPushButton("Open study ...")
        self.open_button.clicked.connect(self._ask_for_study)
        self.message = QLabel("Open the folder of a study that `sevhisto run` has measured.")
        self.table = QTableWidget(0, len(COLUMNS))
        self.table.setHorizontalHeaderLabels(TITLES)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.table.verticalHeader().hide()
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.currentCellChanged.connect(lambda row, *_: self.show_section(row))
        self.back, self.forth = QPushButton("Previous (P)"), QPushButton("Next (N)")
        self.back.clicked.connect(lambda: self.step(-1))
        self.forth.clicked.connect(lambda: self.step(1))
        self.details = QLabel()
        for label in (self.message, self.details):
            label.setWordWrap(True)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        row = QHBoxLayout()
        row.addWidget(self.back)
        row.addWidget(self.forth)
        layout = QVBoxLayout(self)
        for part in (self.open_button, self.message, self.table):
            layout.addWidget(part)
        layout.addLayout(row)
        layout.addWidget(self.details)
        layout.addWidget(self._exclusion_form())

    def _exclusion_form(self) -> QWidget:
        box = QWidget()
        form = QFormLayout(box)
        form.setContentsMargins(0, 0, 0, 0)
        self.reason = QComboBox()
        for code, meaning in EXCLUSION_REASONS.items():
            self.reason.addItem(code)
            self.reason.setItemData(self.reason.count() - 1, meaning, Qt.ItemDataRole.ToolTipRole)
        self.who, self.note = QLineEdit(), QLineEdit()
        self.who.setPlaceholderText("your name")
        self.leave_out = QPushButton("Leave this section out")
        self.leave_out.clicked.connect(self._exclude)
        form.addRow("reason", self.reason)
        form.addRow("who", self.who)
        form.addRow("note", self.note)
        form.addRow(self.leave_out)
        return box

    def _ask_for_study(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder that holds study.toml")
        if folder:
            self.open(Path(folder))

    def open(self, study: Path) -> None:
        """Show the sections of a study; what is wrong with it is told in the dock."""
        try:
            review = open_review(study)
        except SevhistoError as error:
            self.say(str(error))
            return
        self._review, self._contrast = review, {}
        session_of(self._viewer).open(study)
        self.table.blockSignals(True)
        self.table.setRowCount(len(review.queue))
        for i, row in enumerate(review.queue.to_dict("records")):
            for k, name in enumerate(COLUMNS):
                value = row[name]
                text = value if isinstance(value, str) else "" if value != value else f"{value:.2f}"
                self.table.setItem(i, k, QTableWidgetItem(text))
        self.table.setCurrentCell(0, 0)
        self.table.blockSignals(False)
        self.say(f"{review.config.study.name}: {len(review.queue)} sections, the worst first.")
        self.show_section(0)

    def say(self, text: str) -> None:
        """Tell the user something, in the dock."""
        self.message.setText(text)

    def step(self, by: int) -> None:
        """Go to the next (1) or the previous (-1) section; the first and the last stay where they are."""
        row = self.table.currentRow() + by
        if 0 <= row < self.table.rowCount():
            self.table.setCurrentCell(row, 0)

    def show_section(self, i: int) -> None:
        """Show the section in row i of the queue."""
        review = self._review
        if review is None or not 0 <= i < len(review.queue):
            return
        row = review.queue.iloc[i]
        batch = (str(row["panel"]), str(row["batch"]))
        try:
            record = review.record(i)
            contrast = self._contrast.setdefault(batch, {}) or review.contrast(i)
        except SevhistoError as error:
            self.details.setText(str(error))
            return
        self._contrast[batch] = contrast
        put_layers(self._viewer, section_layers(review, i, record, contrast))
        self._viewer.scale_bar.visible = True
        self._viewer.reset_view()
        self.details.setText(_told(row))

    def _exclude(self) -> None:
        review, i = self._review, self.table.currentRow()
        if review is None or i < 0:
            return
        row = review.queue.iloc[i]
        try:
            entry = exclude(
                review.root,
                str(row["animal"]),
                str(row["section"]),
                str(row["panel"]),
                who=self.who.text(),
                reason=self.reason.currentText(),
                note=self.note.text(),
            )
        except SevhistoError as error:
            self.say(str(error))
            return
        self.table.item(i, COLUMNS.index("verdict")).setText("left out")
        self.say(f"{entry}: left out ({entry.reason}) by {entry.who}. `sevhisto run` applies it; no slide is read again.")


def _told(row: object) -> str:
    """Return what there is to know of a section, in words."""
    facts = dict(row.items())  # type: ignore[attr-defined]
    lines = [f"{facts['position_um']:.0f} µm along the cord, batch {facts['batch']}; {facts['influence_pct']:.0f} % of the animal's core"]
    if facts["reasons"]:
        lines.append(str(facts["reasons"]))
    lines += [f"{flag}: {FLAGS[flag].meaning}" for flag in sorted(split_flags(str(facts["flags"]))) if flag in FLAGS]
    return "\n".join(lines)
