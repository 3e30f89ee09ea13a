"""The journal of exclusions: who left out what, when and why. It is only ever appended to, and each line seals those before it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from sevhisto.io.journals import append_sealed, now, read_sealed
from sevhisto.registry import EXCLUSION_REASONS, did_you_mean
from sevhisto.types import Problem, StudyError

JOURNAL = "exclusions.jsonl"


@dataclass(frozen=True)
class Exclusion:
    """One line of the journal.

    Attributes
    ----------
    animal : code of the animal
    section, panel : empty for all of them
    reason : one of `registry.EXCLUSION_REASONS`
    who, when : name, and time in UTC
    note : free text
    undo : this takes an earlier exclusion of the same back
    areas : hash of the areas drawn on the section that this gives a reason and a name to; empty where all of it is left out
    """

    animal: str
    section: str
    panel: str
    reason: str
    who: str
    when: str
    note: str = ""
    undo: bool = False
    areas: str = ""

    @property
    def target(self) -> tuple[str, str, str, bool]:
        """What is left out; last, whether only areas of it."""
        return self.animal, self.section, self.panel, bool(self.areas)

    def covers(self, animal: str, section: str, panel: str) -> bool:
        """Return whether this section belongs to what is left out."""
        return not self.areas and self.animal == animal and self.section in ("", section) and self.panel in ("", panel)

    def __str__(self) -> str:
        areas = "areas drawn on it" if self.areas else ""
        named = (f"animal {self.animal}", self.section and f"section {self.section}", self.panel and f"panel {self.panel}", areas)
        return ", ".join(n for n in named if n)


def read_journal(root: Path) -> list[Exclusion]:
    """Return every line of a study's journal, in order; none where there is no journal.

    StudyError names the first line that was changed, moved, removed or cut off after it was written.
    """
    return [entry for entry, _ in _sealed(root)]


def _sealed(root: Path) -> list[tuple[Exclusion, str]]:
    return read_sealed(root / JOURNAL, lambda facts: Exclusion(**facts), "sevhisto exclude")


def active(journal: Iterable[Exclusion]) -> list[Exclusion]:
    """Return the exclusions that hold now, in the order in which they were made."""
    found: dict[tuple[str, str, str, bool], Exclusion] = {}
    for entry in journal:
        found.pop(entry.target, None)
        if not entry.undo:
            found[entry.target] = entry
    return list(found.values())


def exclude(
    root: Path,
    slides: pd.DataFrame,
    target: tuple[str, str, str],
    who: str,
    reason: str = "",
    note: str = "",
    undo: bool = False,
    areas: str = "",
) -> Exclusion:
    """Append one exclusion, or one that takes it back, to the journal of a study, and return it.

    Parameters
    ----------
    slides : every listed section: animal (code), section, panel
    target : animal (code), section and panel; the last two may be empty
    reason : needed unless `undo`
    areas : hash of drawn areas that get reason and name, instead of leaving out all of the target

    Raises
    ------
    StudyError
        No such animal, section or panel; no known reason; nobody's name; already left out, or nothing to take back; a damaged journal.
    """
    journal = _sealed(root)
    entry = Exclusion(*target, reason, who.strip(), now(), note.strip(), undo, areas)
    problems = _unknown(entry, slides) + _unreasoned(entry)
    held = {e.target for e in active(e for e, _ in journal)}
    if undo and entry.target not in held:
        others = [str(e) for e in active(e for e, _ in journal)]
        problems.append(Problem(str(entry), "is not left out: there is nothing to undo", f"left out now: {'; '.join(others) or 'nothing'}"))
    if not undo and entry.target in held and areas in ("", *(e.areas for e in active(e for e, _ in journal))):
        problems.append(Problem(str(entry), "is left out already", "to give another reason, --undo it first: both stay in the journal"))
    if problems:
        raise StudyError(problems)
    append_sealed(root / JOURNAL, _line(entry), journal, "nothing was left out")
    return entry


def _line(entry: Exclusion) -> dict[str, object]:
    facts = asdict(entry)
    return facts if entry.areas else {k: v for k, v in facts.items() if k != "areas"}


def _unknown(entry: Exclusion, slides: pd.DataFrame) -> list[Problem]:
    rows = slides
    for column, value in (("animal", entry.animal), ("panel", entry.panel), ("section", entry.section)):
        known: Collection[str] = sorted(set(rows[column]))
        if value or column == "animal":
            if value not in known:
                return [Problem(f"--{column}", f"there is no {column} {value!r}" + _of(entry, column), did_you_mean(value, list(known)))]
            rows = rows[rows[column] == value]
    return []


def _of(entry: Exclusion, column: str) -> str:
    return "" if column == "animal" else f" of animal {entry.animal}"


def _unreasoned(entry: Exclusion) -> list[Problem]:
    found = []
    if not entry.who:
        found.append(Problem("--who", "is empty", "give the name of the person who decides"))
    if not entry.undo and entry.reason not in EXCLUSION_REASONS:
        found.append(Problem("--reason", f"unknown code {entry.reason!r}", did_you_mean(entry.reason, list(EXCLUSION_REASONS))))
    if entry.reason == "other" and not entry.note:
        found.append(Problem("--note", "is empty, and the reason is other", "say why"))
    return found
