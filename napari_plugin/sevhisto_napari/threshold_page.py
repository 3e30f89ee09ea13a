"""The threshold page: a slider that moves positive area and numbers, and saves a threshold for the batch."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPushButton,
    QSlider,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
)

from sevhisto.pipeline import set_threshold
from sevhisto.pipeline.live import LiveBatch, edge_of, live_batch, set_by_hand, steps
from sevhisto.pipeline.reviewing import Review
from sevhisto.types import INTENSITY_EDGES, IntArray, SevhistoError, Shown, snap_threshold
from sevhisto_napari.distribution import Distribution
from sevhisto_napari.page import Page
from sevhisto_napari.stage import PositiveArea

TITLES = ("mm²", "section %", "animal %")
LOOK_MS = 30
_READER = ThreadPoolExecutor(1, "sevhisto-tallies")
MARGIN = 20
"""Steps of the slider beyond the thresholds of now."""
BEGIN_WITH = ("ecm", "macrophage", "vessel", "tracer", "myelin")
"""Roles of the marker that is shown first."""
RUNG_WORDS = {
    "no_primary": "no_primary controls",
    "unstained": "unstained controls",
    "uninjured": "uninjured controls",
    "batch": "all samples (no control)",
}


class ThresholdPage(Page):
    """Moves the threshold of one marker for the panel and batch of the section shown."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._batch: LiveBatch | None = None
        self._review: Review | None = None
        self._shown: tuple[int, Shown] | None = None
        self._area: PositiveArea | None = None
        self._first, self._last = steps()
        self._loading: Future[LiveBatch] | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_MS)
        self._timer.timeout.connect(self._look_for_batch)
        self.marker = QComboBox()
        self.marker.currentTextChanged.connect(lambda _: self._take_marker())
        self.plot, self.slider, self.value = Distribution(), QSlider(Qt.Orientation.Horizontal), QDoubleSpinBox()
        self.slider.setRange(self._first, self._last)
        self.slider.valueChanged.connect(self._move)
        self.value.setRange(0, float(INTENSITY_EDGES[-1]))
        self.value.setDecimals(2)
        self.value.setKeyboardTracking(False)
        self.value.valueChanged.connect(lambda v: self.slider.setValue(edge_of(v)))
        self.source, self.note = QLabel(), QLineEdit()
        self.source.setWordWrap(True)
        self.note.setPlaceholderText("why (may be empty)")
        self.save, self.back = QPushButton("Save for the whole batch"), QPushButton("Back to the controls")
        self.save.clicked.connect(lambda: self._set(self.threshold))
        self.back.clicked.connect(lambda: self._set(None))
        self._lay_out()

    def _lay_out(self) -> None:
        self.numbers = QTableWidget(0, len(TITLES))
        self.numbers.setHorizontalHeaderLabels(TITLES)
        self.numbers.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.numbers.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.numbers.setMinimumHeight(90)
        form = QFormLayout()
        form.addRow("marker", self.marker)
        row = QHBoxLayout()
        row.addWidget(self.slider)
        row.addWidget(self.value)
        buttons = QHBoxLayout()
        buttons.addWidget(self.save)
        buttons.addWidget(self.back)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addWidget(self.plot)
        layout.addLayout(row)
        for part in (self.source, self.numbers, self.note):
            layout.addWidget(part)
        layout.addLayout(buttons)

    @property
    def threshold(self) -> float:
        """The threshold at the slider (grey levels), an edge of the intensity bins."""
        return float(INTENSITY_EDGES[self.slider.value()])

    def show_section(self, review: Review, i: int, record: Shown) -> None:
        """Take the section that is shown now; its batch is read when the page is looked at."""
        self._review, self._shown, self._area = review, (i, record), None
        if self.isVisible():
            self.look()

    def forget(self) -> None:
        """Let go of what was read: the tables are new."""
        self._batch = self._area = None

    def showEvent(self, event: object) -> None:  # noqa: N802  Qt's name
        """Read the batch; Qt calls it when the page comes into sight."""
        super().showEvent(event)
        self.look()

    def look(self) -> None:
        """Show the batch of the section; its tallies are read where they are not known yet."""
        if self._review is None or self._shown is None:
            return
        i, record = self._shown
        row = self._review.queue.iloc[i]
        batch = self._batch
        if batch is None or batch.review is not self._review or (batch.panel, batch.batch) != (row["panel"], row["batch"]):
            self._read(self._review, i)
            return
        markers = [m for m in record.markers if m in self._review.applied(i)]
        if [self.marker.itemText(k) for k in range(self.marker.count())] != markers:
            kept = self.marker.currentText()
            self.marker.blockSignals(True)
            self.marker.clear()
            self.marker.addItems(markers)
            self.marker.setCurrentText(kept if kept in markers else self._first_marker(markers))
            self.marker.blockSignals(False)
        self._take_marker()

    def _read(self, review: Review, i: int) -> None:
        """Read the batch of a row of the queue in a thread; a batch of 70 sections takes a second."""
        self._batch, self._area = None, None
        self.source.setText("Reading the tallies of this batch ...")
        self.numbers.setRowCount(0)
        if self._loading is None:
            self._loading = _READER.submit(live_batch, review, i)
            self._timer.start()

    def _look_for_batch(self) -> None:
        if self._loading is None or not self._loading.done():
            return
        self._timer.stop()
        loading, self._loading = self._loading, None
        try:
            self._batch = batch = loading.result()
        except SevhistoError as error:
            self.say(str(error))
            return
        if batch.unread:
            self.say(f"{batch.unread} records of this batch are damaged or gone: run again. The numbers here are without them.")
        self.look()  # another batch may be shown by now

    @property
    def ready(self) -> bool:
        """Whether the batch of the section shown is read."""
        return self._batch is not None

    def _first_marker(self, markers: list[str]) -> str:
        assert self._review is not None
        assert self._batch is not None
        roles = {c.marker: c.role for c in self._review.config.panels[self._batch.panel].channels}
        ranked = sorted(markers, key=lambda m: BEGIN_WITH.index(roles[m]) if roles[m] in BEGIN_WITH else len(BEGIN_WITH))
        return ranked[0] if ranked else ""

    def _take_marker(self) -> None:
        marker, review = self.marker.currentText(), self._review
        if review is None or self._batch is None or self._shown is None or not marker:
            return
        i, record = self._shown
        applied = review.applied(i)[marker]
        ladder, rung = self._batch.ladder(marker)
        word = rung if rung in RUNG_WORDS else self._batch.rung(marker)
        controls, samples = self._batch.distribution(marker, word)
        wanted = [v for v in (applied, ladder) if v == v]
        self._take_range(controls + samples, max(map(edge_of, wanted), default=self._first))
        controls, samples = (c[self._first + 1 : self._last + 2] for c in (controls, samples))
        mark = None if np.isnan(ladder) else float(edge_of(ladder) - self._first)
        self.plot.show_counts(controls, samples, mark, (RUNG_WORDS[word], "all samples"))
        told = f"Dashed: {ladder:.4g} grey levels, from {RUNG_WORDS.get(rung, rung)}." if mark is not None else f"No threshold: {rung}."
        by_hand = set_by_hand(review, self._batch.panel, self._batch.batch, marker)
        if by_hand is not None:
            told += f" Set by hand to {by_hand.value:.4g} by {by_hand.who}, {by_hand.when[:10]}."
        self.source.setText(told)
        self.back.setEnabled(by_hand is not None)
        self._area = PositiveArea(self.viewer, record, marker)
        now = by_hand.value if by_hand is not None and by_hand.value is not None else applied
        self.slider.setValue(edge_of(now) if now == now else self._first)
        self._move(self.slider.value())

    def _take_range(self, counts: IntArray, at_least: int) -> None:
        """Let the slider end where the stain does, and not at the camera's limit."""
        end = int(np.flatnonzero(counts)[-1]) if counts.any() else steps()[1]
        self._last = min(max(end, at_least + MARGIN), steps()[1])
        self.slider.blockSignals(True)
        self.slider.setRange(self._first, self._last)
        self.slider.blockSignals(False)

    def _move(self, step: int) -> None:
        if self._batch is None or self._shown is None or self._review is None or self._area is None:
            return
        value = float(INTENSITY_EDGES[step])
        self.value.blockSignals(True)
        self.value.setValue(value)
        self.value.blockSignals(False)
        self.plot.move_to(step - self._first)
        self._area.move_to(value)
        animal, section, _ = self._review.place(self._shown[0])
        curves = self._batch.curves(self.marker.currentText())
        if (animal, section) not in curves.places:
            self.numbers.setRowCount(0)
            return
        area, pct = curves.of_section((animal, section), value)
        self._fill(curves.zones, np.stack([area * 1e-6, pct, curves.of_animal(animal, value)], axis=1))

    def _fill(self, zones: tuple[str, ...], numbers: np.ndarray) -> None:
        if self.numbers.rowCount() != len(zones) or self.numbers.item(0, 0) is None:
            self.numbers.setRowCount(len(zones))
            self.numbers.setVerticalHeaderLabels([z if not z[0].isdigit() else f"{z} µm" for z in zones])
            for k in range(numbers.size):
                self.numbers.setItem(k // len(TITLES), k % len(TITLES), QTableWidgetItem())
        for r, row in enumerate(numbers):
            for c, v in enumerate(row):
                self.numbers.item(r, c).setText("" if v != v else f"{v:.4f}" if c == 0 else f"{v:.2f}")

    def _set(self, value: float | None) -> None:
        if self._review is None or self._batch is None:
            return
        marker, batch = self.marker.currentText(), self._batch
        try:
            done = set_threshold(self._review.root, batch.panel, batch.batch, marker, value, who=self.who(), note=self.note.text())
        except SevhistoError as error:
            self.say(str(error))
            return
        told = "is left to the controls again" if value is None else f"is {snap_threshold(value):.4g} for all of batch {batch.batch}"
        self.say(f"{marker}: the threshold {told}, by {done.who}. Press Apply to make the tables with it.")
        self.decided()
        self._take_marker()
