"""`sevhisto check`."""

from __future__ import annotations

from sevhisto.commands.options import StudyFolder
from sevhisto.commands.voice import next_step, note, say
from sevhisto.types import SevhistoError

EXAMPLES = ("sevhisto check my_study", "sevhisto check my_study --json")


def check(study: StudyFolder) -> None:
    """Say everything that is wrong with a study, before a pixel is read."""
    from sevhisto.pipeline import check as look

    problems, notes = look(study)
    for text in notes:
        note(text)
    if problems:
        raise SevhistoError(problems)
    say("No problem found.")
    next_step(f"sevhisto run {study}")
