"""The seal on the tables of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sevhisto.pipeline.facts import SUMS, last_facts, sealed
from sevhisto.types import SevhistoError


@pytest.mark.parametrize("name", ["animals.csv", "cells.parquet", "provenance.csv"])
def test_a_table_that_was_edited_or_damaged_is_refused_until_the_next_run(study: Any, sevhisto: Callable[..., Any], name: str) -> None:
    path = study.results / name
    whole = path.read_bytes()
    for spoilt in (whole[:-1], whole.replace(b"1", b"2", 1)):
        path.write_bytes(spoilt)
        said = sevhisto("compare", study.root)
        assert said.status == 1
        assert f"{name}: is not as the run wrote it" in said.err and "sevhisto run" in said.err
    path.unlink()
    assert sevhisto("report", study.root, "--no-pictures").status == 1
    assert sevhisto("run", study.root).status == 0
    assert path.read_bytes() == whole
    assert last_facts(study.results)[SUMS][name]


def test_comparing_seals_what_it_changes(study: Any, sevhisto: Callable[..., Any]) -> None:
    before = last_facts(study.results)
    assert sevhisto("compare", study.root, "--unblind").status == 0
    after = last_facts(study.results)
    assert set(after[SUMS]) == set(before[SUMS])
    assert after[SUMS]["animals.csv"] != before[SUMS]["animals.csv"]  # names, where codes were
    study.edit("[study]", "[thresholds]\npercentile = 97.0\n\n[study]")
    assert sevhisto("run", study.root).status == 0
    assert sevhisto("compare", study.root).status == 0  # stamped anew
    last_facts(study.results)


def test_a_fault_while_tables_are_written_leaves_the_seal_of_before(study: Any) -> None:
    facts = last_facts(study.results)
    with pytest.raises(RuntimeError), sealed(study.results, facts):
        raise RuntimeError
    assert last_facts(study.results) == facts


def test_a_torn_run_json_is_one_clear_error(study: Any) -> None:
    path = study.results / "run.json"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(SevhistoError, match="is damaged"):
        last_facts(study.results)
