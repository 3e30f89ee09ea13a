"""The two stages of a run that read pixels: the background of each batch, then the sections."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from sevhisto.io.records import keep_record
from sevhisto.io.study import Study
from sevhisto.pipeline.batches import background_tasks, batch_correction
from sevhisto.pipeline.contours import takes_contours, with_contours
from sevhisto.pipeline.measuring import measure_slide, reason_of
from sevhisto.pipeline.naming import Names
from sevhisto.pipeline.tasks import PieceOutcome, SlideTask
from sevhisto.types import Correction, OutputError, SlideError

log = logging.getLogger(__name__)


class Progress(Protocol):
    """What is told while a run goes on."""

    def __call__(self, what: str, done: int, total: int, failed: int = 0, skipped: int = 0) -> None:
        """Hear what is being done, how much is done and how much there is; and of the done, how much failed, and for how much nothing was
        read: it was there before, or may not be read.
        """


def quiet(what: str, done: int, total: int, failed: int = 0, skipped: int = 0) -> None:
    """Show no progress."""


Tick = Callable[[int, int], object]
"""Told how many of a stage are done, of how many."""


def no_tick(done: int, total: int) -> None:
    """Tell nobody."""


class RunTasks(Protocol):
    """`engine.run_tasks` on the chosen machines."""

    def __call__(self, function: Any, tasks: Sequence[Any], /) -> Iterator[tuple[int, Any]]:
        """Yield (task number, result or error), in any order."""


def batch_corrections(tasks: list[SlideTask], run_all: RunTasks, progress: Progress) -> tuple[dict[tuple[str, str], Correction], list[str]]:
    """Return the correction of each (panel, batch) of these slides, and a line for each that could not be made."""
    chosen = background_tasks(tasks)
    keys = list(chosen)
    found: dict[tuple[str, str], Correction] = {}
    notes: list[str] = []
    if keys:
        progress("background of each batch", 0, len(keys))
    for done, (i, result) in enumerate(run_all(batch_correction, [chosen[k] for k in keys]), 1):
        if isinstance(result, OutputError):
            raise result
        if isinstance(result, BaseException):
            notes.append(f"panel {keys[i][0]}, batch {keys[i][1]}: {reason_of(result)}")
        else:
            found[keys[i]] = result[0]
            notes += result[1]
        progress("background of each batch", done, len(keys))
    return found, sorted(notes)


def measure(study: Study, tasks: list[SlideTask], run_all: RunTasks, progress: Progress, names: Names) -> list[PieceOutcome]:
    """Return what became of every section that has a slide, by row of slides.csv; what fails is logged when it does, under shown names."""
    total = sum(len(t.pieces) for t in tasks)
    outcomes: list[PieceOutcome] = []
    failed = skipped = 0
    progress("sections", 0, total)
    first = [t for t in tasks if not takes_contours(t)]
    for later in (False, True):
        wave = with_contours(study, [t for t in tasks if takes_contours(t)], outcomes) if later else first
        # controls first, then the largest files: the last worker should not start with the longest work
        order = sorted(wave, key=lambda t: (all(p.role == "sample" for p in t.pieces), -_size(t.path), str(t.path), t.scene))
        for i, result in run_all(measure_slide, order):
            if isinstance(result, OutputError):
                raise result
            new = [PieceOutcome(p.row, None, reason_of(result)) for p in order[i].pieces] if isinstance(result, BaseException) else result
            new = [_brought(o, order[i].store) for o in new]
            outcomes += new
            for line in _failures(study, names, new):
                log.warning(line)
            failed += sum(o.record is None for o in new)
            skipped += sum(not o.new for o in new)
            progress("sections", len(outcomes), total, failed, skipped)
    return sorted(outcomes, key=lambda o: o.row)


def _brought(outcome: PieceOutcome, store: str) -> PieceOutcome:
    """Return what became of a section whose record is here now, if it was made elsewhere."""
    if store and outcome.record is not None:
        try:
            keep_record(outcome.record, store)
        except SlideError as error:
            return replace(outcome, record=None, reason=reason_of(error))
    return outcome


def _failures(study: Study, names: Names, outcomes: Sequence[PieceOutcome]) -> list[str]:
    """Return a line for each reason why sections of a slide failed: the slide and the reason as status.csv has them, and the sections."""
    root = f"{study.root}{os.sep}"
    sections: dict[tuple[str, str], list[str]] = {}
    for outcome in outcomes:
        if outcome.record is None:
            row = study.slides.loc[outcome.row]
            of = sections.setdefault((names.files[str(row["file"])], names.clean(outcome.reason.replace(root, ""))), [])
            of.append(" ".join(names.shown(str(row["animal"]), str(row["section"]))))
    return [f"{file} ({', '.join(failed)}) failed: {' '.join(reason.split())}" for (file, reason), failed in sections.items()]


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
