"""What a slider of thresholds needs of a panel and batch: tallies read once, then only look-ups."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sevhisto.config import BatchSettings, StudyConfig
from sevhisto.decide.live import AreaCurves, area_curves
from sevhisto.decide.pools import Pools, pool_sections
from sevhisto.decide.rows import STUDIED_ROLES, SectionRow, SectionSummary, summarise
from sevhisto.decide.thresholds import find_thresholds
from sevhisto.io.hand_thresholds import HandThreshold, held, read_hand_thresholds
from sevhisto.io.records import load_tallies
from sevhisto.pipeline.reviewing import Review
from sevhisto.types import INTENSITY_EDGES, IntArray, SevhistoError, snap_threshold

RUNGS = ("no_primary", "unstained", "uninjured", "batch")


@dataclass
class LiveBatch:
    """The sections of one panel and batch, controls too, summed up by zone.

    Attributes
    ----------
    panel, batch : as the results show them
    summaries : of every section that has a readable record
    unread : how many have not
    """

    review: Review
    panel: str
    batch: str
    summaries: list[SectionSummary]
    unread: int
    pools: Pools
    _curves: dict[str, AreaCurves] = field(default_factory=dict)

    def curves(self, marker: str) -> AreaCurves:
        """Return the areas of a marker in the animals' sections, at every threshold; made when asked for first."""
        if marker not in self._curves:
            studied = [s for s in self.summaries if s.row.role in STUDIED_ROLES]
            left_out = [(a, s) for a, s, panel in self.review.left_out if panel == self.panel]
            self._curves[marker] = area_curves(studied, marker, left_out)
        return self._curves[marker]

    def ladder(self, marker: str) -> tuple[float, str]:
        """Return the threshold that the study's own ladder gives, and the name of its rung; NaN and why where it gives none.

        With `thresholds.use_bridge` it is that of this batch before bridges.
        """
        kept = [s for s in self.summaries if (s.row.animal, s.row.section, self.panel) not in self.review.left_out]
        try:
            found = find_thresholds(kept, without_hand(self.review.config, self.batch))
        except SevhistoError as error:
            return np.nan, error.problems[0].what
        threshold = found[self.panel, self.batch, marker]
        return threshold.value, threshold.source

    def distribution(self, marker: str, rung: str) -> tuple[IntArray, IntArray]:
        """Return pixels by intensity bin, (N_INTENSITY,) int64, of the rung's controls and of the batch's samples."""
        pools = self.pools[self.panel, self.batch, marker]
        return pools.of_rung(rung).counts, pools.of_rung("batch").counts

    def rung(self, marker: str) -> str:
        """Return the first rung of the ladder that has tissue here, or the last."""
        pools = self.pools[self.panel, self.batch, marker]
        ladder = [r for r in self.review.config.thresholds.ladder if pools.of_rung(r).counts.sum()]
        return ladder[0] if ladder else "batch"


def without_hand(config: StudyConfig, batch: str) -> StudyConfig:
    """Return the settings without thresholds that were set by hand for a batch."""
    known = config.batches.get(batch, BatchSettings())
    return config.model_copy(update={"batches": {**config.batches, batch: known.model_copy(update={"thresholds": {}})}})


def live_batch(review: Review, i: int) -> LiveBatch:
    """Return the panel and batch of row i of the queue, summed up; a few ms a section, and no pixel is read."""
    panel, batch = (str(review.queue[c].iloc[i]) for c in ("panel", "batch"))
    listed = review.records[(review.records["panel"] == panel) & (review.records["batch"] == batch)]
    summaries, unread = [], 0
    for line in listed.to_dict("records"):
        animal, section, role = (str(line[c]) for c in ("animal", "section", "role"))
        row = SectionRow(animal, section, panel, batch, role, float(line["position_um"]), "ok")
        try:
            row.record = load_tallies(review.root / "results" / "records" / str(line["record"]))
            summaries.append(summarise(row, review.config))
        except SevhistoError:
            unread += 1
    kept = [s for s in summaries if (s.row.animal, s.row.section, panel) not in review.left_out]
    return LiveBatch(review, panel, batch, summaries, unread, pool_sections(kept))


def set_by_hand(review: Review, panel: str, batch: str, marker: str) -> HandThreshold | None:
    """Return who set the threshold of a marker by hand, and when; None where nobody did. StudyError where the journal is damaged."""
    return next((t for t in held(read_hand_thresholds(review.root)) if t.place == (panel, batch, marker)), None)


def steps(lowest: float = 0.0) -> tuple[int, int]:
    """Return the first and the last edge of the intensity bins to which a slider can be moved."""
    return int(np.searchsorted(INTENSITY_EDGES, lowest)), len(INTENSITY_EDGES) - 1


def edge_of(value: float) -> int:
    """Return the number of the edge to which a threshold is snapped."""
    return int(np.searchsorted(INTENSITY_EDGES, snap_threshold(value)))
