"""The review dock: sections of a study one after the other, the worst first, under coded ids; thresholds and outlines of the one shown."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QLineEdit, QProgressBar, QPushButton, QTabWidget, QVBoxLayout, QWidget

from sevhisto.pipeline import accept, exclude
from sevhisto.pipeline.reviewing import Place, Review, open_review, recall, remember, states
from sevhisto.types import SevhistoError
from sevhisto_napari.apply_bar import ApplyBar
from sevhisto_napari.lesion_page import LesionPage
from sevhisto_napari.queue_page import QueuePage
from sevhisto_napari.session import session_of
from sevhisto_napari.stage import MINE, put_layers, real, section_layers, show_scale_bar
from sevhisto_napari.threshold_page import ThresholdPage

if TYPE_CHECKING:
    import napari

START = "Open the folder of a study that `sevhisto run` has measured, or drop it on the window."
BOOKMARK_MS = 400


class ReviewDock(QWidget):  # type: ignore[misc]
    """Shows a study's sections, the worst first. Keys: N next, P previous, A accept, X leave out.

    Parameters
    ----------
    napari_viewer : the window; napari gives it
    study : folder to open at once
    """

    def __init__(self, napari_viewer: napari.Viewer, study: Path | None = None) -> None:
        super().__init__()
        self._viewer, self._review, self._shown = real(napari_viewer), None, -1
        self._contrast: dict[tuple[str, str], dict[str, tuple[float, float]]] = {}
        self._session = session_of(napari_viewer)
        self._bookmark = QTimer(self)
        self._bookmark.setSingleShot(True)
        self._bookmark.setInterval(BOOKMARK_MS)
        self._bookmark.timeout.connect(self._remember)
        self._build()
        self._bind()
        self._session.opened.connect(self._take_study)
        self._session.results_changed.connect(self.reload)
        self._session.section_wanted.connect(self.go_to)
        if study is not None:
            self.open(study)
        elif self._session.root is not None:
            self._take_study()

    _review: Review | None

    def _build(self) -> None:
        self.open_button, self.message = QPushButton("Open study ..."), QLabel(START)
        self.open_button.clicked.connect(self._ask_for_study)
        self.message.setWordWrap(True)
        self.message.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.who = QLineEdit(_login())
        self.who.setPlaceholderText("your name")
        self.who.setToolTip("Every decision is kept with this name, and the time")
        self.section, self.looked_at = QLabel(), QProgressBar()
        self.looked_at.setFormat("%v of %m decided")
        self.queue = QueuePage()
        self.queue.chosen.connect(self.show_section)
        self.queue.step.connect(self.step)
        self.queue.accept.connect(self.accept_section)
        self.queue.leave_out.connect(self.leave_out_section)
        more = self._viewer, self.say, self.who.text, lambda: self.bar.wait_for()
        self.thresholds, self.lesion = ThresholdPage(*more), LesionPage(*more)
        self.tabs = QTabWidget()
        for page, title in ((self.queue, "Queue"), (self.lesion, "Lesion"), (self.thresholds, "Threshold")):
            self.tabs.addTab(page, title)
        self.tabs.setEnabled(False)
        self._lay_out()

    def _lay_out(self) -> None:
        self.bar = ApplyBar(lambda: None if self._review is None else self._review.root)
        self.bar.said.connect(self.say)
        self.bar.applied.connect(self._session.results_changed.emit)
        top = QHBoxLayout()
        for part in (self.open_button, self.who):
            top.addWidget(part)
        layout = QVBoxLayout(self)
        layout.addLayout(top)
        for part in (self.message, self.section, self.looked_at, self.tabs):
            layout.addWidget(part, 1 if part is self.tabs else 0)
        layout.addWidget(self.bar)

    def _bind(self) -> None:
        """Bind the keys to the dock: those of a viewer come after those of its active layer, which has other uses for A, P and X."""
        keys = {"N": lambda: self.step(1), "P": lambda: self.step(-1), "A": self.accept_section, "X": self.leave_out_section}
        for key, do in keys.items():
            QShortcut(QKeySequence(key), self).activated.connect(do)

    def _ask_for_study(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder that holds study.toml")
        if folder:
            self.open(Path(folder))

    def _take_study(self) -> None:
        if self._session.root is not None and (self._review is None or self._review.root != self._session.root):
            self.open(self._session.root)

    def open(self, study: Path) -> None:
        """Show the sections of a study, where the person stopped last; what is wrong with it is told in the dock."""
        if self._load(study) and self._review is not None:
            row, who = recall(self._review)
            if who and self.who.text() == _login():
                self.who.setText(who)
            self.say(f"{self._review.config.study.name}: {len(self._review.queue)} sections, the worst first.")
            self._session.open(study)
            self.show_section(row)

    def open_at(self, study: Path, record: str) -> None:
        """Show the section of a study that a record is of."""
        self.open(study)
        if self._review is not None:
            found = [i for i, name in enumerate(self._review.queue["record"]) if name == record]
            if found:
                self.show_section(found[0])
            else:
                self.say(f"{record} is no section of an animal in the last run of this study; a control, or an older state.")

    def reload(self) -> None:
        """Show the same section from new results."""
        if self._review is None:
            self._take_study()
            return
        place: Place | None = self._review.place(self._shown) if self._shown >= 0 else None
        if self._load(self._review.root):
            row = self._review.row_of(place) if place is not None else 0
            self.show_section(row or 0)

    def _load(self, study: Path) -> bool:
        try:
            review = open_review(study)
            decided = states(review)
        except SevhistoError as error:
            self.say(str(error))
            return False
        self._review, self._contrast, self._shown = review, {}, -1
        self.thresholds.forget()
        self.queue.fill(review, decided)
        self.tabs.setEnabled(True)
        self.bar.look()
        self._count(decided)
        return True

    def say(self, text: str) -> None:
        """Tell the user something, in the dock."""
        self.message.setText(text)

    def step(self, by: int) -> None:
        """Go to the next (1) or the previous (-1) section; the first and the last stay where they are."""
        if self._review is not None and 0 <= self._shown + by < len(self._review.queue):
            self.show_section(self._shown + by)

    def show_section(self, i: int) -> None:
        """Show the section in row i of the queue."""
        review = self._review
        if review is None or not 0 <= i < len(review.queue):
            return
        if self.lesion.unsaved and i != self._shown:
            self.say("What you drew on this section is not saved yet: make room on the disk and press Save, or Undo.")
            self.queue.select(self._shown)
            return
        self._shown = i
        self.queue.select(i)
        row = review.queue.iloc[i]
        batch = (str(row["panel"]), str(row["batch"]))
        animal, section, panel = review.place(i)
        self.section.setText(f"<b>{animal}, section {section}</b>, panel {panel} ({i + 1} of {len(review.queue)})")
        self._bookmark.start()
        try:
            record = review.record(i)
            contrast = self._contrast.setdefault(batch, {}) or review.contrast(i)
        except SevhistoError as error:
            put_layers(self._viewer, [])
            self.lesion.drawn.show([], 1.0)
            self.queue.details.setText(str(error))
            self.say(str(error))
            return
        self._contrast[batch] = contrast
        put_layers(self._viewer, section_layers(review, i, record, contrast))
        show_scale_bar(self._viewer)
        self._viewer.reset_view(layers=[x for x in self._viewer.layers if x.metadata.get(MINE)])
        self.queue.tell(row)
        self.lesion.show_section(review, i, record)
        self.thresholds.show_section(review, i, record)
        self._session.tell_shown(animal, section, panel)

    def go_to(self, animal: str, section: str, panel: str) -> None:
        """Show a section by its name."""
        row = None if self._review is None else self._review.row_of((animal, section, panel))
        if row is not None:
            self.show_section(row)

    def accept_section(self) -> None:
        """Accept the outlines of the section shown, and go on to the next."""
        if self._review is None or self._shown < 0:
            return
        try:
            entry = accept(self._review.root, *self._review.place(self._shown), who=self.who.text())
        except SevhistoError as error:
            self.say(str(error))
            return
        self.say(f"{entry}: accepted by {entry.who}.")
        self._mark()
        self.step(1)

    def leave_out_section(self) -> None:
        """Leave the section shown out, for the reason chosen."""
        if self._review is None or self._shown < 0:
            return
        words = {"who": self.who.text(), "reason": self.queue.reason.currentText(), "note": self.queue.note.text()}
        try:
            entry = exclude(self._review.root, *self._review.place(self._shown), **words)
        except SevhistoError as error:
            self.say(str(error))
            return
        self.say(f"{entry}: left out ({entry.reason}) by {entry.who}.")
        self._mark()
        self.step(1)

    def _mark(self) -> None:
        if self._review is not None:
            decided = states(self._review)
            self.queue.mark(decided)
            self._count(decided)
            self.bar.wait_for()

    def _count(self, decided: list[str]) -> None:
        self.looked_at.setRange(0, len(decided))
        self.looked_at.setValue(sum(bool(d) for d in decided))

    def _remember(self) -> None:
        if self._review is not None and self._shown >= 0:
            try:
                remember(self._review, self._shown, self.who.text())
            except SevhistoError as error:
                self.say(str(error))


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""
