"""`sevhisto threshold`: set the threshold of a marker by hand, for a panel and batch; the next run applies it, and reads no slide."""

from __future__ import annotations

from pathlib import Path

from sevhisto.io.hand_thresholds import HandThreshold
from sevhisto.io.hand_thresholds import set_threshold as append
from sevhisto.io.key import codes
from sevhisto.io.study import load_study
from sevhisto.pipeline.excluding import need_coded
from sevhisto.pipeline.naming import Names
from sevhisto.pipeline.running import is_open


def set_threshold(root: Path, panel: str, batch: str, marker: str, value: float | None, *, who: str, note: str = "") -> HandThreshold:
    """Append a threshold to the study's journal, or, with None, that the ladder is to give it again.

    Parameters
    ----------
    batch : as the results show it
    value : on corrected intensity; it is snapped to an edge of the intensity bins when it is applied
    who : name of the person who decides

    Raises
    ------
    StudyError
        The study, the place, the value or the journal is wrong: nothing was written.
    """
    study = load_study(root)
    key = codes(study)
    if not is_open(study):
        batch = {code: name for name, code in key.batches.items()}.get(batch, batch)
        need_coded(note, key)
    entry = HandThreshold(panel, batch, marker, value, who, "", note)
    done = append(study.root, study.config, study.slides["batch"], entry)
    return HandThreshold(panel, Names.of(key, is_open(study)).batch(batch), marker, value, done.who, done.when, done.note)
