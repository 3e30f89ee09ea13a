"""`sevhisto report`: from what the results folder holds to one page."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from sevhisto.columns import Table
from sevhisto.compare.endpoints import wide
from sevhisto.compare.exposure import profiles as delivery_profiles
from sevhisto.engine import default_jobs
from sevhisto.io.files import write_bytes_atomic
from sevhisto.io.key import codes, unblinded
from sevhisto.io.store import read_table
from sevhisto.io.study import Study, load_study
from sevhisto.pipeline.facts import last_facts
from sevhisto.pipeline.grouping import design_limits, study_groups
from sevhisto.pipeline.naming import Names
from sevhisto.pipeline.picturing import listed_sections, section_cards
from sevhisto.pipeline.running import frozen_now, is_open, quiet, stamp_of
from sevhisto.pipeline.slideviewing import slide_links
from sevhisto.pipeline.stages import Progress
from sevhisto.report.html import render_report
from sevhisto.report.inputs import ReportInputs
from sevhisto.schema import (
    ANIMALS,
    COMPARISONS,
    DESIGN,
    EXPOSURE,
    MEDIATION,
    MODELS,
    PROFILES,
    RELATIONS,
    SECTIONS,
    SENSITIVITY,
    SHAPES,
    SPECIFICATIONS,
    STATUS,
    THRESHOLDS,
)
from sevhisto.schema_evidence import EXCLUSION_BALANCE, EXCLUSIONS


def report(root: Path, jobs: int | None = None, pictures: bool = True, progress: Progress = quiet) -> Path:
    """Write results/report.html from what the results folder holds, and return its path.

    Parameters
    ----------
    jobs : processes that draw the sections; one per core where None
    pictures : show every section; without, the file is some hundred kilobytes
    """
    study = load_study(root)
    inputs = report_inputs(study)
    links = slide_links(study.results_dir, listed_sections(study.results_dir))
    cards = section_cards(study, inputs.banner_flags, pictures, jobs or default_jobs(), progress)
    inputs.cards = [card._replace(slide=links.get(i, "")) for i, card in enumerate(cards)]
    path = study.results_dir / "report.html"
    write_bytes_atomic(path, render_report(inputs).encode("utf-8"))
    return path


def report_inputs(study: Study) -> ReportInputs:
    """Return what the results folder holds for the report, all but the sections."""
    results = study.results_dir
    facts, key = last_facts(results), codes(study)
    names, opened = Names.of(key, is_open(study)), is_open(study)
    animals = read_table(results / "animals.csv", ANIMALS)
    groups, config, people = study_groups(study, key, names) if study.config.protocols else (pd.Series(dtype=object), study.config, None)
    kept = groups if people is None else groups[~groups.index.isin(list(people.index[people["excluded"]]))]  # the journal's have no rows
    motor = study.motor[study.motor["test"] == study.config.motor.test]

    def there(table: Table, shown: bool = True) -> pd.DataFrame | None:
        path = results / table.name
        return read_table(path, table) if shown and path.is_file() else None

    return ReportInputs(
        study_name=names.written(study.config.study.name),
        blinded=not opened,
        status=read_table(results / "status.csv", STATUS),
        animals=animals,
        wide=wide(animals),
        groups=kept[kept.index.isin(set(animals["animal"]))],
        sections=read_table(results / "sections.csv", SECTIONS),
        comparisons=there(COMPARISONS),
        relations=there(RELATIONS),
        specifications=there(SPECIFICATIONS),
        motor=motor.assign(animal=[names.animals[a] for a in motor["animal"]]) if len(motor) else None,
        profiles=read_table(results / "profiles.csv", PROFILES),
        exposure=there(EXPOSURE, opened),
        delivery_profiles=delivery_profiles(config) if opened else None,
        models=there(MODELS),
        mediation=there(MEDIATION),
        sensitivity=there(SENSITIVITY),
        shapes=there(SHAPES),
        design=there(DESIGN),
        thresholds=read_table(results / "thresholds.csv", THRESHOLDS),
        run=facts,
        zones_um=tuple(study.config.zones.edges_um),
        banner_flags=tuple(sorted(stamp_of(study, frozen_now(study, facts)))),
        notes=design_limits(study),
        settings=json.dumps(facts["settings"], indent=1, ensure_ascii=False),
        primary=config.endpoints.primary,
        excluded=there(EXCLUSIONS),
        balance=there(EXCLUSION_BALANCE, opened),
        opened=str((unblinded(results) or {}).get("time", "")),
        blind=study.config.study.blind,
        n_listed=len(study.animals),
        motor_label=f"{study.config.motor.test} score (0 to {study.config.motor.maximum:g})",
    )
