"""The tables of a study, copied to where a person wants them."""

from __future__ import annotations

from pathlib import Path

from sevhisto.io.files import write_bytes_atomic
from sevhisto.io.study import load_study
from sevhisto.pipeline.facts import last_facts
from sevhisto.types import Problem, SevhistoError


def copy_tables(root: Path, folder: Path) -> list[Path]:
    """Copy every table of the last run (CSV) into a folder, and return where they are.

    SevhistoError where there is no finished run, or the folder holds files of these names: nothing is replaced.
    """
    results = load_study(root).results_dir
    last_facts(results)
    tables = sorted(results.glob("*.csv"))
    there = [t.name for t in tables if (folder / t.name).exists()]
    if there:
        raise SevhistoError(Problem(str(folder), f"holds {', '.join(there[:3])} already", "choose an empty folder; nothing was copied"))
    for table in tables:
        write_bytes_atomic(folder / table.name, table.read_bytes())
    return [folder / t.name for t in tables]
