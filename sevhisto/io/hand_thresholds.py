"""The journal of thresholds that people set: for a marker in a panel and batch, with author and time. It comes before study.toml."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from sevhisto.config import BatchSettings, StudyConfig
from sevhisto.io.journals import append_sealed, now, read_sealed
from sevhisto.registry import did_you_mean
from sevhisto.types import Problem, StudyError

JOURNAL = "thresholds.jsonl"
Place = tuple[str, str, str]
"""Panel, batch, marker."""


@dataclass(frozen=True)
class HandThreshold:
    """One line of the journal.

    Attributes
    ----------
    panel, batch, marker : what it is for
    value : on corrected intensity (grey levels; milli OD in brightfield), as given; None where the study's own ladder is to apply again
    who, when : name, and time in UTC
    note : free text
    """

    panel: str
    batch: str
    marker: str
    value: float | None
    who: str
    when: str
    note: str = ""

    @property
    def place(self) -> Place:
        """Panel, batch, marker."""
        return self.panel, self.batch, self.marker

    def __str__(self) -> str:
        return f"panel {self.panel}, batch {self.batch}, marker {self.marker}"


def read_hand_thresholds(root: Path) -> list[HandThreshold]:
    """Return every line of a study's journal, in order; none where there is no journal. StudyError as in `journals.read_sealed`."""
    return [entry for entry, _ in _sealed(root)]


def _sealed(root: Path) -> list[tuple[HandThreshold, str]]:
    return read_sealed(root / JOURNAL, lambda facts: HandThreshold(**facts), "sevhisto threshold")


def held(journal: Iterable[HandThreshold]) -> list[HandThreshold]:
    """Return the thresholds that hold now, in the order in which they were set."""
    found: dict[Place, HandThreshold] = {}
    for entry in journal:
        found.pop(entry.place, None)
        if entry.value is not None:
            found[entry.place] = entry
    return list(found.values())


def set_threshold(root: Path, config: StudyConfig, batches: Iterable[str], entry: HandThreshold) -> HandThreshold:
    """Append a threshold to the journal of a study, and return it with its time.

    Parameters
    ----------
    batches : every batch of slides.csv
    entry : `when` is filled in

    Raises
    ------
    StudyError
        No such panel, batch or marker; no number; nobody's name; nothing to take back; a damaged journal, or one that cannot be written.
    """
    journal = _sealed(root)
    entry = HandThreshold(*entry.place, entry.value, entry.who.strip(), now(), entry.note.strip())
    problems = place_problems(entry, config, batches)
    if not entry.who:
        problems.append(Problem("--who", "is empty", "give the name of the person who decides"))
    if entry.value is not None and not math.isfinite(entry.value):
        problems.append(Problem("--value", f"{entry.value} is not a finite number", "give a grey level"))
    if entry.value is None and entry.place not in {e.place for e in held(e for e, _ in journal)}:
        problems.append(Problem(str(entry), "has no threshold that was set here: there is nothing to undo"))
    if problems:
        raise StudyError(problems)
    append_sealed(root / JOURNAL, asdict(entry), journal, "no threshold was set")
    return entry


def place_problems(entry: HandThreshold, config: StudyConfig, batches: Iterable[str]) -> list[Problem]:
    """Return what is wrong with the panel, batch and marker of a threshold."""
    found = []
    panel = config.panels.get(entry.panel)
    for option, value, known in (
        ("--panel", entry.panel, list(config.panels)),
        ("--batch", entry.batch, sorted(set(batches))),
        ("--marker", entry.marker, [] if panel is None else list(panel.markers)),
    ):
        if known and value not in known:
            found.append(Problem(option, f"there is no {option[2:]} {value!r}", did_you_mean(value, known)))
    return found


def with_hand_thresholds(config: StudyConfig, thresholds: Iterable[HandThreshold]) -> StudyConfig:
    """Return the settings with these thresholds in their batches, in place of what study.toml says there."""
    batches = dict(config.batches)
    for t in thresholds:
        batch = batches.get(t.batch, BatchSettings())
        of_panel = {**batch.thresholds.get(t.panel, {}), t.marker: t.value}
        batches[t.batch] = batch.model_copy(update={"thresholds": {**batch.thresholds, t.panel: of_panel}})
    return config.model_copy(update={"batches": batches})
