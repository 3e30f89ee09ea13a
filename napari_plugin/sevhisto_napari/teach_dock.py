"""The teach dock: strokes of each class on a section, a classifier that learns from them, its answer, and its use in the study."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from sevhisto.config import CLASS_ROLES
from sevhisto.pipeline.job_process import Event, fitting_jobs
from sevhisto.pipeline.teaching import Lesson, classes_drawn, open_lesson, use_classifier
from sevhisto.pipeline.training import STROKE_UM
from sevhisto.types import Problem, SevhistoError
from sevhisto_napari.job_runner import JobRunner, told
from sevhisto_napari.session import session_of
from sevhisto_napari.strokes import colour_of
from sevhisto_napari.teach_layers import TeachLayers

if TYPE_CHECKING:
    import napari

CLOSED = "Show a section first, in the dock 'Review a study'."
ADVICE = (
    "1. Add two classes: what is to be measured, and what it must not be taken for. 2. Draw lines of each, on sections of several "
    "animals. 3. Train."
)
AUTOSAVE_MS = 400


class TeachDock(QWidget):  # type: ignore[misc]
    """Draws strokes of classes, trains a pixel classifier from all that is drawn in the study, and shows its answer.

    Parameters
    ----------
    napari_viewer : the window; napari gives it
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self._session = session_of(napari_viewer)
        self._layers = TeachLayers(napari_viewer, self._later)
        self._lesson: Lesson | None = None
        self._command, self._out, self._report = "", "", ""
        self.runner = JobRunner(self)
        self.runner.progress.connect(self._show_progress)
        self.runner.ended.connect(self._show_end)
        self.runner.busy.connect(self._set_busy)
        self._autosave = QTimer(self)
        self._autosave.setSingleShot(True)
        self._autosave.setInterval(AUTOSAVE_MS)
        self._autosave.timeout.connect(self.save)
        self._build()
        self._session.section_shown.connect(self.take_section)
        self._session.opened.connect(self._close_section)
        self.take_section()

    def _build(self) -> None:
        self.message = QLabel(CLOSED)
        self.message.setWordWrap(True)
        self.classes, self.new_class, self.add = QListWidget(), QLineEdit(), QPushButton("Add class")
        self.classes.setFixedHeight(88)
        self.classes.currentRowChanged.connect(lambda _: self.draw("line"))
        self.new_class.setPlaceholderText("such as scar")
        self.new_class.returnPressed.connect(self.add_class)
        self.add.clicked.connect(self.add_class)
        self.tools = {"line": QPushButton("Draw line"), "area": QPushButton("Draw area"), "select": QPushButton("Select")}
        for mode, button in self.tools.items():
            button.clicked.connect(lambda _=False, m=mode: self.draw(m))
        self.tools["select"].setToolTip("Select strokes; the key Delete takes them away")
        self.pixels = QCheckBox("show the slide's own pixels")
        self.pixels.toggled.connect(lambda _: self.take_section())
        self.name, self.who = QLineEdit("taught"), QLineEdit()
        self.who.setPlaceholderText("your name")
        self.train_button, self.answer_button, self.stop = QPushButton("Train"), QPushButton("Show answer"), QPushButton("Stop")
        self.train_button.clicked.connect(self.train)
        self.answer_button.clicked.connect(self.show_answer)
        self.stop.clicked.connect(self.runner.cancel)
        self.bar, self.text = QProgressBar(), QPlainTextEdit()
        self.bar.setVisible(False)
        self.text.setReadOnly(True)
        self.measured, self.role, self.use = QComboBox(), QComboBox(), QPushButton("Measure with it")
        self.role.addItems(CLASS_ROLES)
        self.use.setToolTip("Writes the classifier and the class into study.toml; the next run measures the class like a marker")
        self.use.clicked.connect(self.use_it)
        self._lay_out()

    def _lay_out(self) -> None:
        def row(*parts: QWidget) -> QHBoxLayout:
            line = QHBoxLayout()
            for part in parts:
                line.addWidget(part)
            return line

        form = QFormLayout()
        form.addRow("classifier", self.name)
        form.addRow("who", self.who)
        layout = QVBoxLayout(self)
        layout.addWidget(self.message)
        layout.addLayout(row(self.new_class, self.add))
        layout.addWidget(self.classes)
        layout.addLayout(row(*self.tools.values()))
        layout.addWidget(self.pixels)
        layout.addLayout(form)
        layout.addLayout(row(self.train_button, self.answer_button, self.stop))
        layout.addWidget(self.bar)
        layout.addWidget(self.text)
        layout.addLayout(row(QLabel("class"), self.measured, QLabel("role"), self.role))
        layout.addWidget(self.use)

    # ------------------------------------------------------------ the section and its strokes

    def take_section(self) -> None:
        """Show the strokes of the section that the window shows; those of the one before are saved first."""
        self.save()
        root, place = self._session.root, self._session.place
        if root is None or place is None or not self.isVisibleTo(self.window()):
            self._close_section()
            return
        try:
            self._lesson = open_lesson(root, place)
            known = sorted({*classes_drawn(root, place[2]), *self._class_names()})
            self._layers.show(self._lesson, known, self.pixels.isChecked(), STROKE_UM)
        except SevhistoError as error:
            self._close_section()
            self.message.setText(str(error))
            return
        self._list_classes(known)
        kept = len(self._lesson.kept)
        more = f" {kept} outlines of this slide were drawn elsewhere: they count, and stay as they are." if kept else ""
        self.message.setText(f"{place[0]}, section {place[1]}, panel {place[2]}.{more} {'' if len(known) > 1 else ADVICE}".strip())
        self._set_busy(self.runner.running)

    def showEvent(self, event: object) -> None:  # noqa: N802  Qt's name
        """Show the strokes when the dock comes into sight."""
        super().showEvent(event)
        self.take_section()

    def hideEvent(self, event: object) -> None:  # noqa: N802
        """Save the strokes and take them out of the window when the dock goes out of sight."""
        super().hideEvent(event)
        self._close_section()

    def _close_section(self) -> None:
        self.save()
        self._lesson = None
        self._layers.clear()
        self.message.setText(CLOSED)
        self._set_busy(self.runner.running)

    def _class_names(self) -> list[str]:
        return [self.classes.item(i).text() for i in range(self.classes.count())]

    def _list_classes(self, names: list[str]) -> None:
        chosen = self.classes.currentItem().text() if self.classes.currentItem() else ""
        self.classes.blockSignals(True)
        self.classes.clear()
        for name in names:
            patch = QPixmap(14, 14)
            patch.fill(QColor(colour_of(names, name)))
            self.classes.addItem(QListWidgetItem(QIcon(patch), name))
        if names:
            self.classes.setCurrentRow(names.index(chosen) if chosen in names else 0)
        self.classes.blockSignals(False)
        self.measured.clear()
        self.measured.addItems(names)

    def add_class(self) -> None:
        """Add the class that was typed, and take the pen for it."""
        name = " ".join(self.new_class.text().split())
        if not name or self._lesson is None:
            return
        names = sorted({*self._class_names(), name})
        self._layers.recolour(names, STROKE_UM)
        self._list_classes(names)
        self.new_class.clear()
        self.classes.setCurrentRow(names.index(name))
        self.draw("line")

    def draw(self, mode: str) -> None:
        """Take the tool ``line``, ``area`` or ``select`` for the chosen class."""
        if self.classes.currentItem() is not None and self._lesson is not None:
            self._layers.draw(self.classes.currentItem().text(), mode, STROKE_UM)

    def _later(self) -> None:
        self._autosave.start()

    def save(self) -> None:
        """Write the strokes to the file from which `sevhisto train` learns; told in the dock where that is not possible."""
        self._autosave.stop()
        if self._lesson is None or self._layers.strokes is None:
            return
        try:
            drawn = self._layers.outlines()
            if _plain(drawn) != _plain(self._lesson.strokes):
                self._lesson.save(drawn)
                self.message.setText(f"{len(drawn)} strokes on the slide of this section are saved.")
        except SevhistoError as error:
            self.message.setText(f"The strokes are not saved:\n{error}")

    # ------------------------------------------------------------ learning, in the background

    def train(self) -> None:
        """Learn from all that is drawn on slides of the section's panel."""
        self.save()
        if self._session.root is not None and self._session.place is not None:
            more = {"name": self.name.text().strip(), "panel": self._session.place[2], "who": self.who.text(), "jobs": fitting_jobs()}
            self._start("train", **more)

    def show_answer(self) -> None:
        """Show what the classifier says of the section."""
        if self._session.root is not None and self._session.place is not None:
            handle, out = tempfile.mkstemp(prefix="sevhisto-", suffix=".npz")
            os.close(handle)
            self._start("answer", name=self.name.text().strip(), place=list(self._session.place), out=out, jobs=1)

    def _start(self, command: str, **more: Any) -> None:
        if self._session.root is not None and not self.runner.running:
            self._command, self._asked, self._out = command, self._session.place, str(more.get("out", ""))
            self._report = "" if command == "train" else self._report
            self.text.setPlainText(f"{self._report}\n\n{command} ...".strip())
            self.bar.setRange(0, 0)
            self.runner.start(command, self._session.root, **more)

    def _set_busy(self, busy: bool) -> None:
        ready = self._lesson is not None and not busy
        for part in (self.train_button, self.answer_button, self.use):
            part.setEnabled(ready)
        for part in (self.add, self.new_class, *self.tools.values()):
            part.setEnabled(self._lesson is not None)
        self.stop.setEnabled(busy)
        self.bar.setVisible(busy)

    def _show_progress(self, event: Event) -> None:
        self.bar.setRange(0, event.facts["total"])
        self.bar.setValue(event.facts["done"])
        self.bar.setFormat(f"{event.facts['what']}: %v of %m")

    def _show_end(self, event: Event) -> None:
        if event.kind != "done":
            self.text.setPlainText(told(event))
        elif self._command == "train":
            self._report = "\n".join(event.facts["lines"])
            self.text.setPlainText(self._report)
            if self._session.place == self._asked:
                QTimer.singleShot(0, self.show_answer)
        elif self._session.place == self._asked:  # else the window shows another section by now
            shares = self._layers.show_answer(Path(event.facts["path"]))
            self.text.setPlainText(f"{self._report}\n\nOf the tissue that has a class: {', '.join(shares)}".strip())
        if self._out:
            Path(self._out).unlink(missing_ok=True)

    def use_it(self) -> None:
        """Write into study.toml that the chosen class is measured."""
        root, place, name = self._session.root, self._session.place, self.name.text().strip()
        try:
            if root is None or place is None or not (root / "classifiers" / f"{name}.npz").is_file():
                raise SevhistoError(Problem(f"classifier {name!r}", "is not there yet", "train it first"))
            use_classifier(root, place[2], name, self.measured.currentText(), self.role.currentText())
        except SevhistoError as error:
            self.text.setPlainText(str(error))
            return
        what = f"{self.measured.currentText()} of classifier {name} is measured on panel {place[2]} from the next run on"
        self.text.setPlainText(f"Saved in study.toml: {what}.")


def _plain(outlines: Any) -> list[Any]:
    return [(o.name, [p.tolist() for p in (*o.polygons, *o.strokes)]) for o in outlines]
