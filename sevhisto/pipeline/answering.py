"""`sevhisto compare` and `sevhisto report`: from the animal table to the answer."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from sevhisto.columns import Table
from sevhisto.compare.balance import exclusion_balance
from sevhisto.compare.contrasts import compare as compare_groups
from sevhisto.compare.endpoints import wide
from sevhisto.compare.exposure import profiles as delivery_profiles
from sevhisto.compare.protocols import design_notes, dose_problems
from sevhisto.compare.relations import relate
from sevhisto.compare.specifications import robustness, specification_curve
from sevhisto.config import ContrastSettings, StudyConfig
from sevhisto.engine import default_jobs, run_tasks
from sevhisto.io.files import write_bytes_atomic, write_json
from sevhisto.io.key import Key, codes, unblind, unblinded
from sevhisto.io.records import load_record
from sevhisto.io.store import read_table, write_table
from sevhisto.io.study import Study, load_study
from sevhisto.metrics import COMPOSITE_PANEL
from sevhisto.pipeline.alone import alone
from sevhisto.pipeline.excluding import left_out, need_applied, whole_animals
from sevhisto.pipeline.exclusion_tables import refresh_exclusions
from sevhisto.pipeline.further import Compared, further, with_composite
from sevhisto.pipeline.opening import need_unchanged, write_under_names
from sevhisto.pipeline.provenance import compared_facts
from sevhisto.pipeline.robustness import LastRun, specifications
from sevhisto.pipeline.running import frozen_now, is_open, last_facts, quiet, stamp_of, unaware
from sevhisto.pipeline.stages import Progress
from sevhisto.pipeline.tables import Names, motor_rows, restamp, stamped
from sevhisto.registry import join_flags, split_flags
from sevhisto.schema import (
    ANIMALS,
    COMPARISONS,
    DESIGN,
    EXPOSURE,
    MEDIATION,
    MODELS,
    PROFILES,
    RECORDS,
    RELATIONS,
    SECTIONS,
    SENSITIVITY,
    SHAPES,
    SPECIFICATIONS,
    STATUS,
    THRESHOLDS,
)
from sevhisto.schema_evidence import EXCLUSION_BALANCE, EXCLUSIONS
from sevhisto.types import Problem, SectionRecord, StudyError


@dataclass(frozen=True)
class CompareSummary:
    """What a comparison wrote, and the notes that a reader must see."""

    results: Path
    comparisons: pd.DataFrame
    relations: pd.DataFrame
    notes: tuple[str, ...]
    blinded: bool


@alone
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
    facts = last_facts(results)
    frozen = frozen_now(study, facts)
    _need_protocols(study)  # before the key is opened: that cannot be taken back
    key = codes(study)
    if open_key and not is_open(study):
        need_unchanged(unaware(study), facts)
        need_applied(study, read_table(results / "status.csv", STATUS), key.shown)
        unblind(results, frozen)
    if is_open(study):
        write_under_names(unaware(study), results, key, facts, stamp_of(study, frozen))
        restamp(results, stamp_of(study, frozen))
    names = Names.of(key, is_open(study))
    groups, config, people = _groups(study, key, names)
    animals = read_table(results / "animals.csv", ANIMALS)
    stamp = stamp_of(study, frozen) | (set() if is_open(study) else {"not_unblinded"})
    need_applied(study, read_table(results / "status.csv", STATUS), names.shown)
    gone = {names.animals[a] for a in whole_animals(left_out(study))}
    excluded = sorted({*people.index[people["excluded"]], *gone})
    taking_part = groups[~groups.index.isin(excluded)]
    animals = with_composite(animals, taking_part, config, is_open(study))
    batches = read_table(results / "records.csv", RECORDS)[["animal", "batch", "panel"]].drop_duplicates()
    comparisons = compare_groups(animals, groups, config, blocks=people["block"], batches=batches, dpi=people["dpi"], excluded=excluded)
    relations = relate(animals, None, groups, config, covariates=people[["force_kdyn", "dpi"]], excluded=excluded)
    nothing = not excluded and not left_out(study)
    motor = None if nothing else motor_rows(study, names).loc[lambda rows: rows["animal"].isin(gone)]
    curve = _curve(results, comparisons, groups, config, excluded, motor, jobs or default_jobs(), progress)
    words = robustness(curve)
    comparisons["robustness"] = [words.get(key, "") for key in zip(comparisons["endpoint"], comparisons["contrast"], strict=True)]
    scored = study.motor.assign(animal=[names.animals[a] for a in study.motor["animal"]])
    sections = read_table(results / "sections.csv", SECTIONS)
    beside = further(Compared(animals, sections, scored, people, taking_part, groups, comparisons, config, is_open(study)))
    confounded = [beside.contrast_flags.get(c, set()) for c in comparisons["contrast"]]
    comparisons["flags"] = [join_flags(split_flags(f) | more) for f, more in zip(comparisons["flags"], confounded, strict=True)]
    comparisons, relations = stamped(comparisons, stamp), stamped(relations, stamp)
    write_table(results / "comparisons.csv", comparisons, COMPARISONS)
    write_table(results / "relations.csv", relations, RELATIONS)
    write_table(results / "specifications.csv", stamped(curve, stamp - {"not_unblinded"}), SPECIFICATIONS)
    for table, frame in beside.tables:
        write_table(results / table.name, stamped(frame, stamp), table)
    _write_beside(study, names, groups, stamp)
    return CompareSummary(results, comparisons, relations, (*_notes(study), *beside.notes), not is_open(study))


def _write_beside(study: Study, names: Names, groups: pd.Series[str], stamp: set[str]) -> None:
    """Write what was left out of each group, once groups are known, and what the comparison read."""
    results, key = study.results_dir, codes(study)
    left = refresh_exclusions(results, study, names, stamp - {"not_unblinded"})
    if is_open(study):
        balance = exclusion_balance(left, read_table(results / STATUS.name, STATUS), groups)
        write_table(results / EXCLUSION_BALANCE.name, stamped(balance, stamp), EXCLUSION_BALANCE)
    write_json(results / "key" / "compared.json", compared_facts(study, key, (unblinded(results) or {}).get("time", ""), stamp))


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
    if comparisons["endpoint"].str.startswith(f"{COMPOSITE_PANEL}_").any():
        kept = groups[~groups.index.isin(excluded)]
        variants = (replace(v, animals=with_composite(v.animals, kept, config, False)) for v in variants)
    curve = specification_curve(variants, groups, config, list(dict.fromkeys(comparisons["endpoint"])), excluded)
    pairs = pd.MultiIndex.from_frame(compared[["endpoint", "contrast"]])
    return curve[pd.MultiIndex.from_frame(curve[["endpoint", "contrast"]]).isin(pairs)].reset_index(drop=True)


def _need_protocols(study: Study) -> None:
    if not study.config.protocols:
        raise StudyError(
            Problem("study.toml: protocols", "none are declared: there is nothing to compare", "add a [protocols.NAME] per group")
        )


def _groups(study: Study, key: Key, names: Names) -> tuple[pd.Series[str], StudyConfig, pd.DataFrame]:
    """Return animal to group, the settings with groups named alike, and the animals sheet by shown name."""
    people = study.animals.assign(shown=[names.animals[a] for a in study.animals["animal"]]).set_index("shown")
    people = people[people["protocol"].isin(list(study.config.protocols))]
    if is_open(study):
        order = {p: i for i, p in enumerate(study.config.protocols)}
        people = people.iloc[sorted(range(len(people)), key=lambda i: (order[people["protocol"].iloc[i]], people.index[i]))]
        return people["protocol"].rename_axis("animal"), study.config, people
    groups = people["protocol"].map(key.groups).rename_axis("animal").sort_values(kind="stable")
    return groups, _coded_config(study.config, key, set(people["protocol"])), people


def _coded_config(config: StudyConfig, key: Key, present: set[str]) -> StudyConfig:
    """Return the settings with protocols under group codes, and every pair of groups that have animals as a contrast.

    The planned contrasts would tell the groups by their pattern (all but one against one: the vehicle), and so would those that follow from
    doses and durations.
    """
    protocols = {key.groups[name]: p for name, p in config.protocols.items()}
    pairs = [
        ContrastSettings(name=f"{a} - {b}", a=[a], b=[b]) for a, b in itertools.combinations(sorted(key.groups[n] for n in present), 2)
    ]
    return config.model_copy(update={"protocols": dict(sorted(protocols.items())), "contrasts": pairs})


def _notes(study: Study) -> list[str]:
    if not is_open(study):
        return ["While groups are codes every pair of them is compared: which contrasts are planned would tell what the codes stand for."]
    return [*design_notes(study.config), *(f"{p.what}." for p in dose_problems(study.config))]


def report(root: Path, jobs: int | None = None) -> Path:
    """Write results/report.html from what the results folder holds, and return its path; `jobs` processes draw the sections."""
    from sevhisto.report.html import ReportInputs, render_report

    study = load_study(root)
    results = study.results_dir
    facts = last_facts(results)
    stamp = tuple(sorted(stamp_of(study, frozen_now(study, facts))))
    key = codes(study)
    names = Names.of(key, is_open(study))
    animals = read_table(results / "animals.csv", ANIMALS)
    groups, config, people = _groups(study, key, names) if study.config.protocols else (pd.Series(dtype=object), study.config, None)
    kept = groups if people is None else groups[~groups.index.isin(list(people.index[people["excluded"]]))]  # the journal's have no rows
    status = read_table(results / "status.csv", STATUS)
    motor = study.motor[study.motor["test"] == study.config.motor.test]
    inputs = ReportInputs(
        study_name=names.written(study.config.study.name),
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
        exposure=_if_there(results / EXPOSURE.name, EXPOSURE) if is_open(study) else None,
        delivery_profiles=delivery_profiles(config) if is_open(study) else None,
        models=_if_there(results / MODELS.name, MODELS),
        mediation=_if_there(results / MEDIATION.name, MEDIATION),
        sensitivity=_if_there(results / SENSITIVITY.name, SENSITIVITY),
        shapes=_if_there(results / SHAPES.name, SHAPES),
        design=_if_there(results / DESIGN.name, DESIGN),
        thresholds=read_table(results / "thresholds.csv", THRESHOLDS),
        run=facts,
        overlays=_overlays(study, results, status, stamp, jobs or default_jobs()),
        banner_flags=stamp,
        notes=_notes(study),
        settings=json.dumps(facts["settings"], indent=1, ensure_ascii=False),
        primary=config.endpoints.primary,
        excluded=_if_there(results / EXCLUSIONS.name, EXCLUSIONS),
        balance=_if_there(results / EXCLUSION_BALANCE.name, EXCLUSION_BALANCE) if is_open(study) else None,
        opened=str((unblinded(results) or {}).get("time", "")),
        blind=study.config.study.blind,
        n_listed=len(study.animals),
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
    stamp: tuple[str, ...]


def _draw(picture: _Picture) -> bytes:
    from sevhisto.report.canvas import stamp_figures
    from sevhisto.report.overlay import overlay_image

    with stamp_figures(picture.stamp):
        return overlay_image(load_record(picture.record), picture.contrast, picture.zones_um, picture.roles)


def _overlays(study: Study, results: Path, status: pd.DataFrame, stamp: tuple[str, ...], jobs: int) -> list[tuple[str, str, bytes, str]]:
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
            pictures.append(_Picture(results / "records" / row["record"], contrast, tuple(study.config.zones.edges_um), roles, stamp))
    images = [b""] * len(pictures)
    for i, image in run_tasks(_draw, pictures, jobs):
        if isinstance(image, BaseException):
            raise image
        images[i] = image
    return [(title, caption, image, flag) for (title, caption, flag), image in zip(texts, images, strict=True)]


def _load(results: Path, name: object) -> SectionRecord:
    return load_record(results / "records" / str(name))
