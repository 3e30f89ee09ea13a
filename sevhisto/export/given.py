"""What an export is made of: the tables of a study under the names that may be seen, and its sections."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from sevhisto.columns import Table
from sevhisto.config import ContrastSettings, PanelSettings, StudyConfig
from sevhisto.registry import Registry, split_flags
from sevhisto.rings import Shape
from sevhisto.types import AnyArray, Problem, SectionView, SevhistoError


@dataclass(frozen=True)
class PlacedSection:
    """A measured section and where it lies; `load` reads what there is to see of it."""

    animal: str
    section: str
    panel: str
    role: str
    position_um: float
    record: str
    load: Callable[[], SectionView]


@dataclass(frozen=True)
class PlacedSlide:
    """One scene of an image file, what was measured on it, and what a person drew there to be left out or as white matter.

    Attributes
    ----------
    name : path that its outlines have under corrections/, without ending
    drawn : shapes in full-resolution pixels of the slide
    """

    name: str
    sections: Sequence[PlacedSection]
    drawn: Sequence[Shape] = ()


@dataclass(frozen=True)
class Given:
    """A study, ready to be written for another program.

    Attributes
    ----------
    study : its name
    blinded : animals, groups and files are codes
    stamp : flags that everything must carry
    made : version of the program, and when the run finished
    tables : every table of results/ that is there, but that of the cells
    cells : the file cells.parquet: it may be larger than memory
    animals : long animal table with the composite index, whose rows end in a column ``endpoint``
    wide : the same, one row per animal
    groups : animal to group, of those that are compared
    plan : contrasts that were made
    roles : endpoint to ``primary`` or ``secondary``
    titles : endpoint to its name in words and its unit
    motor : one row per score: animal, day, score
    people : animals.csv by animal; while blinded without what tells the group
    exclusions : `schema_evidence.ODC_SCI_EXCLUSIONS`
    config : the settings, groups named as in `groups`
    slides : every image with a measured section
    """

    study: str
    blinded: bool
    stamp: tuple[str, ...]
    made: Mapping[str, str]
    tables: Mapping[str, tuple[Table, pd.DataFrame]]
    cells: Path
    animals: pd.DataFrame
    wide: pd.DataFrame
    groups: pd.Series[str]
    plan: Sequence[ContrastSettings]
    roles: Mapping[str, str]
    titles: Mapping[str, tuple[str, str]]
    motor: pd.DataFrame
    people: pd.DataFrame
    exclusions: pd.DataFrame
    config: StudyConfig
    slides: Sequence[PlacedSlide] = field(default_factory=list)

    def table(self, name: str) -> pd.DataFrame:
        """Return a table of results/; SevhistoError that says which command writes it."""
        if name not in self.tables:
            command = "run" if name in ("sections.csv", "profiles.csv") else "compare"
            raise SevhistoError(Problem(f"results/{name}", "is not there", f"run `sevhisto {command}` on the study first"))
        return self.tables[name][1]

    def members(self) -> dict[str, list[str]]:
        """Return the animals of each group, groups in the order of `groups`, animals sorted; all as one where there are no groups."""
        found: dict[str, list[str]] = {}
        for animal, group in self.groups.items():
            found.setdefault(str(group), []).append(str(animal))
        return {group: sorted(animals) for group, animals in found.items()} or {"animals": sorted(self.wide["animal"])}

    def group_of(self, animals: pd.Series[str]) -> pd.Series[str]:
        """Return the group of each animal, empty for one that takes no part."""
        return told_of(animals, self.groups)

    def notes(self) -> list[str]:
        """Return what a reader of any export must know."""
        said = [f"{self.study}: made by sevhisto {self.made['version']} from the run that finished {self.made['finished']}."]
        if self.blinded:
            said.append("Animals, groups and files are codes: the key is closed.")
        flagged = set(self.stamp)
        return said + ([f"Flags of the whole study: {', '.join(sorted(flagged))}."] if flagged else [])


Export = Callable[[Given, Path], list[str]]
"""Writes one format into an empty folder; returns a line for each thing that a reader must know of it."""
formats: Registry[Export] = Registry("export format")
"""What `sevhisto export --to` can be given."""


Limits = Mapping[tuple[str, str, str], Mapping[str, float]]
"""Of each section (animal, section, panel) that the tables hold, from which intensity a cell is positive, by marker."""


def cell_limits(given: Given) -> Limits:
    """Return the `cell_threshold` of every marker of every section, without nuclear markers, which decide nothing."""
    return limits_of(given.table("sections.csv"), given.config)


def limits_of(sections: pd.DataFrame, config: StudyConfig) -> Limits:
    """Return the same from sections.csv and the study's settings."""
    rows = sections[sections["zone"] == "all"]
    found: dict[tuple[str, str, str], dict[str, float]] = {}
    for animal, section, panel, marker, limit in rows[["animal", "section", "panel", "marker", "cell_threshold"]].itertuples(index=False):
        limits = found.setdefault((animal, section, panel), {})
        if marker != config.panels[panel].marker_of_role("nuclei"):
            limits[marker] = float(limit)
    return found


def section_cells(given: Given, section: PlacedSection, view: SectionView, limits: Limits) -> pd.DataFrame | None:
    """Return the cells of a section as in cells.parquet, with one bool column ``<marker>_positive`` per decided marker.

    None where the section is left out, or has no cells.
    """
    mine = limits.get((section.animal, section.section, section.panel))
    return None if mine is None else decided_cells(view, given.config.panels[section.panel], mine)


def decided_cells(view: SectionView, panel: PanelSettings, limits: Mapping[str, float]) -> pd.DataFrame | None:
    """Return the cells of a section, and which are positive; None where it has none.

    A cell is positive where the larger of the compartments that count for its marker reaches the section's limit, as in the tables.
    """
    if not view.cells or not len(view.cells["y_um"]):
        return None
    columns: dict[str, AnyArray] = {"cell": np.arange(1, len(view.cells["y_um"]) + 1), **view.cells}
    for channel in panel.channels:
        parts = ("ring", "nucleus") if channel.cell_compartment == "either" else (channel.cell_compartment,)
        names = [f"{channel.marker}_{part}" for part in parts]
        if channel.marker in limits and set(names) <= set(view.cells):
            columns[f"{channel.marker}_positive"] = np.maximum.reduce([view.cells[n] for n in names]) >= limits[channel.marker]
    return pd.DataFrame(columns)


def told_of(animals: pd.Series[str], by_animal: pd.Series[str]) -> pd.Series[str]:
    """Return what is told of each animal, as text; empty where nothing is."""
    known = {str(a): str(v) for a, v in by_animal.items()}
    return pd.Series([known.get(str(a), "") for a in animals], index=animals.index, dtype=object)


def stamped_flags(given: Given, cell: str) -> str:
    """Return the flags of a cell with those of the whole study, sorted."""
    return ";".join(sorted(split_flags(cell) | set(given.stamp)))
