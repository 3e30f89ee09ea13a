"""What an export is made of: the tables of a study under the names that may be seen, and its sections."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from sevhisto.columns import Table
from sevhisto.config import ContrastSettings, StudyConfig
from sevhisto.export.label_tiles import Labels, Places, section_labels
from sevhisto.export.regions import section_shapes
from sevhisto.registry import Registry, split_flags
from sevhisto.rings import Shape
from sevhisto.types import AnyArray, Problem, SectionView, SevhistoError

Limits = Mapping[tuple[str, str, str], Mapping[str, float]]
"""Of each section (animal, section, panel) that the tables hold, from which intensity a cell is positive, by marker."""
ZoneFacts = Mapping[tuple[str, str, str, str], Mapping[str, float]]
"""Figures of each zone of each section, by (animal, section, panel, zone)."""


@dataclass(frozen=True)
class PlacedSection:
    """A measured section, where it lies, and what the tables say of it.

    Attributes
    ----------
    record : name of its record
    load : reads what there is to see of it
    limits : from which intensity a cell is positive, by marker; None where the section is left out
    """

    animal: str
    section: str
    panel: str
    role: str
    position_um: float
    record: str
    load: Callable[[], SectionView]
    limits: Mapping[str, float] | None = None


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
class GivenSlide:
    """A slide, ready to be written for a program that shows it: what a process of its own needs.

    Attributes
    ----------
    slide : its sections, in the order of slides.csv
    names : of each section a file name that no other of the study has
    zones : what the section table says of each zone of each section, by (animal, section, panel, zone)
    config : the settings
    notes : what a reader of any export must know
    places : tells where the pixels of a section count, from its record
    """

    slide: PlacedSlide
    names: Sequence[str]
    zones: ZoneFacts
    config: StudyConfig
    notes: Sequence[str]
    places: Callable[[SectionView], Places]

    @cached_property
    def views(self) -> Sequence[SectionView]:
        """What there is to see of each section, read once for all formats."""
        return [section.load() for section in self.slide.sections]

    @cached_property
    def outlines(self) -> Sequence[Sequence[Shape]]:
        """The outlines of each section in full-resolution pixels of the slide."""
        return [section_shapes(view, self.config) for view in self.views]

    @cached_property
    def labels(self) -> Sequence[Sequence[Labels]]:
        """Zones and regions of each section as labels; compressed."""
        return [section_labels(self.places(view), self.config) for view in self.views]


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
        return notes(self.study, self.made, self.blinded, self.stamp)


def notes(study: str, made: Mapping[str, str], blinded: bool, stamp: Sequence[str]) -> list[str]:
    """Return what a reader of any export must know; arguments as in `Given`."""
    said = [f"{study}: made by sevhisto {made['version']} from the run that finished {made['finished']}."]
    if blinded:
        said.append("Animals, groups and files are codes: the key is closed.")
    return said + ([f"Flags of the whole study: {', '.join(sorted(set(stamp)))}."] if stamp else [])


Export = Callable[[Given, Path], list[str]]
"""Writes one format into an empty folder; returns a line for each thing that a reader must know of it."""
formats: Registry[Export] = Registry("export format")
"""What `sevhisto export --to` can be given."""


SlideExport = Callable[[GivenSlide, Path], list[str]]
"""Writes what one format holds of a slide; returns lines as an `Export` does, the same for every slide."""
slide_formats: Registry[SlideExport] = Registry("export format of slides")
"""Formats that are written slide by slide, each slide by any process."""


def cell_limits(sections: pd.DataFrame, config: StudyConfig) -> Limits:
    """Return the `cell_threshold` of every marker of every section of sections.csv, without nuclear markers, which decide nothing."""
    rows = sections[sections["zone"] == "all"]
    found: dict[tuple[str, str, str], dict[str, float]] = {}
    for animal, section, panel, marker, limit in rows[["animal", "section", "panel", "marker", "cell_threshold"]].itertuples(index=False):
        limits = found.setdefault((animal, section, panel), {})
        if marker != config.panels[panel].marker_of_role("nuclei"):
            limits[marker] = float(limit)
    return found


def zone_facts(sections: pd.DataFrame) -> ZoneFacts:
    """Return what the section table says of each zone: examined area, and per marker positive area, share and cells."""
    found: dict[tuple[str, str, str, str], dict[str, float]] = {}
    columns = ["animal", "section", "panel", "zone", "marker", "zone_um2", "positive_um2", "n_cells"]
    for animal, section, panel, zone, marker, area, positive, cells in sections[columns].itertuples(index=False):
        facts = found.setdefault((animal, section, panel, zone), {"zone_um2": area})
        told = {"positive_um2": positive, "fraction_pct": 100 * positive / area if area else math.nan, "n_cells": cells}
        facts |= {f"{marker}: {name}": value for name, value in told.items() if value == value}
    return {key: {n: v for n, v in facts.items() if v == v} for key, facts in found.items()}


def compartments(config: StudyConfig, panel: str, marker: str) -> list[str]:
    """Return the columns of cells whose larger value decides whether a cell is positive for a marker."""
    where = next(c.cell_compartment for c in config.panels[panel].channels if c.marker == marker)
    return [f"{marker}_{part}" for part in (("ring", "nucleus") if where == "either" else (where,))]


def section_cells(section: PlacedSection, view: SectionView, config: StudyConfig) -> pd.DataFrame | None:
    """Return the cells of a section as in cells.parquet, with one bool column ``<marker>_positive`` per decided marker.

    None where the section is left out, or has no cells.
    """
    return None if section.limits is None else decided_cells(view, config, section.panel, section.limits)


def decided_cells(view: SectionView, config: StudyConfig, panel: str, limits: Mapping[str, float]) -> pd.DataFrame | None:
    """Return the cells of a section, and which are positive; None where it has none.

    A cell is positive where the larger of the compartments that count for its marker reaches the section's limit, as in the tables.
    """
    cells = view.cells
    if not cells or not len(cells["y_um"]):
        return None
    columns: dict[str, AnyArray] = {"cell": np.arange(1, len(cells["y_um"]) + 1), **cells}
    for marker in config.panels[panel].markers:
        names = compartments(config, panel, marker)
        if marker in limits and set(names) <= set(cells):
            columns[f"{marker}_positive"] = np.maximum.reduce([cells[n] for n in names]) >= limits[marker]
    return pd.DataFrame(columns)


def told_of(animals: pd.Series[str], by_animal: pd.Series[str]) -> pd.Series[str]:
    """Return what is told of each animal, as text; empty where nothing is."""
    known = {str(a): str(v) for a, v in by_animal.items()}
    return pd.Series([known.get(str(a), "") for a in animals], index=animals.index, dtype=object)


def stamped_flags(given: Given, cell: str) -> str:
    """Return the flags of a cell with those of the whole study, sorted."""
    return ";".join(sorted(split_flags(cell) | set(given.stamp)))
