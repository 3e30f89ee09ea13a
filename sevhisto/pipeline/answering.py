"""`sevhisto compare`: from the animal table to the answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sevhisto.compare.balance import exclusion_balance
from sevhisto.compare.contrasts import compare as compare_groups
from sevhisto.compare.endpoints import choose_endpoints, rows_of, wide
from sevhisto.compare.protocols import planned_contrasts
from sevhisto.compare.relations import relate
from sevhisto.compare.specifications import robustness, specification_curve
from sevhisto.config import ContrastSettings, StudyConfig
from sevhisto.engine import default_jobs
from sevhisto.io.files import write_sealed
from sevhisto.io.key import codes, unblind, unblinded
from sevhisto.io.store import read_table, write_table
from sevhisto.io.study import Study, load_study
from sevhisto.metrics import COMPOSITE_PANEL
from sevhisto.pipeline.alone import alone
from sevhisto.pipeline.excluding import left_out, need_applied, whole_animals
from sevhisto.pipeline.exclusion_tables import refresh_exclusions
from sevhisto.pipeline.facts import last_facts
from sevhisto.pipeline.further import Compared, further, with_composite
from sevhisto.pipeline.grouping import design_limits, study_groups
from sevhisto.pipeline.naming import Names
from sevhisto.pipeline.opening import need_unchanged, write_under_names
from sevhisto.pipeline.provenance import compared_facts
from sevhisto.pipeline.robustness import LastRun, specifications
from sevhisto.pipeline.running import frozen_now, is_open, quiet, stamp_of, unaware
from sevhisto.pipeline.stages import Progress
from sevhisto.pipeline.tables import motor_rows, restamp, stamped
from sevhisto.registry import join_flags, split_flags
from sevhisto.schema import (
    ANIMALS,
    COMPARISONS,
    RECORDS,
    RELATIONS,
    SECTIONS,
    SPECIFICATIONS,
    STATUS,
)
from sevhisto.schema_evidence import EXCLUSION_BALANCE
from sevhisto.types import Problem, StudyError


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
    plan = _planned(study)  # before the key is opened: that cannot be taken back
    key = codes(study)
    if open_key and not is_open(study):
        need_unchanged(unaware(study), facts)
        need_applied(study, read_table(results / "status.csv", STATUS), key.shown)
        unblind(results, frozen)
    if is_open(study):
        write_under_names(unaware(study), results, key, facts, stamp_of(study, frozen), progress)
        restamp(results, stamp_of(study, frozen))
    names = Names.of(key, is_open(study))
    groups, config, people = study_groups(study, key, names)
    if is_open(study):  # the same ones, whichever animal a choice leaves out
        config = config.model_copy(update={"contrasts": plan})
    animals = read_table(results / "animals.csv", ANIMALS)
    stamp = stamp_of(study, frozen) | (set() if is_open(study) else {"not_unblinded"})
    need_applied(study, read_table(results / "status.csv", STATUS), names.shown)
    gone = {names.animals[a] for a in whole_animals(left_out(study))}
    excluded = sorted({*people.index[people["excluded"]], *gone})
    taking_part = groups[~groups.index.isin(excluded)]
    animals = with_composite(animals, taking_part, config, is_open(study))
    batches = read_table(results / "records.csv", RECORDS)[["animal", "batch", "panel"]].drop_duplicates()
    comparisons = compare_groups(animals, groups, config, blocks=people["block"], batches=batches, dpi=people["dpi"], excluded=excluded)
    relations = relate(animals, None, groups, config, covariates=people, excluded=excluded)
    nothing = not excluded and not left_out(study)
    motor = None if nothing else motor_rows(study, names).loc[lambda rows: rows["animal"].isin(gone)]
    curve = _curve(results, comparisons, groups, config, excluded, people["block"], motor, jobs or default_jobs(), progress)
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
    return CompareSummary(results, comparisons, relations, (*_lacking(study), *design_limits(study), *beside.notes), not is_open(study))


def _lacking(study: Study) -> list[str]:
    """Return what the study could still say, and does not."""
    said = []
    if not study.config.endpoints.primary:
        said.append("No primary endpoint is named in study.toml ([endpoints] primary): every result is a secondary one.")
    if study.motor.empty:
        said.append("motor.csv holds no scores: nothing was related to recovery.")
    return said


def _write_beside(study: Study, names: Names, groups: pd.Series[str], stamp: set[str]) -> None:
    """Write what was left out of each group, once groups are known, and what the comparison read."""
    results, key = study.results_dir, codes(study)
    left = refresh_exclusions(results, study, names, stamp - {"not_unblinded"})
    if is_open(study):
        balance = exclusion_balance(left, read_table(results / STATUS.name, STATUS), groups)
        write_table(results / EXCLUSION_BALANCE.name, stamped(balance, stamp), EXCLUSION_BALANCE)
    write_sealed(results / "key" / "compared.json", compared_facts(study, key, (unblinded(results) or {}).get("time", ""), stamp))


def _curve(
    results: Path,
    comparisons: pd.DataFrame,
    groups: pd.Series[str],
    config: StudyConfig,
    excluded: list[str],
    blocks: pd.Series[str],
    motor: pd.DataFrame | None,
    jobs: int,
    progress: Progress,
) -> pd.DataFrame:
    """Return the specification curve of everything that was compared; days of sacrifice that differ are not compared here either."""
    compared = comparisons[~comparisons["flags"].map(lambda cell: "dpi_mixed" in split_flags(cell)).astype(bool)]
    last, endpoints = LastRun.of(results), list(dict.fromkeys(comparisons["endpoint"]))
    zones = set(rows_of(last.animals, endpoints)["zone"])
    variants = specifications(last, config, jobs, lambda done, total: progress("other choices", done, total), motor, zones)
    kept = groups[~groups.index.isin(excluded)]

    def whole(animals: pd.DataFrame) -> pd.DataFrame:
        return with_composite(animals, kept, config, False) if composite else animals

    composite = any(name.startswith(f"{COMPOSITE_PANEL}_") for name in endpoints)
    curve = specification_curve(variants, groups, config, endpoints, excluded, blocks, whole)
    pairs = pd.MultiIndex.from_frame(compared[["endpoint", "contrast"]])
    return curve[pd.MultiIndex.from_frame(curve[["endpoint", "contrast"]]).isin(pairs)].reset_index(drop=True)


def _planned(study: Study) -> list[ContrastSettings]:
    """Return the contrasts of the groups that take part; StudyError where groups or endpoints allow no comparison."""
    if not study.config.protocols:
        raise StudyError(Problem("slides.csv", "lists no section of role sample: there is nothing to compare", "see the column role"))
    animals = read_table(study.results_dir / "animals.csv", ANIMALS)
    whole = with_composite(animals, pd.Series("", index=animals["animal"].unique()), study.config, False)
    choose_endpoints(study.config, wide(whole).columns)
    gone = study.animals["excluded"].astype(bool) | study.animals["animal"].isin(whole_animals(left_out(study)))
    return planned_contrasts(study.config, set(study.animals.loc[~gone, "protocol"]) - {""})
