"""`sevhisto exclude`: leave an animal, a panel of it or a section out, on coded ids, and what follows for the tables."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from sevhisto.io.exclusions import JOURNAL, Exclusion, active, read_journal
from sevhisto.io.exclusions import exclude as append
from sevhisto.io.key import Key, codes, unblinded
from sevhisto.io.records import load_tallies
from sevhisto.io.store import read_table
from sevhisto.io.study import Study, load_study
from sevhisto.schema import RECORDS
from sevhisto.types import Problem, StudyError


def exclude(
    root: Path,
    animal: str,
    section: str = "",
    panel: str = "",
    *,
    who: str,
    reason: str = "",
    note: str = "",
    undo: bool = False,
    areas: bool = False,
) -> Exclusion:
    """Append an exclusion, or one that takes it back, to the study's journal; the next run applies it.

    Parameters
    ----------
    animal : code, as results show it; or name, where they show names
    section, panel : empty for all
    who : name of the person who decides
    reason : code, one of `registry.EXCLUSION_REASONS`; not needed to `undo`
    areas : give reason and name to the excluded areas that were drawn on the section, as the last run measured them

    Raises
    ------
    StudyError
        The study, the target, the reason or the journal is wrong: nothing was written.
    """
    study = load_study(root)
    key = codes(study)
    drawn = _drawn_areas(study, animal, section, panel) if areas else ""
    if not study.config.study.blind or unblinded(study.results_dir) is not None:  # results show names: the journal holds codes
        section = key.sections.get((animal, section), section)
        animal = key.animals.get(animal, animal)
    else:
        need_coded(note, key)
    return append(study.root, _coded(study, key), (animal, section, panel), who, reason, note, undo, drawn)


def need_coded(note: str, key: Key) -> None:
    """Raise StudyError where a note holds a name that a blind study hides."""
    if key.hide(note) != note:
        what = "holds the name of an animal, group or file, and the study is blind"
        raise StudyError(Problem("--note", what, f"say it with codes: {key.hide(note)}"))


def areas_digest(areas: Iterable[Mapping[str, Any]]) -> str:
    """Return the hash of all areas drawn on a section, whatever their order; `areas` are those of its record."""
    return hashlib.sha256("".join(sorted(str(a["place"]) for a in areas)).encode()).hexdigest()


def _drawn_areas(study: Study, animal: str, section: str, panel: str) -> str:
    """Return the hash of the areas that the last run found drawn on a section; names as its tables have them."""
    path = study.results_dir / RECORDS.name
    listed = read_table(path, RECORDS)
    rows = listed[(listed["animal"] == animal) & (listed["section"] == section) & (listed["panel"].eq(panel) | (panel == ""))]
    found = [
        areas for name in rows["record"] if name and (areas := load_tallies(path.parent / "records" / name).meta.get("excluded_areas"))
    ]
    if not section or len(found) != 1:
        what = "is drawn on more than one panel of this section" if len(found) > 1 else "was measured with an excluded area on it"
        what = what if len(found) > 1 else f"no such section {what}"
        raise StudyError(Problem("--areas", what, "name --section and --panel; draw the area, name it exclude, and run before"))
    return areas_digest(found[0])


def _coded(study: Study, key: Key) -> pd.DataFrame:
    """Return every listed section under its codes: animal, section, panel."""
    shown = [key.shown(*pair) for pair in zip(study.slides["animal"], study.slides["section"], strict=True)]
    return pd.DataFrame(shown, columns=["animal", "section"]).assign(panel=study.slides["panel"].to_numpy())


def left_out(study: Study, key: Key | None = None) -> list[Exclusion]:
    """Return the exclusions that hold now, with true names of animals; StudyError where one names nobody of the study.

    `key` is needed of a study that is unaware of its groups.
    """
    key = key or codes(study)
    names = {code: name for name, code in key.animals.items()}
    sections = {(animal, code): name for (animal, name), code in key.sections.items()}
    held = active(read_journal(study.root))
    lost = [e for e in held if e.animal not in names]
    if lost:
        what = f"leaves out {lost[0].animal}, and no animal of the study has this code"
        remedy = "codes follow the study's name and animals: give it its old name, or undo the exclusion under it"
        raise StudyError(Problem(JOURNAL, what, remedy))
    return [replace(e, animal=names[e.animal], section=sections.get((names[e.animal], e.section), e.section)) for e in held]


def covering(exclusions: Iterable[Exclusion], animal: str, section: str, panel: str) -> Exclusion | None:
    """Return the latest exclusion that a section falls under, or None."""
    return next((e for e in reversed(list(exclusions)) if e.covers(animal, section, panel)), None)


def signature(exclusions: Iterable[Exclusion], place: tuple[Any, ...], areas: Iterable[Mapping[str, Any]]) -> Exclusion | None:
    """Return the line of the journal that gives reason and name to the areas drawn on a section (animal, section, panel)."""
    digest = areas_digest(areas)
    here = [e for e in exclusions if e.areas == digest and (e.animal, e.section) == place[:2] and e.panel in ("", place[2])]
    return here[-1] if here else None


def whole_animals(exclusions: Iterable[Exclusion]) -> set[str]:
    """Return the animals that are left out altogether."""
    return {e.animal for e in exclusions if not e.section and not e.panel}


def need_applied(study: Study, status: pd.DataFrame, shown: Callable[[str, str], tuple[str, str]]) -> None:
    """Raise SevhistoError where the last run left out other sections than the journal says now.

    `shown` : what an animal and a section of it are called in `status`
    """
    held = left_out(study)
    rows = study.slides[["animal", "section", "panel"]].itertuples(index=False, name=None)
    now = {(*shown(a, s), p) for a, s, p in rows if covering(held, a, s, p) is not None}
    excluded = status[status["status"] == "excluded"]
    if now != set(excluded[["animal", "section", "panel"]].itertuples(index=False, name=None)):
        raise StudyError(Problem(JOURNAL, "changed since the last run", "run `sevhisto run` again; it reads no slide twice"))
