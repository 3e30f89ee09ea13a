"""What exports are made of: the tables of a study under the names that may be seen, and its slides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from sevhisto import __version__
from sevhisto.columns import Table
from sevhisto.compare.endpoints import choose_endpoints, wide, with_endpoints
from sevhisto.compare.protocols import study_contrasts
from sevhisto.export.given import (
    Given,
    GivenSlide,
    PlacedSection,
    PlacedSlide,
    cell_limits,
    notes,
    zone_facts,
)
from sevhisto.export.text import file_names
from sevhisto.imaging.places import SectionPlaces
from sevhisto.io.annotations import Outline, kind_of, read_outlines
from sevhisto.io.key import codes
from sevhisto.io.records import load_view
from sevhisto.io.store import read_table
from sevhisto.io.study import Study
from sevhisto.pipeline.facts import last_facts
from sevhisto.pipeline.further import with_composite
from sevhisto.pipeline.grouping import study_groups
from sevhisto.pipeline.naming import Names
from sevhisto.pipeline.running import frozen_now, is_open, stamp_of
from sevhisto.rings import Shape, nested
from sevhisto.schema import ANIMALS, CELLS, EXPOSURE, RECORDS, SECTIONS, TABLES
from sevhisto.schema_evidence import EVIDENCE, EXCLUSION_BALANCE, ODC_SCI_EXCLUSIONS


def study_notes(study: Study) -> list[str]:
    """Return what a reader of any export must know; SevhistoError where the study was not run."""
    facts, opened = last_facts(study.results_dir), is_open(study)
    title = Names.of(codes(study), opened).written(study.config.study.name)
    return notes(title, _made(facts), not opened, sorted(stamp_of(study, frozen_now(study, facts))))


def _made(facts: Mapping[str, Any]) -> dict[str, str]:
    return {"version": __version__, "finished": str(facts["finished"])}


class _Tables(Mapping[str, tuple[Table, pd.DataFrame]]):
    """The tables of results/, each read when it is asked for."""

    def __init__(self, results: Path, opened: bool) -> None:
        hidden = (CELLS,) if opened else (CELLS, EXPOSURE, EXCLUSION_BALANCE)  # cells may not fit into memory; a profile tells the group
        self._results = results
        self._known = {t.name: t for t in (*TABLES, *EVIDENCE) if t not in hidden and (results / t.name).is_file()}
        self._read: dict[str, pd.DataFrame] = {}

    def __getitem__(self, name: str) -> tuple[Table, pd.DataFrame]:
        table = self._known[name]
        if name not in self._read:
            self._read[name] = read_table(self._results / name, table)
        return table, self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def gather(study: Study) -> Given:
    """Return a study that was run as exports take it: under codes until its key is open. SevhistoError where it was not run."""
    from sevhisto.report.words import endpoint_words

    results, opened = study.results_dir, is_open(study)
    facts = last_facts(results)
    key = codes(study)
    names = Names.of(key, opened)
    groups, config, people = study_groups(study, key, names)
    left_out = list(people.index[people["excluded"]])
    kept = groups[~groups.index.isin(left_out)]
    animals = read_table(results / ANIMALS.name, ANIMALS)
    kept = kept[kept.index.isin(set(animals["animal"]))]
    if len(kept):
        animals = with_composite(animals, kept, config, opened)
    long, flat = with_endpoints(animals), wide(animals)
    primary, secondary = choose_endpoints(config, flat.columns)
    words = {name: endpoint_words(name) for name in flat.columns[1:]}
    units = dict(zip(long["endpoint"], long["unit"], strict=True))
    motor = study.motor[study.motor["test"] == config.motor.test]
    return Given(
        study=names.written(study.config.study.name),
        blinded=not opened,
        stamp=tuple(sorted(stamp_of(study, frozen_now(study, facts)))),
        made=_made(facts),
        tables=_Tables(results, opened),
        cells=results / CELLS.name,
        animals=long,
        wide=flat,
        groups=kept,
        plan=study_contrasts(config, set(kept)) if len(kept) else [],
        roles=dict.fromkeys(primary, "primary") | dict.fromkeys(secondary, "secondary"),
        titles={name: (word.label.translate(_PLAIN), units[name]) for name, word in words.items()},
        motor=motor.assign(animal=[names.animals[a] for a in motor["animal"]])[["animal", "day", "score"]].reset_index(drop=True),
        people=_people(study, names),
        exclusions=read_table(results / ODC_SCI_EXCLUSIONS.name, ODC_SCI_EXCLUSIONS),
        config=config,
    )


_PLAIN = str.maketrans({"µ": "u", "–": "-"})
"""Spreadsheets that take a CSV for Windows' own letters show these as several others."""


