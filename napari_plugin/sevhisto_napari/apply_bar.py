"""The bar that makes the tables with what was decided: `run` in the background, to be stopped at any time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QWidget

from sevhisto.pipeline.editing import sign_areas
from sevhisto.pipeline.job_process import Event, fitting_jobs
from sevhisto.types import SevhistoError
from sevhisto_napari.job_runner import JobRunner, told

HELP = "Make the tables with what was decided: only sections that were drawn on are measured again"
WAITING = "Apply what was decided"


class ApplyBar(QWidget):  # type: ignore[misc]
    """Runs the study of a dock.

    Signals: `applied` when the tables are new, `said` with what there is to tell.

    Parameters
    ----------
    root : gives the study's folder, or None where none is open
    """

    applied = Signal()
    said = Signal(str)

    def __init__(self, root: Callable[[], Path | None]) -> None:
        super().__init__()
        self._root, self._signed = root, False
        self.runner = JobRunner(self)
        self.runner.progress.connect(self._show_progress)
        self.runner.ended.connect(self._show_end)
        self.runner.busy.connect(lambda _: self.look())
        self.apply, self.stop, self.progress = QPushButton("Apply"), QPushButton("Stop"), QProgressBar()
        self.apply.setToolTip(HELP)
        self.apply.clicked.connect(self.start)
        self.stop.clicked.connect(self.runner.cancel)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for part in (self.apply, self.stop, self.progress):
            row.addWidget(part)
        self.look()

    def look(self) -> None:
        """Show what can be done now."""
        busy = self.runner.running
        self.apply.setEnabled(not busy and self._root() is not None)
        self.stop.setVisible(busy)
        self.progress.setVisible(busy)

    def wait_for(self) -> None:
        """Show that something was decided that the tables do not hold yet."""
        self.apply.setText(WAITING)

    def start(self) -> None:
        """Run the study: nothing that is measured is read again but what was drawn on."""
        self._signed = False
        self._run()

    def _run(self) -> None:
        root = self._root()
        if root is not None and not self.runner.running:
            self.progress.setRange(0, 0)
            self.runner.start("run", root, jobs=fitting_jobs())

    def _show_progress(self, event: Event) -> None:
        self.progress.setRange(0, event.facts["total"])
        self.progress.setValue(event.facts["done"])
        self.progress.setFormat(f"{event.facts['what']}: %v of %m")

    def _show_end(self, event: Event) -> None:
        root = self._root()
        if event.kind != "done" or root is None:
            self.said.emit(told(event) or "Not done.")
            return
        if self._has_signed(root):
            self._run()  # areas have the name of who drew them now; that changes flags only
            return
        facts = event.facts
        counts = ", ".join(f"{facts[n]} {n}" for n in ("ok", "flagged", "failed", "excluded") if facts[n])
        failed = "".join(f"\nFailed: {line}" for line in facts["failures"][:3])
        self.apply.setText("Apply")
        self.applied.emit()
        self.said.emit(f"The tables are new: {counts}; {facts['measured_now']} measured again.{failed}")

    def _has_signed(self, root: Path) -> bool:
        """Sign the areas that were drawn here, once a run, and return whether there were any."""
        if self._signed:
            return False
        try:
            self._signed = sign_areas(root) > 0
        except SevhistoError as error:
            self.said.emit(str(error))
        return self._signed
