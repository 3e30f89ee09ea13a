"""What a window needs to show the sections of a study one after the other: the worst first, under coded ids, from records alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sevhisto.config import StudyConfig
from sevhisto.decide.review import review_queue
from sevhisto.io.records import load_record, load_tallies
from sevhisto.io.store import read_table
from sevhisto.io.study import load_study
from sevhisto.pipeline.running import unaware
from sevhisto.schema import RECORDS, SECTIONS, THRESHOLDS
from sevhisto.tallies import Tallies
from sevhisto.types import INTENSITY_EDGES, Problem, SectionRecord, SevhistoError

CONTRAST_PCT = (1.0, 99.8)
_SECTION = ["animal", "section", "panel"]


@dataclass(frozen=True)
class Review:
    """A study as it was last run, ready to be looked at.

    Attributes
    ----------
    root : the study's folder
    config : its settings, without protocols and contrasts
    queue : sections in the order in which to look at them, `decide.review.review_queue` with the name of each record
    thresholds : rows of thresholds.csv
    """

    root: Path
    config: StudyConfig
    queue: pd.DataFrame
    thresholds: pd.DataFrame

    def record_path(self, i: int) -> Path:
        """Return the file of the record of row i of the queue."""
        return self.root / "results" / "records" / str(self.queue["record"].iloc[i])

    def record(self, i: int) -> SectionRecord:
        """Return the record of row i of the queue; SevhistoError where it is gone or damaged."""
        return load_record(self.record_path(i))

    def applied(self, i: int, column: str = "threshold") -> dict[str, float]:
        """Return the threshold (or `cell_threshold`) of every marker of the section in row i."""
        row = self.queue.iloc[i]
        mine = self.thresholds[(self.thresholds["panel"] == row["panel"]) & (self.thresholds["batch"] == row["batch"])]
        return dict(zip(mine["marker"], mine[column].astype(float), strict=True))

    def contrast(self, i: int) -> dict[str, tuple[float, float]]:
        """Return one display range per marker for all sections of the panel and batch of row i, so that eyes compare like with like."""
        row = self.queue.iloc[i]
        alike = (self.queue["panel"] == row["panel"]) & (self.queue["batch"] == row["batch"])
        return display_range(load_tallies(self.record_path(int(k))) for k in np.flatnonzero(alike))


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
    studied = records[records["role"].isin(["sample", "uninjured"]) & (records["record"] != "")]
    keys = studied[[*_SECTION, "record"]]
    queue = review_queue(sections.merge(keys[_SECTION], on=_SECTION)).merge(keys, on=_SECTION, how="left", validate="one_to_one")
    if queue.empty:
        remedy = "see results/status.csv for the reasons, correct them and run again"
        raise SevhistoError(Problem(str(results), "no section of an animal was measured: there is nothing to look at", remedy))
    return Review(study.root, unaware(study).config, queue, read_table(results / "thresholds.csv", THRESHOLDS))


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