def _people(study: Study, names: Names) -> pd.DataFrame:
    """Return animals.csv by shown name; while blind only what cannot tell the group."""
    shown = study.animals if names.key is None else study.blinded().animals
    index = pd.Index([names.animals[a] for a in shown["animal"]], name="animal", dtype=object)
    people = shown.drop(columns=["animal", "protocol", "excluded", "exclusion_reason"], errors="ignore").set_axis(index, axis=0)
    texts = [c for c in people if not pd.api.types.is_numeric_dtype(people[c])]
    return people.assign(**{str(c): [names.written(str(v)) for v in people[c]] for c in texts}).sort_index()


def placed_slides(study: Study) -> list[PlacedSlide]:
    """Return every scene with a measured section, in file order, under the names that may be seen."""
    names = Names.of(codes(study), is_open(study))
    limits = cell_limits(read_table(study.results_dir / SECTIONS.name, SECTIONS), study.config)
    listed = read_table(study.results_dir / RECORDS.name, RECORDS)
    keys = listed[["animal", "section", "panel"]].itertuples(index=False, name=None)
    records = dict(zip(keys, listed["record"].astype(str), strict=True))
    found: dict[tuple[str, int], list[PlacedSection]] = {}
    for line in study.slides.to_dict("records"):
        place = (*names.shown(line["animal"], line["section"]), line["panel"])
        record = records.get(place, "")
        if record:
            load = partial(load_view, study.results_dir / "records" / record)
            section = PlacedSection(*place, line["role"], float(line["position_um"]), record, load, limits.get(place))
            found.setdefault((line["file"], int(line["scene"])), []).append(section)
    return [PlacedSlide(_slide_name(names.files[f], s), sections, _drawn(study, f, s)) for (f, s), sections in found.items()]


def given_slides(study: Study) -> list[Callable[[], GivenSlide]]:
    """Return what makes each slide ready to be written; light, so that it can be sent to other processes."""
    slides, said = placed_slides(study), study_notes(study)
    facts = zone_facts(read_table(study.results_dir / SECTIONS.name, SECTIONS))
    names = file_names([_label_name(s) for slide in slides for s in slide.sections])
    found: list[Callable[[], GivenSlide]] = []
    for slide in slides:
        own = {(s.animal, s.section, s.panel) for s in slide.sections}
        zones = {key: told for key, told in facts.items() if key[:3] in own}
        found.append(
            partial(GivenSlide, slide, [names[_label_name(s)] for s in slide.sections], zones, study.config, said, SectionPlaces.of)
        )
    return found


def _label_name(section: PlacedSection) -> str:
    return f"{section.panel}/{section.animal}/{section.section}"


def _slide_name(file: str, scene: int) -> str:
    """Return the name that outlines of a scene have in corrections/."""
    return file.replace("*", "all") + ("" if scene == 1 else f"_scene{scene}")


def _drawn(study: Study, file: str, scene: int) -> list[Shape]:
    """Return white matter and excluded areas as they were drawn; lesions come from the records."""
    path = study.corrections(file, scene)
    outlines = [] if path is None else read_outlines(path)
    return [Shape(_drawn_name(o), nested(o.polygons, o.holes)) for o in outlines if kind_of(o.name) in ("white_matter", "excluded")]


def _drawn_name(outline: Outline) -> str:
    if outline.kind == "white_matter":
        return "white matter"
    return f"exclude: {outline.reason}" if outline.reason else "exclude"
