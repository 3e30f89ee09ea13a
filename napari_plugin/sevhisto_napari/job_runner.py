"""Runs a command behind a dock: asks for its events ten times a second, and stops it when the dock goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, QTimer, Signal

from sevhisto.pipeline.job_process import Event, Job

EVERY_MS = 100


class _Jobs:
    """Jobs of one runner; kept apart from it, since Qt may tell that it is gone after Python took it down."""

    def __init__(self) -> None:
        self.now: list[Job] = []

    def close(self, *_: object) -> None:
        """Stop them all."""
        for job in self.now:
            job.close()
        self.now.clear()
        _KEPT.discard(self)


_KEPT: set[_Jobs] = set()


class JobRunner(QObject):  # type: ignore[misc]
    """One command at a time, in a process of its own.

    Signals: `progress` with each step's event, `ended` with the last one, `busy` with whether something runs.
    """

    progress = Signal(object)
    ended = Signal(object)
    busy = Signal(bool)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._jobs = _Jobs()
        _KEPT.add(self._jobs)
        self._timer = QTimer(self)
        self._timer.setInterval(EVERY_MS)
        self._timer.timeout.connect(self._look)
        self.destroyed.connect(self._jobs.close)

    @property
    def running(self) -> bool:
        """Whether a command runs."""
        return bool(self._jobs.now)

    def start(self, command: str, root: Path, **more: Any) -> None:
        """Start a command (`job_process.COMMANDS`); nothing while another runs."""
        if self._jobs.now:
            return
        self._jobs.now.append(Job(command, root, **more))
        self._timer.start()
        self.busy.emit(True)

    def cancel(self) -> None:
        """Stop what runs; `ended` follows."""
        for job in self._jobs.now:
            job.cancel()

    def _look(self) -> None:
        for event in [e for job in self._jobs.now for e in job.events()]:
            if event.kind == "progress":
                self.progress.emit(event)
            else:
                self._timer.stop()
                self._jobs.now.clear()
                self.busy.emit(False)
                self.ended.emit(event)


def told(event: Event) -> str:
    """Return in words why a command failed, or that it was stopped; empty where it was done."""
    if event.kind == "stopped":
        return "Stopped. What is measured stays: run again to go on."
    return "\n".join(str(p) for p in event.problems)
