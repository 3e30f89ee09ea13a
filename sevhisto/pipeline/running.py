"""`sevhisto run`: slides to records to tables."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from sevhisto.compare.protocols import dose_problems, dye_notes
from sevhisto.config import BatchSettings, settings_hash
from sevhisto.decide.controls import missing_controls
from sevhisto.engine import Limits, crew, default_jobs, run_tasks
from sevhisto.imaging.classify import misfits
from sevhisto.imaging.stains import stains
from sevhisto.io.check import inspect_files
from sevhisto.io.files import remove_unfinished
from sevhisto.io.key import codes, unblinded, write_key
from sevhisto.io.lock import LOCK, held
from sevhisto.io.models import load_model, model_sha256
from sevhisto.io.remote import try_store
from sevhisto.io.store import write_table
from sevhisto.io.study import Study, load_study
from sevhisto.pipeline.accepting import accepted_now
from sevhisto.pipeline.contours import contour_notes
from sevhisto.pipeline.deciding import decide
from sevhisto.pipeline.excluding import left_out
from sevhisto.pipeline.exclusion_tables import write_exclusions
from sevhisto.pipeline.facts import last_facts, sealed
from sevhisto.pipeline.naming import Names
from sevhisto.pipeline.own_segmenter import segmenter_problems
from sevhisto.pipeline.provenance import provenance_table, run_facts
from sevhisto.pipeline.sources import checksum_notes, compared_sources, with_sources
from sevhisto.pipeline.stages import Progress, RunTasks, batch_corrections, measure
from sevhisto.pipeline.stages import quiet as quiet
from sevhisto.pipeline.tables import Results, stamped, write_results
from sevhisto.pipeline.tasks import PieceOutcome, PieceTask, SlideTask
from sevhisto.registry import did_you_mean, split_flags
from sevhisto.schema_evidence import PROVENANCE
from sevhisto.types import Problem, SevhistoError, StudyError


@dataclass(frozen=True)
class RunSummary:
    """How a run ended: counts of sections by status, what the flagged ones are flagged with, and where the results are."""

    results: Path
    ok: int
    flagged: int
    failed: int
    measured_now: int
    seconds: float
    failures: tuple[str, ...]
    excluded: int = 0
    notes: tuple[str, ...] = ()
    flags: dict[str, int] = field(default_factory=dict)


def check(root: Path, sums: bool = False, accept: Sequence[str] = (), progress: Progress = quiet) -> tuple[list[Problem], list[str]]:
    """Return every problem of a study and its image files, and notes that are no fault, before a pixel is read.

    Parameters
    ----------
    sums : also read every image whole, note its checksum at first sight, and tell those that changed since
    accept : images that were replaced on purpose; implies `sums`

    Raises
    ------
    StudyError
        The sheets and settings themselves are wrong.
    """
    study = load_study(root)
    problems, notes = inspect_files(study)
    if sums or accept:
        wrong = compared_sources(study, partial(run_tasks, jobs=default_jobs()), progress, accept)[1]
        problems = [p for found in wrong.values() for p in found] + problems
    try:
        notes += checksum_notes(study)
    except StudyError as error:
        problems += error.problems
    problems = registry_problems(study) + classifier_problems(study) + problems
    return problems, [
        *notes,
        *contour_notes(study),
        *missing_controls(study.slides),
        *(f"{p.where}: {p.what}" for p in dose_problems(study.config)),
        *dye_notes(study.config),
    ]


def registry_problems(study: Study) -> list[Problem]:
    """Return a problem for every segmenter, stain or stain component that study.toml names and nobody registered."""
    found = segmenter_problems(study.config.imaging, study.root)
    for panel, settings in study.config.panels.items():
        if settings.kind != "brightfield":
            continue
        where = f"study.toml: panels.{panel}"
        if settings.stain not in stains:
            found.append(Problem(f"{where}.stain", f"unknown {settings.stain!r}", did_you_mean(settings.stain, list(stains))))
            continue
        known = list(stains[settings.stain].components)
        wanted = [("channels", str(c.channel)) for c in settings.stained.channels] + [("stain_vectors", n) for n in settings.stain_vectors]
        for setting, component in wanted:
            if component not in known:
                found.append(Problem(f"{where}.{setting}", f"stain has no component {component!r}", did_you_mean(component, known)))
    return found


def classifier_problems(study: Study) -> list[Problem]:
    """Return a problem for every classifier that study.toml names and that is not there, is damaged or does not fit its panel."""
    found = []
    for name, panel in study.config.panels.items():
        path = study.classifier(name)
        if path is not None and (panel.kind == "fluorescence" or panel.stain in stains):
            try:
                found += [replace(p, where=f"panel {name}: classifier {panel.classifier}") for p in misfits(load_model(path), panel)]
            except SevhistoError as error:
                found += [replace(p, where=f"panel {name}: {p.where}") for p in error.problems]
    return found


def run(
    root: Path,
    jobs: int | None = None,
    scheduler: str | None = None,
    progress: Progress = quiet,
    limits: Limits | None = None,
    records: str = "",
) -> RunSummary:
    """Measure every section of a study that has no record yet, and write all tables.

    Parameters
    ----------
    root : the study's folder
    jobs : processes; one per core where None
    scheduler : address of a Dask scheduler, instead of local processes
    limits : what one slide may use; with it, even a single job runs in a process of its own, which a slide cannot take the run with
    records : address of a store (`io.remote`) to which records are written and from which they are brought to ``results/records``: machines
        of a cluster then need not see ``results/``

    Raises
    ------
    StudyError
        The study's files are wrong, or another run holds its results; nothing was run. A slide that fails does not raise: its sections are
        rows with status ``failed``.
    SevhistoError
        The results cannot be written, or the cluster cannot be used. The tables of the last run are as they were.
    """
    started = time.monotonic()
    study = load_study(root if scheduler is None else root.resolve())  # other machines start elsewhere
    unknown = registry_problems(study) + classifier_problems(study)
    if unknown:
        raise StudyError(unknown)
    results = study.results_dir
    with held(results):
        if records:
            try_store(records)
        remove_unfinished(results, *(results / name for name in ("key", "records", "overviews")))
        witness = study.root / "study.toml" if records else results / LOCK
        return _run(study, crew(jobs or default_jobs(), scheduler, limits, witness), progress, started, records)


def _run(study: Study, machines: AbstractContextManager[RunTasks], progress: Progress, started: float, store: str) -> RunSummary:
    key = codes(study)
    results, names = study.results_dir, Names.of(key, is_open(study))
    write_key(results, key)
    with machines as run_all:
        tasks = with_sources(slide_tasks(study), *compared_sources(study, run_all, progress))
        corrections, notes = batch_corrections(tasks, run_all, progress)
        tasks = [replace(t, correction=corrections.get((t.panel_name, t.batch_name)), store=store) for t in tasks]
        outcomes = measure(study, tasks, run_all, progress, names)
    exclusions, accepted, frozen = left_out(study), accepted_now(study), choices_now(study)
    study = unaware(study)
    tables = decide(study, outcomes, names, exclusions, accepted, progress)
    tables.frozen.update(frozen)
    stamp = stamp_of(study, tables.frozen)
    provenance = provenance_table(study, names, tasks, tables, outcomes, exclusions)
    summary = _summary(study, tables, outcomes, time.monotonic() - started)
    counts = {"ok": summary.ok, "flagged": summary.flagged, "failed": summary.failed, "measured_now": summary.measured_now}
    facts = run_facts(study, names, tasks, tables, outcomes, notes, counts, tables.frozen, summary.seconds)
    with sealed(results, facts | {"stamp": sorted(stamp)}):
        write_results(results, tables, stamp, partial(progress, "tables"))
        write_table(results / PROVENANCE.name, stamped(provenance, stamp), PROVENANCE)
        write_exclusions(results, study, names, exclusions, tables.outlines, stamp)
    return summary


def unaware(study: Study) -> Study:
    """Return the study without anything that tells a group: what measuring and deciding may see."""
    columns = [c for c in study.animals.columns if c != "protocol"]
    config = study.config.model_copy(update={"protocols": {}, "contrasts": []})
    return replace(study, config=config, animals=study.animals[columns])


def is_open(study: Study) -> bool:
    """Return whether results may carry names: the key was opened, or the study is not blind."""
    return not study.config.study.blind or unblinded(study.results_dir) is not None


def choices_now(study: Study) -> dict[str, str]:
    """Return hashes of what must not change after unblinding and no record holds: exclusions, and trained classifiers where there are."""
    used = {name: path for name in study.config.panels if (path := study.classifier(name)) is not None}
    classifiers = {"classifiers": settings_hash({name: model_sha256(path) for name, path in used.items()})} if used else {}
    return {"exclusions": exclusions_hash(study), **classifiers}


def exclusions_hash(study: Study) -> str:
    """Return the hash of what is left out, and why, as sheet and journal say now."""
    columns = ["animal", "excluded", "exclusion_reason"]
    excluded = study.animals.loc[study.animals["excluded"], columns].astype(str).to_numpy().tolist()
    journal = [[*e.target[:3], e.reason] for e in left_out(study) if not e.areas]  # areas are part of the contours
    return settings_hash(sorted(excluded) + sorted(journal))


def stamp_of(study: Study, state: dict[str, str]) -> set[str]:
    """Return the flags that every result of the study must carry, `registry.STAMPS`; `state` is what must not change, as it is now."""
    stamp = set()
    if not study.config.study.blind:
        stamp.add("unblinded_study")
    if study.config.thresholds.per_image:
        stamp.add("threshold_per_image")
    opened = unblinded(study.results_dir)
    if opened is not None and any(opened.get(name) != value for name, value in state.items()):
        stamp.add("changed_after_unblinding")
    return stamp


def frozen_now(study: Study, facts: dict[str, Any]) -> dict[str, str]:
    """Return what must not change after unblinding: contours and thresholds of the last run, the other choices as they are now."""
    return {**facts["frozen"], **choices_now(study)}


def current_stamp(study: Study) -> set[str]:
    """Return the flags that what is written now must carry."""
    return stamp_of(study, frozen_now(study, last_facts(study.results_dir)))


def slide_tasks(study: Study) -> list[SlideTask]:
    """Return one task per scene of each file, in file order; lost sections have none."""
    tasks = []
    present = study.slides[study.slides["file"] != ""]
    for (file, scene, panel, batch), rows in present.groupby(["file", "scene", "panel", "batch"], sort=True):
        sizes = rows["um_per_px"].dropna()
        tasks.append(
            SlideTask(
                study.slide_path(str(file)),
                int(str(scene)),
                float(sizes.iloc[0]) if len(sizes) else None,
                study.config.panels[str(panel)],
                str(panel),
                study.config.batches.get(str(batch), BatchSettings()),
                str(batch),
                study.config.imaging,
                study.config.study.orientation != "transverse",
                tuple(
                    PieceTask(int(str(i)), int(r["piece"]), str(r["role"]), bool(r["flipped"]), str(r["marker"]))
                    for i, r in rows.iterrows()
                ),
                study.corrections(str(file), int(str(scene))),
                study.results_dir / "records",
                labels=study.labels(str(file), int(str(scene)), str(panel)),
                study=study.root,
                classifier=study.classifier(str(panel)),
                model=study.root / study.config.imaging.segmenter_model if study.config.imaging.segmenter_model else None,
            )
        )
    return tasks


def _summary(study: Study, tables: Results, outcomes: list[PieceOutcome], seconds: float) -> RunSummary:
    counts = tables.status["status"].value_counts()
    failed = tables.status[tables.status["status"] == "failed"]
    flags = Counter(flag for cell in tables.status.loc[tables.status["status"] == "flagged", "flags"] for flag in split_flags(cell))
    lines = tuple(f"{r.animal}, section {r.section}, panel {r.panel}: {r.reason}" for r in failed.itertuples())
    return RunSummary(
        study.results_dir,
        int(counts.get("ok", 0)),
        int(counts.get("flagged", 0)),
        int(counts.get("failed", 0)),
        sum(o.new and o.record is not None for o in outcomes),
        seconds,
        lines,
        int(counts.get("excluded", 0)),
        tuple(Names.of(codes(study), is_open(study)).clean(n) for n in tables.notes),
        dict(flags.most_common()),
    )
