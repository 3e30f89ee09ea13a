"""`sevhisto exclude`: leave an animal, a panel of it or a section out, on coded ids, and what follows for the tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from sevhisto.io.exclusions import JOURNAL, Exclusion, active, read_journal
from sevhisto.io.exclusions import exclude as append
from sevhisto.io.key import codes, unblinded
from sevhisto.io.study import Study, load_study
from sevhisto.types import Problem, StudyError


def exclude(
    root: Path, animal: str, section: str = "", panel: str = "", *, who: str, reason: str = "", note: str = "", undo: bool = False
) -> Exclusion:
    """Append an exclusion, or one that takes it back, to the study's journal; the next run applies it.

    Parameters
    ----------
    animal : code, as results show it; or name, where they show names
    section, panel : empty for all
    who : name of the person who decides
    reason : code, one of `registry.EXCLUSION_REASONS`; not needed to `undo`

    Raises
    ------
    StudyError
        The study, the target, the reason or the journal is wrong: nothing was written.
    """
    study = load_study(root)
    key = codes(study)
    shows_names = not study.config.study.blind or unblinded(study.results_dir) is not None
    target = (key.animals.get(animal, animal) if shows_names else animal, section, panel)
    slides = study.slides.assign(animal=[key.animals[a] for a in study.slides["animal"]])
    return append(study.root, slides, target, who, reason, note, undo)


def left_out(study: Study) -> list[Exclusion]:
    """Return the exclusions that hold now, with true names of animals; StudyError where one names nobody of the study."""
    names = {code: name for name, code in codes(study).animals.items()}
    held = active(read_journal(study.root))
    lost = [e for e in held if e.animal not in names]
    if lost:
        what = f"leaves out {lost[0].animal}, and no animal of the study has this code"
        remedy = "codes follow the study's name and animals: give it its old name, or undo the exclusion under it"
        raise StudyError(Problem(JOURNAL, what, remedy))
    return [Exclusion(names[e.animal], e.section, e.panel, e.reason, e.who, e.when, e.note) for e in held]


def covering(exclusions: Iterable[Exclusion], animal: str, section: str, panel: str) -> Exclusion | None:
    """Return the latest exclusion that a section falls under, or None."""
    return next((e for e in reversed(list(exclusions)) if e.covers(animal, section, panel)), None)


def whole_animals(exclusions: Iterable[Exclusion]) -> set[str]:
    """Return the animals that are left out altogether."""
    return {e.animal for e in exclusions if not e.section and not e.panel}


def need_applied(study: Study, status: pd.DataFrame, shown: Mapping[str, str]) -> None:
    """Raise SevhistoError where the last run left out other sections than the journal says now; `shown` gives names their ids there."""
    held = left_out(study)
    rows = study.slides[["animal", "section", "panel"]].itertuples(index=False, name=None)
    now = {(shown[a], s, p) for a, s, p in rows if covering(held, a, s, p) is not None}
    excluded = status[status["status"] == "excluded"]
    if now != set(excluded[["animal", "section", "panel"]].itertuples(index=False, name=None)):
        raise StudyError(Problem(JOURNAL, "changed since the last run", "run `sevhisto run` again; it reads no slide twice"))
