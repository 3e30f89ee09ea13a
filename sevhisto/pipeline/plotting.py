"""The plots of an open study for a window: from an animal's dot to its sections, from a cell to its place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sevhisto.compare.endpoints import choose_endpoints, wide
from sevhisto.io.store import read_table
from sevhisto.io.study import load_study
from sevhisto.pipeline.facts import last_facts
from sevhisto.pipeline.reviewing import Review, open_review
from sevhisto.pipeline.running import is_open
from sevhisto.report.dots import DotPlot, group_dots, relation_dots
from sevhisto.report.words import endpoint_words
from sevhisto.schema import ANIMALS, RELATIONS
from sevhisto.types import Problem, SevhistoError, Shown

WHY_NOT = (
    "is blind: a plot that shows which animal lies where, by group, would tell the groups to the person who still draws outlines and "
    "sets thresholds"
)


@dataclass(frozen=True)
class StudyPlots:
    """What can be plotted of an open study.

    Attributes
    ----------
    review : its sections
    table : one row per animal (index), one column per endpoint
    groups : protocol of each animal that takes part, in the order of study.toml
    endpoints : primary ones first
    pairs : matrix and motor endpoint of each relation of relations.csv
    """

    review: Review
    table: pd.DataFrame
    groups: pd.Series[str]
    endpoints: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]

    @property
    def names(self) -> list[str]:
        """What each plot shows, in words: endpoints, then pairs."""
        singles = [f"{endpoint_words(e).axis}{_panel(e)}" for e in self.endpoints]
        return singles + [f"{endpoint_words(b).label} against {endpoint_words(a).label}{_panel(a)}" for a, b in self.pairs]

    def plot(self, number: int, size_px: tuple[int, int], marked: str = "") -> DotPlot:
        """Return plot `number` of `names`, with a ring around the dot of one animal."""
        if number < len(self.endpoints):
            endpoint = self.endpoints[number]
            return group_dots(self.table[endpoint], self.groups, endpoint, size_px, marked)
        return relation_dots(self.table, self.groups, self.pairs[number - len(self.endpoints)], size_px, marked)

    def told(self, number: int, animal: str) -> str:
        """Return an animal and its values in a plot, in words."""
        values = [f"{endpoint_words(c).axis}: {float(self.table[c][animal]):.4g}" for c in self._columns(number)]
        return "\n".join([f"{animal}, {self.groups[animal]!s}", *values])

    def _columns(self, number: int) -> tuple[str, ...]:
        return self.endpoints[number : number + 1] or self.pairs[number - len(self.endpoints)]

    def sections(self, animal: str, number: int) -> pd.DataFrame:
        """Return an animal's sections along the cord (rows of the queue), those of the plot's panel first."""
        mine = self.review.queue[self.review.queue["animal"] == animal]
        panel = endpoint_words(
            self.endpoints[number] if number < len(self.endpoints) else self.pairs[number - len(self.endpoints)][0]
        ).panel
        return mine.assign(other=mine["panel"] != panel).sort_values(["other", "panel", "position_um", "section"]).drop(columns="other")


def _panel(endpoint: str) -> str:
    words = endpoint_words(endpoint)
    return f", panel {words.panel}" if words.tissue and words.panel else ""


def open_plots(root: Path) -> StudyPlots:
    """Return the plots of a study.

    Raises
    ------
    SevhistoError
        The study is blind, was not run, or names no protocols.
    """
    study = load_study(root)
    last_facts(study.results_dir)
    if not is_open(study):
        remedy = "when outlines and thresholds are final, open the key in a terminal: sevhisto compare STUDY --unblind"
        raise SevhistoError(Problem("The study", WHY_NOT, remedy))
    table = wide(read_table(study.results_dir / "animals.csv", ANIMALS)).set_index("animal")
    sheet = study.animals.set_index("animal")["protocol"]
    order = [p for p in study.config.protocols if (sheet == p).any()]
    groups = pd.concat([sheet[sheet == p] for p in order]) if order else sheet[:0]
    groups = groups[groups.index.isin(table.index)]
    if groups.empty:
        raise SevhistoError(Problem("The study", "has no animal with a protocol and results", "fill in animals.csv and study.toml"))
    primary, secondary = choose_endpoints(study.config, table.columns)
    path = study.results_dir / RELATIONS.name
    relations = (
        read_table(path, RELATIONS)[["ecm", "motor"]].drop_duplicates() if path.is_file() else pd.DataFrame(columns=["ecm", "motor"])
    )
    known = relations["ecm"].isin(table.columns) & relations["motor"].isin(table.columns)
    pairs = tuple((str(a), str(b)) for a, b in relations[known].itertuples(index=False))
    return StudyPlots(open_review(root), table, groups, (*primary, *secondary), pairs)


def cell_table(record: Shown) -> pd.DataFrame:
    """Return the cells of a section: number, y and x on the slide (um), distance to the lesion border (um, NaN without one), area (um2)."""
    cells = record.cells
    if not cells or not len(cells["y_um"]):
        return pd.DataFrame(columns=["cell", "y_um", "x_um", "distance_um", "area_um2"])
    corner = np.array(record.meta["corner_px"], float) * float(record.meta["um_per_px"])
    found = pd.DataFrame({name: cells[name].astype(float) for name in ("y_um", "x_um", "distance_um", "area_um2")})
    found[["y_um", "x_um"]] += corner
    return found.assign(cell=range(1, len(found) + 1))[["cell", "y_um", "x_um", "distance_um", "area_um2"]]
