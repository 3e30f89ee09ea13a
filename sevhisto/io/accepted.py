"""The journal of accepted sections: who looked at which outline and found it right. It holds as long as the outline stays the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from sevhisto.io.journals import append_sealed, now, read_sealed
from sevhisto.types import Problem, StudyError

JOURNAL = "accepted.jsonl"


@dataclass(frozen=True)
class Acceptance:
    """One line of the journal.

    Attributes
    ----------
    animal, section : codes, as for exclusions
    panel : name
    outline : hash of the outlines that were looked at, `Tallies.contour`
    who, when : name, and time in UTC
    undo : this takes an earlier acceptance back
    """

    animal: str
    section: str
    panel: str
    outline: str
    who: str
    when: str
    undo: bool = False

    @property
    def place(self) -> tuple[str, str, str]:
        """Animal, section and panel."""
        return self.animal, self.section, self.panel

    def __str__(self) -> str:
        return f"animal {self.animal}, section {self.section}, panel {self.panel}"


def read_accepted(root: Path) -> list[Acceptance]:
    """Return every line of a study's journal, in order; none where there is no journal. StudyError as in `journals.read_sealed`."""
    return [entry for entry, _ in _sealed(root)]


def _sealed(root: Path) -> list[tuple[Acceptance, str]]:
    return read_sealed(root / JOURNAL, lambda facts: Acceptance(**facts), "sevhisto accept")


def held(journal: Iterable[Acceptance]) -> dict[tuple[str, str, str], Acceptance]:
    """Return the acceptance that holds now of each (animal, section, panel)."""
    found: dict[tuple[str, str, str], Acceptance] = {}
    for entry in journal:
        found.pop(entry.place, None)
        if not entry.undo:
            found[entry.place] = entry
    return found


def accept(root: Path, place: tuple[str, str, str], outline: str, who: str, undo: bool = False) -> Acceptance:
    """Append one acceptance, or one that takes it back, to the journal of a study, and return it.

    Parameters
    ----------
    place : animal and section (codes), panel
    outline : hash of the outlines that were looked at

    Raises
    ------
    StudyError
        Nobody's name; accepted already, or nothing to take back; a damaged journal, or one that cannot be written.
    """
    journal = _sealed(root)
    entry = Acceptance(*place, outline, who.strip(), now(), undo)
    before = held(e for e, _ in journal).get(place)
    problems = [] if entry.who else [Problem("--who", "is empty", "give the name of the person who decides")]
    if undo and before is None:
        problems.append(Problem(str(entry), "is not accepted: there is nothing to undo"))
    if not undo and before is not None and before.outline == outline:
        problems.append(Problem(str(entry), f"was accepted by {before.who}, {before.when}", "to take it back, --undo it"))
    if problems:
        raise StudyError(problems)
    append_sealed(root / JOURNAL, asdict(entry), journal, "nothing was accepted")
    return entry
