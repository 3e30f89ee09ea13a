"""The run dock: check, run, compare and report a study, its settings, and its tables to take away."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from sevhisto.engine import default_jobs
from sevhisto.pipeline import export_formats
from sevhisto.pipeline.copying import copy_tables
from sevhisto.pipeline.job_process import Event, fitting_jobs
from sevhisto.types import SevhistoError
from sevhisto_napari.job_runner import JobRunner, told
from sevhisto_napari.navigate import open_review_dock
from sevhisto_napari.session import session_of
from sevhisto_napari.settings_form import SettingsForm

if TYPE_CHECKING:
    import napari

START = "Open the folder of a study: the one that holds study.toml. `sevhisto init FOLDER` drafts one from a folder of slides."
HELP = {
    "check": "Look for everything that is wrong, before a pixel is read",
    "run": "Measure all sections that are not measured yet, and write the tables",
    "compare": "Compare the groups; they stay codes until `sevhisto compare --unblind` is typed in a terminal",
    "report": "Write results/report.html",
}


class RunDock(QWidget):  # type: ignore[misc]
    """Runs a study in the background; the window stays free, and a stopped run goes on where it was.

    Parameters
    ----------
    napari_viewer : the window; napari gives it
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer, self._session = napari_viewer, session_of(napari_viewer)
        self.runner = JobRunner(self)
        self.runner.progress.connect(self._show_progress)
        self.runner.ended.connect(self._show_end)
        self.runner.busy.connect(self._set_busy)
        self._command = ""
        self.form = SettingsForm()
        self.tabs = QTabWidget()
        self.tabs.addTab(self._run_page(), "Run")
        self.tabs.addTab(self.form, "Settings")
        self.open_button, self.study = QPushButton("Open study ..."), QLabel(START)
        self.open_button.clicked.connect(self._ask_for_study)
        self.study.setWordWrap(True)
        layout = QVBoxLayout(self)
        for part in (self.open_button, self.study, self.tabs):
            layout.addWidget(part)
        self._session.opened.connect(self._take_study)
        self._take_study()

    def _run_page(self) -> QWidget:
        page = QWidget()
        self.buttons = {name: QPushButton(name.capitalize()) for name in HELP}
        grid = QGridLayout()
        for i, (name, button) in enumerate(self.buttons.items()):
            button.setToolTip(HELP[name])
            button.clicked.connect(lambda _=False, command=name: self.start(command))
            grid.addWidget(button, i // 2, i % 2)
        self.jobs = QSpinBox()
        self.jobs.setRange(1, default_jobs())
        self.jobs.setValue(fitting_jobs())
        self.jobs.setToolTip("Processes that measure at once. More are faster and take more memory; one core is left to this window.")
        self.stop = QPushButton("Stop")
        self.stop.clicked.connect(self.runner.cancel)
        self.copy = QPushButton("Copy tables (CSV) ...")
        self.copy.clicked.connect(self._ask_for_folder)
        self.format, self.export = QComboBox(), QPushButton("Export")
        self.format.addItems(export_formats())
        self.format.setCurrentText("xlsx")
        self.export.setToolTip("Write the results for another program into results/export, as `sevhisto export` does")
        self.export.clicked.connect(lambda: self.start("export"))
        self.review = QPushButton("Look at the sections")
        self.review.clicked.connect(lambda: open_review_dock(self._viewer))
        self.review.setVisible(False)
        row = QHBoxLayout()
        for part in (QLabel("processes"), self.jobs, self.stop):
            row.addWidget(part)
        away = QHBoxLayout()
        for part in (self.copy, self.format, self.export):
            away.addWidget(part)
        self.bar, self.stage = QProgressBar(), QLabel()
        self.bar.setVisible(False)
        self.stage.setWordWrap(True)
        self.text = QPlainTextEdit()
        self.text.setReadOnly(True)
        layout = QVBoxLayout(page)
        layout.addLayout(grid)
        layout.addLayout(row)
        for part in (self.stage, self.bar, self.text, self.review):
            layout.addWidget(part)
        layout.addLayout(away)
        return page

    def _ask_for_study(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Folder that holds study.toml")
        if folder:
            self._session.open(Path(folder))

    def _take_study(self) -> None:
        root = self._session.root
        self.study.setText(START if root is None else str(root))
        if root is not None:
            try:
                self.form.open(root)
                self.text.setPlainText("Next: Check, then Run.")
            except SevhistoError as error:
                self.text.setPlainText(str(error))
        self._set_busy(self.runner.running)

    def _set_busy(self, busy: bool) -> None:
        for part in (*self.buttons.values(), self.copy, self.export, self.open_button):
            part.setEnabled(not busy and (self._session.root is not None or part is self.open_button))
        self.stop.setEnabled(busy)
        self.bar.setVisible(busy)

    def start(self, command: str) -> None:
        """Start ``check``, ``run``, ``compare``, ``report`` or ``export`` on the open study."""
        root = self._session.root
        if root is None or self.runner.running:
            return
        self._command = command
        self.text.clear()
        self.stage.setText(f"{command} ...")
        self.bar.setRange(0, 0)
        more: dict[str, Any] = {"jobs": self.jobs.value()} if command in ("run", "compare", "report") else {}
        if command == "export":
            more = {"to": [self.format.currentText()]}
        self.runner.start(command, root, **more)

    def _show_progress(self, event: Event) -> None:
        done, total, failed = (event.facts[name] for name in ("done", "total", "failed"))
        self.bar.setRange(0, total)
        self.bar.setValue(done)
        self.stage.setText(f"{event.facts['what']}: {done} of {total}" + (f", {failed} failed" if failed else ""))

    def _show_end(self, event: Event) -> None:
        words = {"done": "done", "failed": "failed", "stopped": "stopped"}[event.kind]
        self.stage.setText(f"{self._command}: {words}")
        self.text.setPlainText(told(event) or "\n".join(end_lines(self._command, event.facts)))
        if event.kind == "done" and self._command in ("run", "compare"):
            self.review.setVisible(True)
            self._session.results_changed.emit()

    def _ask_for_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Empty folder for the tables")
        if folder:
            self.copy_to(Path(folder))

    def copy_to(self, folder: Path) -> None:
        """Copy the study's tables into a folder."""
        if self._session.root is None:
            return
        try:
            copied = copy_tables(self._session.root, folder)
        except SevhistoError as error:
            self.text.setPlainText(str(error))
            return
        self.text.setPlainText(f"{len(copied)} tables are in {folder}:\n" + "\n".join(path.name for path in copied))


def end_lines(command: str, facts: dict[str, Any]) -> list[str]:
    """Return what a command came to, line by line."""
    if command == "check":
        problems = [f"{where}: {what}" + (f"\n    -> {remedy}" if remedy else "") for where, what, remedy in facts["problems"]]
        return [*problems, *(f"note: {note}" for note in facts["notes"])] + ([] if problems else ["No problem found. Next: Run."])
    if command == "run":
        total = sum(facts[name] for name in ("ok", "flagged", "failed", "excluded"))
        counts = ", ".join(f"{facts[name]} {name}" for name in ("ok", "flagged", "failed", "excluded") if facts[name] or name == "ok")
        lines = [f"{total} sections: {counts}.", f"{facts['measured_now']} measured now, {facts['seconds']:.0f} s."]
        lines += [f"controls: {line}" for line in facts["notes"]] + [f"failed: {line}" for line in facts["failures"]]
        return [*lines, f"Tables are in {facts['results']}.", "Next: look at the sections, and correct outlines."]
    if command == "compare":
        codes = ["Groups are codes until the key is opened."] if facts["blinded"] else []
        return [*facts["notes"], *codes, f"Tables are in {facts['results']}. Next: Report."]
    if command == "export":
        return [*(f"Wrote {folder}" for folder in facts["folders"]), *facts["notes"]]
    return [f"Wrote {facts['path']}. Open it in a browser."]
