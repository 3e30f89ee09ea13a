"""`sevhisto agreement`: the same sections read twice, or by two people."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd

from sevhisto.compare.agreement import agreement_summary
from sevhisto.config import WITHOUT_LESION
from sevhisto.engine import default_jobs, run_tasks
from sevhisto.io.annotations import SUFFIXES as OUTLINES
from sevhisto.io.files import write_bytes_atomic
from sevhisto.io.key import codes
from sevhisto.io.labels import SUFFIXES as LABELS
from sevhisto.io.sheets import read_sheet
from sevhisto.io.store import read_table, write_table
from sevhisto.io.study import Study, load_study, paths_for
from sevhisto.pipeline.naming import Names
from sevhisto.pipeline.readings import AUTO, SectionTask, Source, compare_section
from sevhisto.pipeline.running import current_stamp, is_open, quiet, slide_tasks
from sevhisto.pipeline.sources import compared_sources, with_sources
from sevhisto.pipeline.stages import Progress, batch_corrections
from sevhisto.pipeline.tables import stamped
from sevhisto.pipeline.tasks import SlideTask
from sevhisto.report.agreement import agreement_figure
from sevhisto.schema import RECORDS
from sevhisto.schema_evidence import AGREEMENT, AGREEMENT_SUMMARY, COUNTS
from sevhisto.types import Problem, SevhistoError


@dataclass(frozen=True)
class AgreementSummary:
    """Where the tables and the figure are, and what they say."""

    folder: Path
    sections: pd.DataFrame
    summary: pd.DataFrame


@dataclass(frozen=True)
class _Reading:
    """One reading: what it is called, what kind it is (``auto``, ``outlines``, ``objects``, ``counts``), and where it lies."""

    name: str
    kind: str
    path: Path


def agreement(root: Path, given: Sequence[str], jobs: int | None = None, progress: Progress = quiet) -> AgreementSummary:
    """Compare readings of the sections of a study that was run, and write tables and figure to ``results/agreement/``.

    Parameters
    ----------
    given : two or more readings: ``auto`` (the program's own outlines), folders of drawn outlines or of label images or masks, named as
        in corrections/ and labels/; or CSV tables of counts. Relative to the study's folder, or to where one is.

    Raises
    ------
    SevhistoError
        The study was not run; a reading is not there, of no known kind, or of another kind than the others; no section was read twice; an
        even field changed since first sight. Another slide that changed gives rows with that reason.
    """
    study = load_study(root)
    names = Names.of(codes(study), is_open(study))
    readings = _readings(study, names, given)
    if readings[0].kind == "counts":
        pairs = _counted(study, names, readings)
    else:
        pairs = _laid_over(study, names, readings, jobs or default_jobs(), progress)
    if pairs.empty:
        known = ", ".join(r.name for r in readings)
        raise SevhistoError(
            Problem(known, "no section was read by two of them", "name files as in corrections/ or labels/: after the image")
        )
    summary = agreement_summary(pairs)
    folder = study.results_dir / "agreement"
    stamp = current_stamp(study)
    write_table(folder / AGREEMENT.name, stamped(pairs, stamp), AGREEMENT)
    write_table(folder / AGREEMENT_SUMMARY.name, stamped(summary, stamp), AGREEMENT_SUMMARY)
    svg, png = agreement_figure(pairs, summary, stamp)
    write_bytes_atomic(folder / "agreement.svg", svg.encode())
    write_bytes_atomic(folder / "agreement.png", png)
    return AgreementSummary(folder, pairs, summary)


def _readings(study: Study, names: Names, given: Sequence[str]) -> list[_Reading]:
    found, problems = [], []
    for text in given:
        near = [p for p in (study.root / text, Path(text)) if text != AUTO and p.exists()]
        if text != AUTO and not near:
            problems.append(Problem(text, "is not there", f"name a folder, a CSV file, or {AUTO}"))
            continue
        path = Path() if text == AUTO else near[0]
        kind = AUTO if text == AUTO else _kind(study, path)
        if not kind:
            what = "holds neither drawn outlines nor label images that are named after the study's slides"
            problems.append(Problem(text, what, "name them as in corrections/ (.geojson, .roi, .zip) or labels/ (.tif, .npy)"))
        found.append(_Reading(names.written(text if text == AUTO else path.stem if path.is_file() else path.name), kind, path))
    kinds = {r.kind for r in found} - {AUTO, ""}
    if not problems and (len(kinds) != 1 or ({r.kind for r in found} > kinds and kinds != {"outlines"})):
        told = ", ".join(f"{r.name} ({r.kind})" for r in found)
        problems.append(Problem(told, "cannot be compared with each other", "give readings of one kind; auto goes with outlines"))
    if not problems and len({r.name for r in found}) < len(found):
        problems.append(Problem(", ".join(given), "two readings have one name", "rename one of the folders or files"))
    if problems:
        raise SevhistoError(problems)
    return found


def _kind(study: Study, path: Path) -> str:
    if path.is_file():
        return "counts" if path.suffix.lower() == ".csv" else ""
    for kind, suffixes in (("outlines", OUTLINES), ("objects", LABELS)):
        if any(_file_in(path, f, s, suffixes) for f, s in zip(study.slides["file"], study.slides["scene"], strict=True) if f):
            return kind
    return ""


def _file_in(folder: Path, file: str, scene: int, suffixes: tuple[str, ...]) -> Path | None:
    return next((p for p in paths_for(folder, file, scene, suffixes) if p.is_file()), None)


def _laid_over(study: Study, names: Names, readings: Sequence[_Reading], jobs: int, progress: Progress) -> pd.DataFrame:
    """Return `schema_evidence.AGREEMENT` of outlines or label images."""
    listed = read_table(study.results_dir / RECORDS.name, RECORDS)
    records = {(r["animal"], r["section"], r["panel"]): r["record"] for r in listed.to_dict("records") if r["record"]}
    suffixes = LABELS if readings[0].kind == "objects" else OUTLINES
    tasks = []
    slides = with_sources(slide_tasks(study), *compared_sources(study, partial(run_tasks, jobs=jobs), progress))
    for slide in slides:
        for piece in [p for p in slide.pieces if p.role not in WITHOUT_LESION]:
            file, animal, section = (str(study.slides.loc[piece.row, c]) for c in ("file", "animal", "section"))
            place = (*names.shown(animal, section), slide.panel_name)
            found = [(r, None if r.kind == AUTO else _file_in(r.path, file, slide.scene, suffixes)) for r in readings]
            sources = tuple(Source(r.name, path, r.kind == AUTO) for r, path in found if r.kind == AUTO or path)
            if place in records and len(sources) > 1:
                only = replace(slide, pieces=(piece,), drawn=None)
                tasks.append((place, SectionTask(only, study.results_dir / "records" / records[place], sources)))
    tasks = _with_corrections(slides, tasks, jobs, progress)
    rows: dict[int, list[dict[str, object]]] = {}
    for i, told in run_tasks(compare_section, [task for _, task in tasks], jobs):
        if isinstance(told, BaseException):
            raise told
        section_id = dict(zip(("animal", "section", "panel"), tasks[i][0], strict=True))
        rows[i] = [{**section_id, **row, "reason": names.clean(str(row["reason"]))} for row in told]
        progress("sections", len(rows), len(tasks))
    frame = pd.DataFrame([row for i in sorted(rows) for row in rows[i]], columns=AGREEMENT.names)
    return AGREEMENT.conform(frame.sort_values(["kind", "panel", "animal", "section"], kind="stable", ignore_index=True))


def _with_corrections(
    slides: Sequence[SlideTask], tasks: list[tuple[tuple[str, str, str], SectionTask]], jobs: int, progress: Progress
) -> list[tuple[tuple[str, str, str], SectionTask]]:
    """Return the tasks, with the background of their batch where the program's outline must be made again, since a person's replaced it."""
    needed = {(t.slide.panel_name, t.slide.batch_name) for _, t in tasks if t.plans_again}
    if not needed:
        return tasks
    corrections, notes = batch_corrections(
        [t for t in slides if (t.panel_name, t.batch_name) in needed], partial(run_tasks, jobs=jobs), progress
    )
    if set(corrections) != needed:
        raise SevhistoError([Problem("background", note, "mend the controls of the batch") for note in notes])
    return [(p, replace(t, slide=replace(t.slide, correction=corrections.get((t.slide.panel_name, t.slide.batch_name))))) for p, t in tasks]


def _counted(study: Study, names: Names, readings: Sequence[_Reading]) -> pd.DataFrame:
    """Return `schema_evidence.AGREEMENT` of tables of counts; animals and sections may go by name or by code."""
    tables = {r.name: _counts(study, names, r) for r in readings}
    empty = dict.fromkeys(("area_um2_a", "area_um2_b", "dice", "border_p95_um", "n_matched", "f1"), float("nan"))
    rows = []
    for a, b in itertools.combinations(tables, 2):
        both = tables[a].merge(tables[b], how="inner", left_index=True, right_index=True, suffixes=("_a", "_b"))
        rows.append(both.reset_index().assign(**empty, reading_a=a, reading_b=b, reason=""))
    return AGREEMENT.conform(pd.concat(rows, ignore_index=True))


def _counts(study: Study, names: Names, reading: _Reading) -> pd.DataFrame:
    frame, problems = read_sheet(reading.path, COUNTS)
    if problems:
        raise SevhistoError(problems)
    key = codes(study)
    shown: dict[tuple[str, str], tuple[str, str]] = {}
    for pair in zip(study.slides["animal"], study.slides["section"], strict=True):
        shown |= {pair: names.shown(*pair), key.shown(*pair): names.shown(*pair)}
    pairs = list(zip(frame["animal"].str.strip(), frame["section"].str.strip(), strict=True))
    problems += [
        Problem(f"{reading.path.name}, row {i}", f"the study has no section {p[1]!r} of {p[0]!r}")
        for i, p in zip(frame.index, pairs, strict=True)
        if p not in shown
    ]
    values = pd.to_numeric(frame["count"], errors="coerce")
    bad = values.isna() | (values < 0)
    problems += [Problem(f"{reading.path.name}, row {i}", f"{v!r} is no count") for i, v in frame.loc[bad, "count"].items()]
    optional = {c: frame[c].str.strip() if c in frame else "" for c in ("panel", "kind")}
    out = pd.DataFrame({"animal": [shown.get(p, p)[0] for p in pairs], "section": [shown.get(p, p)[1] for p in pairs]}, index=frame.index)
    out = out.assign(panel=optional["panel"], kind=optional["kind"], count=values)
    out["kind"] = [names.written(k) or "count" for k in out["kind"]]
    twice = out[out.duplicated(["animal", "section", "panel", "kind"])]
    problems += [Problem(f"{reading.path.name}, row {i}", "stands twice", "keep one row per section, panel and kind") for i in twice.index]
    if problems:
        raise SevhistoError(problems)
    return out.set_index(["animal", "section", "panel", "kind"])
