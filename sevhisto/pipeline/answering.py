"""`sevhisto compare` and `sevhisto report`: from the animal table to the answer."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sevhisto.columns import Table
from sevhisto.compare.contrasts import compare as compare_groups
from sevhisto.compare.endpoints import wide
from sevhisto.compare.protocols import design_notes, dose_problems
from sevhisto.compare.relations import relate
from sevhisto.compare.specifications import robustness, specification_curve
from sevhisto.config import StudyConfig
from sevhisto.engine import default_jobs, run_tasks
from sevhisto.io.files import write_bytes_atomic, write_json
from sevhisto.io.key import Key, codes, unblind, unblinded
from sevhisto.io.records import load_record
from sevhisto.io.store import read_table, write_table
from sevhisto.io.study import Study, load_study
from sevhisto.pipeline.excluding import left_out, need_applied, whole_animals
from sevhisto.pipeline.measuring import PieceOutcome
from sevhisto.pipeline.robustness import LastRun, specifications
from sevhisto.pipeline.running import Progress, exclusions_hash, is_open, quiet, stamp_of, unaware
from sevhisto.pipeline.tables import Names, decide, motor_rows, write_results
from sevhisto.registry import join_flags, split_flags
from sevhisto.schema import ANIMALS, COMPARISONS, PROFILES, RECORDS, RELATIONS, SECTIONS, SPECIFICATIONS, STATUS, THRESHOLDS
from sevhisto.types import Problem, SectionRecord, SevhistoError, StudyError


@dataclass(frozen=True)
class CompareSummary:
    """What a comparison wrote, and the notes that a reader must see."""

    results: Path
    comparisons: pd.DataFrame
    relations: pd.DataFrame
    notes: tuple[str, ...]
    blinded: bool


def compare(root: Path, open_key: bool = False, jobs: int | None = None, progress: Progress = quiet) -> CompareSummary:
    """Compare the groups over the animal table, and relate matrix to recovery.

    Parameters
    ----------
    open_key : open the key (`--unblind`): contours, thresholds and exclusions are hashed and the time recorded; results carry
        names from then on
    jobs : processes that read records for the specification curve; one per core where None

    Raises
    ------
    SevhistoError
        There is no animal table yet, or the study's groups, endpoints or contrasts do not allow a comparison.
    """
    study = load_study(root)
    results = study.results_dir
    frozen = _frozen_now(study, _run_facts(results))
    _need_protocols(study)  # before the key is opened: that cannot be taken back
    key = codes(study)
    if open_key and study.config.study.blind and unblinded(results) is None:
        unblind(results, frozen)
    if is_open(study):
        _write_under_names(study, results, key, frozen)
    names = Names.of(key, is_open(study))
    groups, config, people = _groups(study, key, names)
    animals = read_table(results / "animals.csv", ANIMALS)
    stamp = stamp_of(study, frozen) | (set() if is_open(study) else {"not_unblinded"})
    need_applied(study, read_table(results / "status.csv", STATUS), names.animals)
    gone = {names.animals[a] for a in whole_animals(left_out(study))}
    excluded = sorted({*people.index[people["excluded"]], *gone})
    batches = read_table(results / "records.csv", RECORDS)[["animal", "batch", "panel"]].drop_duplicates()
    comparisons = compare_groups(animals, groups, config, blocks=people["block"], batches=batches, dpi=people["dpi"], excluded=excluded)
    relations = relate(animals, None, groups, config, covariates=people[["force_kdyn", "dpi"]], excluded=excluded)
    nothing = not excluded and not left_out(study)
    motor = None if nothing else motor_rows(study, names).loc[lambda rows: rows["animal"].isin(gone)]
    curve = _curve(results, comparisons, groups, config, excluded, motor, jobs or default_jobs(), progress)
    words = robustness(curve)
    comparisons["robustness"] = [words.get(key, "") for key in zip(comparisons["endpoint"], comparisons["contrast"], strict=True)]
    for frame in (comparisons, relations):
        frame["flags"] = [join_flags(split_flags(f) | stamp) for f in frame["flags"]]
    write_table(results / "comparisons.csv", comparisons, COMPARISONS)
    write_table(results / "relations.csv", relations, RELATIONS)
    write_table(results / "specifications.csv", curve, SPECIFICATIONS)
    return CompareSummary(results, comparisons, relations, tuple(_notes(study)), not is_open(study))


def _curve(
    results: Path,
    comparisons: pd.DataFrame,
    groups: pd.Series[str],
    config: StudyConfig,
    excluded: list[str],
    motor: pd.DataFrame | None,
    jobs: int,
    progress: Progress,
) -> pd.DataFrame:
    """Return the specification curve of everything that was compared; days of sacrifice that differ are not compared here either."""
    compared = comparisons[~comparisons["flags"].map(lambda cell: "dpi_mixed" in split_flags(cell)).astype(bool)]
    variants = specifications(LastRun.of(results), config, jobs, lambda done, total: progress("other choices", done, total), motor)
    curve = specification_curve(variants, groups, config, list(dict.fromkeys(comparisons["endpoint"])), excluded)
    pairs = pd.MultiIndex.from_frame(compared[["endpoint", "contrast"]])
    return curve[pd.MultiIndex.from_frame(curve[["endpoint", "contrast"]]).isin(pairs)].reset_index(drop=True)


def _run_facts(results: Path) -> dict[str, Any]:
    path = results / "run.json"
    if not path.is_file():
        raise SevhistoError(Problem(str(results), "holds no finished run", "run `sevhisto run` on the study first"))
    try:
        facts: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise SevhistoError(Problem(str(path), f"is damaged ({error})", "run `sevhisto run` again; it reads no slide twice")) from error
    return facts


def _frozen_now(study: Study, facts: dict[str, Any]) -> dict[str, str]:
    """Return what must not change after unblinding: contours and thresholds of the last run, exclusions as the sheet has them now."""
    return {**facts["frozen"], "exclusions": exclusions_hash(study)}


def _need_protocols(study: Study) -> None:
    if not study.config.protocols:
        raise StudyError(
            Problem("study.toml: protocols", "none are declared: there is nothing to compare", "add a [protocols.NAME] per group")
        )


def _write_under_names(study: Study, results: Path, key: Key, frozen: dict[str, str]) -> None:
    """Make the tables again from the records, as `run` would for an open study; nothing if they carry names already."""
    listed = read_table(results / "records.csv", RECORDS)
    animals = {code: name for name, code in key.animals.items()}
    if not set(listed["animal"]) <= set(animals):
        return
    files = {code: name for name, code in key.files.items()}
    status = read_table(results / "status.csv", STATUS)
    rows = {(r["animal"], r["section"], r["panel"]): int(str(i)) for i, r in study.slides.iterrows()}
    outcomes = []
    for line, told in zip(listed.to_dict("records"), status.to_dict("records"), strict=True):
        row = rows.get((animals[line["animal"]], line["section"], line["panel"]))
        if row is None:
            raise SevhistoError(Problem("slides.csv", "lists other sections than the last run", "run `sevhisto run` again"))
        reason = told["reason"]
        for code, name in files.items():
            reason = reason.replace(code, Path(name).name) if code else reason
        outcomes.append(PieceOutcome(row, results / "records" / line["record"] if line["record"] else None, reason))
    write_results(results, decide(unaware(study), outcomes, Names.of(key, True), stamp_of(study, frozen)))
    facts = _run_facts(results)
    facts["inputs_sha256"] = {files.get(name, name): value for name, value in facts["inputs_sha256"].items()}
    write_json(results / "run.json", facts)


def _groups(study: Study, key: Key, names: Names) -> tuple[pd.Series[str], StudyConfig, pd.DataFrame]:
    """Return animal to group, the settings with groups named alike, and the animals sheet by shown name."""
    people = study.animals.assign(shown=[names.animals[a] for a in study.animals["animal"]]).set_index("shown")
    people = people[people["protocol"].isin(list(study.config.protocols))]
    if is_open(study):
        order = {p: i for i, p in enumerate(study.config.protocols)}
        people = people.iloc[sorted(range(len(people)), key=lambda i: (order[people["protocol"].iloc[i]], people.index[i]))]
        return people["protocol"].rename_axis("animal"), study.config, people
    groups = people["protocol"].map(key.groups).rename_axis("animal").sort_values(kind="stable")
    return groups, _coded_config(study.config, key), people


def _coded_config(config: StudyConfig, key: Key) -> StudyConfig:
    """Return the settings with protocols and contrasts under group codes, so that no output can tell a group."""
    protocols = {key.groups[name]: p for name, p in config.protocols.items()}
    contrasts = []
    for c in config.contrasts:
        a, b = sorted(key.groups[n] for n in c.a), sorted(key.groups[n] for n in c.b)
        contrasts.append(c.model_copy(update={"name": f"{'+'.join(a)} - {'+'.join(b)}", "a": a, "b": b}))
    return config.model_copy(update={"protocols": dict(sorted(protocols.items())), "contrasts": contrasts})


def _notes(study: Study) -> list[str]:
    if not is_open(study):
        return []
    return [*design_notes(study.config), *(f"{p.what}." for p in dose_problems(study.config))]


def report(root: Path, jobs: int | None = None) -> Path:
    """Write results/report.html from what the results folder holds, and return its path; `jobs` processes draw the sections."""
    from sevhisto.report.html import ReportInputs, render_report

    study = load_study(root)
    results = study.results_dir
    facts = _run_facts(results)
    key = codes(study)
    names = Names.of(key, is_open(study))
    animals = read_table(results / "animals.csv", ANIMALS)
    groups, config, people = _groups(study, key, names) if study.config.protocols else (pd.Series(dtype=object), study.config, None)
    kept = groups if people is None else groups[~groups.index.isin(list(people.index[people["excluded"]]))]  # the journal's have no rows
    status = read_table(results / "status.csv", STATUS)
    motor = study.motor[study.motor["test"] == study.config.motor.test]
    inputs = ReportInputs(
        study_name=study.config.study.name,
        blinded=not is_open(study),
        status=status,
        animals=animals,
        wide=wide(animals),
        groups=kept[kept.index.isin(set(animals["animal"]))],
        sections=read_table(results / "sections.csv", SECTIONS),
        comparisons=_if_there(results / "comparisons.csv", COMPARISONS),
        relations=_if_there(results / "relations.csv", RELATIONS),
        specifications=_if_there(results / "specifications.csv", SPECIFICATIONS),
        motor=motor.assign(animal=[names.animals[a] for a in motor["animal"]]) if len(motor) else None,
        profiles=read_table(results / "profiles.csv", PROFILES),
        thresholds=read_table(results / "thresholds.csv", THRESHOLDS),
        run=facts,
        overlays=_overlays(study, results, status, jobs or default_jobs()),
        banner_flags=sorted(stamp_of(study, _frozen_now(study, facts))),
        notes=_notes(study),
        settings=json.dumps(facts["settings"], indent=1, ensure_ascii=False),
        primary=config.endpoints.primary,
        motor_label=f"{study.config.motor.test} score (0 to {study.config.motor.maximum:g})",
    )
    path = results / "report.html"
    write_bytes_atomic(path, render_report(inputs).encode("utf-8"))
    return path


def _if_there(path: Path, table: Table) -> pd.DataFrame | None:
    return read_table(path, table) if path.is_file() else None


@dataclass(frozen=True)
class _Picture:
    """What is needed to draw one section of the gallery."""

    record: Path
    contrast: dict[str, tuple[float, float]]
    zones_um: tuple[float, ...]
    roles: dict[str, str]


def _draw(picture: _Picture) -> bytes:
    from sevhisto.report.overlay import overlay_image

    return overlay_image(load_record(picture.record), picture.contrast, picture.zones_um, picture.roles)


def _overlays(study: Study, results: Path, status: pd.DataFrame, jobs: int) -> list[tuple[str, str, bytes, str]]:
    """Return the gallery, with one contrast per panel, batch and marker."""
    from sevhisto.report.overlay import batch_contrast

    listed = read_table(results / "records.csv", RECORDS)
    told = {(s["animal"], s["section"], s["panel"]): s for s in status.to_dict("records")}
    texts: list[tuple[str, str, str]] = []
    pictures: list[_Picture] = []
    for (panel, batch), rows in listed[listed["record"] != ""].groupby(["panel", "batch"], sort=True):
        contrast = batch_contrast(_load(results, name) for name in rows["record"])
        roles: dict[str, str] = {c.marker: c.role for c in study.config.panels[str(panel)].channels}
        for row in rows.to_dict("records"):
            place = "" if math.isnan(row["position_um"]) else f", {row['position_um']:g} µm"
            line = told[row["animal"], row["section"], row["panel"]]
            advice = f"; {line['verdict']}: {line['reasons']}" if line["reasons"] else ""
            texts.append(
                (f"{row['animal']} / {row['section']} / panel {panel}", f"{row['role']}, batch {batch}{place}{advice}", str(line["flags"]))
            )
            pictures.append(_Picture(results / "records" / row["record"], contrast, tuple(study.config.zones.edges_um), roles))
    images = [b""] * len(pictures)
    for i, image in run_tasks(_draw, pictures, jobs):
        if isinstance(image, BaseException):
            raise image
        images[i] = image
    return [(title, caption, image, flag) for (title, caption, flag), image in zip(texts, images, strict=True)]


def _load(results: Path, name: object) -> SectionRecord:
    return load_record(results / "records" / str(name))
