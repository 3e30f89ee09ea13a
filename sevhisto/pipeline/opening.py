"""What opening the key does to the results of the last run: codes become names, and what was fixed is recorded."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from sevhisto.io.key import Key
from sevhisto.io.store import read_table, write_table
from sevhisto.io.study import Study
from sevhisto.pipeline.accepting import accepted_now
from sevhisto.pipeline.deciding import decide
from sevhisto.pipeline.excluding import left_out
from sevhisto.pipeline.exclusion_tables import write_exclusions
from sevhisto.pipeline.facts import sealed
from sevhisto.pipeline.naming import Names
from sevhisto.pipeline.provenance import decided_sha256, shown_settings
from sevhisto.pipeline.stages import Progress, quiet
from sevhisto.pipeline.tables import stamped, write_results
from sevhisto.pipeline.tasks import PieceOutcome
from sevhisto.schema import RECORDS, STATUS
from sevhisto.schema_evidence import PROVENANCE
from sevhisto.types import Problem, SevhistoError, StudyError


def need_unchanged(study: Study, facts: dict[str, Any]) -> None:
    """Raise SevhistoError where settings that the tables rest on changed since the run of these `facts` (run.json).

    `study` must be unaware of its groups.
    """
    if facts.get("decided_sha256") != decided_sha256(study.config):
        remedy = "run `sevhisto run` again; only what must be is read again"
        raise SevhistoError(Problem("study.toml or thresholds.jsonl", "changed since the last run", remedy))


def write_under_names(study: Study, results: Path, key: Key, facts: dict[str, Any], stamp: set[str], progress: Progress = quiet) -> None:
    """Make the tables again from the records, as `run` would for an open study; nothing if they carry names already.

    Parameters
    ----------
    study : unaware of its groups; its settings are those of the last run
    facts : run.json of that run
    stamp : flags of the whole study
    """
    listed = read_table(results / "records.csv", RECORDS)
    if not set(listed["animal"]) <= set(key.animals.values()):
        return
    rows = {(*key.shown(r["animal"], r["section"]), r["panel"]): int(str(i)) for i, r in study.slides.iterrows()}
    if set(rows) != set(listed[["animal", "section", "panel"]].itertuples(index=False, name=None)):
        raise StudyError(Problem("slides.csv", "lists other sections than the last run", "run `sevhisto run` again"))
    files = {code: name for name, code in key.files.items()}
    outcomes = []
    for line, told in zip(listed.to_dict("records"), read_table(results / "status.csv", STATUS).to_dict("records"), strict=True):
        reason = told["reason"]
        for code, name in files.items():
            reason = reason.replace(code, Path(name).name) if code else reason
        record = results / "records" / line["record"] if line["record"] else None
        outcomes.append(PieceOutcome(rows[line["animal"], line["section"], line["panel"]], record, reason))
    exclusions, names = left_out(study, key), Names.of(key, True)
    tables = decide(study, outcomes, names, exclusions, accepted_now(study, key), progress)
    provenance = read_table(results / PROVENANCE.name, PROVENANCE)
    with sealed(results, _named_facts(facts, study, key)):  # codes in one table and names in the next would be of no use
        write_results(results, tables, stamp, partial(progress, "tables"))
        write_exclusions(results, study, names, exclusions, tables.outlines, stamp)
        write_table(results / PROVENANCE.name, stamped(_named(provenance, study, rows), stamp), PROVENANCE)


def _named(provenance: pd.DataFrame, study: Study, rows: dict[tuple[str, str, str], int]) -> pd.DataFrame:
    places = [rows[place] for place in provenance[["animal", "section", "panel"]].itertuples(index=False, name=None)]
    columns = ["animal", "section", "batch", "file"]
    named = provenance.assign(**{column: study.slides.loc[places, column].to_numpy() for column in columns})
    return named.sort_values(["panel", "animal", "position_um", "section"], kind="stable")


def _named_facts(facts: dict[str, Any], study: Study, key: Key) -> dict[str, Any]:
    files = {code: name for name, code in key.files.items()}
    batches = {code: name for name, code in key.batches.items()}
    background = {}
    for name, told in facts["background"].items():
        panel, _, batch = name.partition(" / ")
        background[f"{panel} / {batches.get(batch, batch)}"] = told | {"slides": sorted(files.get(s, s) for s in told["slides"])}
    return facts | {
        "settings": shown_settings(study.config, str, str),
        "inputs_sha256": {files.get(name, name): value for name, value in facts["inputs_sha256"].items()},
        "background": background,
    }
