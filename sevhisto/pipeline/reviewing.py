"""What a window needs to show the sections of a study one after the other: the worst first, under coded ids, from records alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sevhisto.config import StudyConfig
from sevhisto.decide.review import review_queue
from sevhisto.io.files import write_json
from sevhisto.io.key import Key, codes
from sevhisto.io.records import load_tallies, load_view
from sevhisto.io.store import read_table
from sevhisto.io.study import Study, load_study
from sevhisto.pipeline.accepting import accepted_now
from sevhisto.pipeline.excluding import covering, left_out
from sevhisto.pipeline.running import is_open, unaware
from sevhisto.registry import split_flags
from sevhisto.schema import RECORDS, SECTIONS, STATUS, THRESHOLDS
from sevhisto.tallies import Tallies
from sevhisto.types import INTENSITY_EDGES, Problem, SectionView, SevhistoError

CONTRAST_PCT = (1.0, 99.8)
CONTRAST_SECTIONS = 12
_SECTION = ["animal", "section", "panel"]
Place = tuple[str, str, str]
"""Animal, section, panel, as the results show them."""


@dataclass(frozen=True)
class Review:
    """A study as it was last run, ready to be looked at.

    Attributes
    ----------
    root : the study's folder
    config : its settings, without protocols and contrasts
    queue : sections in the order in which to look at them, `decide.review.review_queue` with the name of each record
    thresholds : rows of thresholds.csv
    records : rows of records.csv with a record, controls too
    left_out : animal, section and panel of what the last run left out
    study : the study as its files were when it was opened, unaware of its groups
    key : its codes
    """

    root: Path
    config: StudyConfig
    queue: pd.DataFrame
    thresholds: pd.DataFrame
    records: pd.DataFrame
    left_out: frozenset[Place]
    study: Study
    key: Key

    def place(self, i: int) -> Place:
        """Return animal, section and panel of row i of the queue, as the results show them."""
        animal, section, panel = (str(self.queue[c].iloc[i]) for c in _SECTION)
        return animal, section, panel

    def row_of(self, place: Place) -> int | None:
        """Return the row of the queue that holds a section; None where it is not there any more."""
        found = np.flatnonzero([tuple(row) == place for row in self.queue[_SECTION].itertuples(index=False, name=None)])
        return int(found[0]) if len(found) else None

    def record_path(self, i: int) -> Path:
        """Return the file of the record of row i of the queue."""
        return self.root / "results" / "records" / str(self.queue["record"].iloc[i])

    def record(self, i: int) -> SectionView:
        """Return what there is to see of row i of the queue; SevhistoError where its record is gone or damaged."""
        return load_view(self.record_path(i))

    def applied(self, i: int, column: str = "threshold") -> dict[str, float]:
        """Return the threshold (or `cell_threshold`) of every marker of the section in row i."""
        row = self.queue.iloc[i]
        mine = self.thresholds[(self.thresholds["panel"] == row["panel"]) & (self.thresholds["batch"] == row["batch"])]
        return dict(zip(mine["marker"], mine[column].astype(float), strict=True))

    def contrast(self, i: int) -> dict[str, tuple[float, float]]:
        """Return one display range per marker for all sections of the panel and batch of row i, so that eyes compare like with like.

        It is taken from `CONTRAST_SECTIONS` of them, spread over the queue: reading all would keep a person waiting.
        """
        row = self.queue.iloc[i]
        alike = np.flatnonzero((self.queue["panel"] == row["panel"]) & (self.queue["batch"] == row["batch"]))
        some = alike[np.unique(np.linspace(0, len(alike) - 1, min(CONTRAST_SECTIONS, len(alike))).round().astype(int))]
        return display_range(_readable(self.record_path(int(k)) for k in some))


def open_review(root: Path) -> Review:
    """Return a study that was run, for looking at; only slides of animals, no controls.

    Raises
    ------
    SevhistoError
        The study's files are wrong, it was not run yet, or nothing was measured.
    """
    study = load_study(root)
    results = study.results_dir
    records = read_table(results / "records.csv", RECORDS)
    sections = read_table(results / "sections.csv", SECTIONS)
    status = read_table(results / "status.csv", STATUS)
    excluded = status.loc[status["status"] == "excluded", _SECTION].itertuples(index=False, name=None)
    studied = records[records["role"].isin(["sample", "uninjured"]) & (records["record"] != "")]
    keys = studied[[*_SECTION, "record"]]
    queue = review_queue(sections.merge(keys[_SECTION], on=_SECTION)).merge(keys, on=_SECTION, how="left", validate="one_to_one")
    if queue.empty:
        remedy = "see results/status.csv for the reasons, correct them and run again"
        raise SevhistoError(Problem(str(results), "no section of an animal was measured: there is nothing to look at", remedy))
    thresholds = read_table(results / "thresholds.csv", THRESHOLDS)
    measured = records[records["record"] != ""].reset_index(drop=True)
    blinded = unaware(study)
    return Review(study.root, blinded.config, queue, thresholds, measured, frozenset(excluded), blinded, codes(study))


def _readable(paths: Iterable[Path]) -> Iterator[Tallies]:
    """Yield the tallies of records, without those that are damaged or gone: they are told when their section is shown."""
    for path in paths:
        with suppress(SevhistoError):
            yield load_tallies(path)


def display_range(tallies: Iterable[Tallies], percentiles: Sequence[float] = CONTRAST_PCT) -> dict[str, tuple[float, float]]:
    """Return the percentiles of each marker's corrected intensity (grey levels) over the examined tissue of all sections together.

    A marker that is seen on no tissue gets (0, 1).
    """
    pooled: dict[str, np.ndarray] = {}
    for tally in tallies:
        counts = tally.sums["counts", ""]
        whole = counts.over([(0, counts.shape[2], (0, 1))])[0]
        for marker, histogram in zip(tally.markers, whole, strict=True):
            pooled[marker] = pooled.get(marker, 0) + histogram
    return {marker: _range(histogram, percentiles) for marker, histogram in pooled.items()}


def _range(histogram: np.ndarray, percentiles: Sequence[float]) -> tuple[float, float]:
    total = int(histogram.sum())
    if not total:
        return 0.0, 1.0
    bins = np.searchsorted(np.cumsum(histogram) / total, np.array(percentiles) / 100)
    low, high = (float(INTENSITY_EDGES[min(int(b), len(INTENSITY_EDGES) - 1)]) for b in bins)
    return max(low, 0.0), max(high, low + 1.0)


def compartments(config: StudyConfig, panel: str) -> Mapping[str, str]:
    """Return where a positive cell shows each marker of a panel, ``either``, ``ring`` or ``nucleus``."""
    return {c.marker: c.cell_compartment for c in config.panels[panel].channels}


def states(review: Review) -> list[str]:
    """Return what a person has decided on each row of the queue: ``left out``, ``drawn``, ``accepted``, or empty, as the journals say now.

    An acceptance counts as long as the outline is the one that was seen. StudyError where a journal is damaged.
    """
    study = load_study(review.root)
    key = codes(study)
    shown = key.shown if not is_open(study) else lambda animal, section: (animal, section)
    excluded = [e for e in left_out(study) if not e.areas]
    accepted = {(*shown(a, s), p): outline for (a, s, p), outline in accepted_now(study).items()}
    gone = {
        (*shown(a, s), p)
        for a, s, p in study.slides[_SECTION].itertuples(index=False, name=None)
        if covering(excluded, a, s, p) is not None
    }
    found = []
    for i, flags in enumerate(review.queue["flags"]):
        place, known = review.place(i), split_flags(str(flags))
        seen = accepted.get(place)
        if place in gone:
            found.append("left out")
        elif "contour_drawn" in known:
            found.append("drawn")
        else:
            found.append("accepted" if seen is not None and _outline(review, i) == seen else "")
    return found


def _outline(review: Review, i: int) -> str:
    try:
        return load_tallies(review.record_path(i)).contour
    except SevhistoError:  # told when the section is shown
        return ""


BOOKMARK = "review.json"


def remember(review: Review, i: int, who: str) -> None:
    """Keep where a person is in the queue, for the next time; SevhistoError where it cannot be written."""
    write_json(review.root / "results" / BOOKMARK, {"place": list(review.place(i)), "who": who})


def recall(review: Review) -> tuple[int, str]:
    """Return the row of the queue where a person stopped, and who that was; the first row and nobody where that is not known."""
    try:
        kept = json.loads((review.root / "results" / BOOKMARK).read_text("utf-8"))
        place, who = tuple(map(str, kept["place"])), str(kept["who"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, ""
    row = review.row_of((place[0], place[1], place[2])) if len(place) == 3 else None
    return (0 if row is None else row), who
