"""`sevhisto accept`: a person looked at a section's outlines and found them right; what follows for its flags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from sevhisto.io.accepted import JOURNAL, Acceptance, held, read_accepted
from sevhisto.io.accepted import accept as append
from sevhisto.io.key import Key, codes
from sevhisto.io.records import load_tallies
from sevhisto.io.store import read_table
from sevhisto.io.study import Study, load_study
from sevhisto.schema import RECORDS
from sevhisto.tallies import Tallies
from sevhisto.types import Problem, StudyError

Accepted = Mapping[tuple[str, str, str], str]
"""Hash of the outlines that were accepted, by animal, section (true names) and panel."""
SETTLED = frozenset({"contour_unreviewed", "contour_uncertain"})
"""Flags that say that nobody has looked, and are gone once somebody has."""


def accept(root: Path, animal: str, section: str, panel: str = "", *, who: str, undo: bool = False) -> Acceptance:
    """Append to the study's journal that a person accepted a section as the last run outlined it, or takes that back.

    The next run applies it.

    Parameters
    ----------
    animal, section : as the results show them
    panel : not needed where the section was stained with one panel only
    who : name of the person who decides

    Raises
    ------
    StudyError
        The study, the section or the journal is wrong, or the section was not measured: nothing was written.
    """
    study = load_study(root)
    record, panel = _measured(study, animal, section, panel)
    key = codes(study)
    true = {shown: name for name, shown in key.animals.items()}.get(animal, animal)
    sections = {(a, code): name for (a, name), code in key.sections.items()}
    shown = key.shown(true, sections.get((true, section), section))  # the journal holds codes, whatever results show
    return append(study.root, (*shown, panel), load_tallies(record).contour, who, undo)


def _measured(study: Study, animal: str, section: str, panel: str) -> tuple[Path, str]:
    """Return the record of a section and its panel; names as the last run's tables have them."""
    path = study.results_dir / RECORDS.name
    listed = read_table(path, RECORDS)
    rows = listed[(listed["animal"] == animal) & (listed["section"] == section) & (listed["panel"].eq(panel) | (panel == ""))]
    if len(rows) != 1:
        known = f"; its panels are {', '.join(sorted(rows['panel']))}" if len(rows) else ""
        what = "was stained with more than one panel" if len(rows) else "is not in the last run" + (f", panel {panel}" if panel else "")
        raise StudyError(Problem(f"animal {animal}, section {section}", what, f"name --animal, --section and --panel{known}"))
    record, panel = str(rows["record"].iloc[0]), str(rows["panel"].iloc[0])
    if not record:
        what = "was not measured: there is nothing to accept"
        raise StudyError(Problem(f"animal {animal}, section {section}, panel {panel}", what, "results/status.csv says why"))
    return path.parent / "records" / record, panel


def accepted_now(study: Study, key: Key | None = None) -> dict[tuple[str, str, str], str]:
    """Return what is accepted now, under true names; StudyError where the journal names no section of the study.

    `key` is needed of a study that is unaware of its groups.
    """
    key = key or codes(study)
    rows = study.slides[["animal", "section", "panel"]].itertuples(index=False, name=None)
    names = {(*key.shown(animal, section), panel): (animal, section, panel) for animal, section, panel in rows}
    found = held(read_accepted(study.root))
    lost = [str(found[place]) for place in found if place not in names]
    if lost:
        remedy = "codes follow the study's name and animals: give it its old name, or undo the acceptance under it"
        raise StudyError(Problem(JOURNAL, f"accepts {lost[0]}, which is no section of the study", remedy))
    return {names[place]: entry.outline for place, entry in found.items()}


def settled(record: Tallies, place: tuple[str, str, str], accepted: Accepted) -> Tallies:
    """Return a record with the flags that it has once a person accepted its outlines; itself where they were drawn, or not accepted so."""
    flags = set(record.meta["flags"])
    if accepted.get(place) != record.contour or flags & {"contour_drawn", "no_landmark"}:
        return record
    return replace(record, meta={**record.meta, "flags": sorted(flags - SETTLED | {"contour_accepted"})})
