"""`sevhisto exclude`: leave an animal, a panel of it or a section out, on coded ids, and what follows for the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pandas as pd

from sevhisto.io.exclusions import JOURNAL, Exclusion, active, read_journal
from sevhisto.io.exclusions import exclude as append
from sevhisto.io.key import Key, codes, unblinded
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
    if not study.config.study.blind or unblinded(study.results_dir) is not None:  # results show names: the journal holds codes
        section = key.sections.get((animal, section), section)
        animal = key.animals.get(animal, animal)
    elif key.hide(note) != note:
        what = "holds the name of an animal, group or file, and the study is blind"
        raise StudyError(Problem("--note", what, f"say it with codes: {key.hide(note)}"))
    return append(study.root, _coded(study, key), (animal, section, panel), who, reason, note, undo)


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
