"""What was left out in words: item 3 of ARRIVE 2.0 (inclusion and exclusion criteria), and tables for the report."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from sevhisto.registry import EXCLUSION_REASONS
from sevhisto.report.tables import TextTable, estimate_words, plural, text_table
from sevhisto.report.words import endpoint_words, number
from sevhisto.schema import AS_ANALYSED


def arrive_sentences(excluded: pd.DataFrame, status: pd.DataFrame, n_animals: int, opened: str, blind: bool) -> list[str]:
    """Return sentences for ARRIVE 2.0, item 3: criteria (3a), what was left out and why (3b); numbers per group stand in the tables (3c).

    Parameters
    ----------
    excluded : `schema_evidence.EXCLUSIONS`
    status : `schema.STATUS`
    n_animals : animals of the study
    opened : when the key was opened (ISO 8601, UTC); empty while it is closed
    blind : whether the study is blind
    """
    if excluded.empty:
        said = [f"No animal, section or area was left out of {plural(n_animals, 'animal')} and {plural(len(status), 'section')}."]
    else:
        used = [r for r in EXCLUSION_REASONS if r in set(excluded["reason"])]
        meanings = "; ".join(f"{r.replace('_', ' ')} ({EXCLUSION_REASONS[r]})" for r in used)
        said = [f"Criteria for leaving out were: {meanings}."] if used else []
        said += [f"Left out were {_counted(excluded, status, n_animals)}."]
        missing = int(((excluded["who"] == "") | (excluded["reason"] == "")).sum())
        said += [f"{plural(missing, 'exclusion')} without reason code, name or time: see the table."] if missing else []
    if not blind:
        said.append("The study was not blind: whoever left something out could know the groups.")
    elif opened:
        late = int((excluded["when"] > opened).sum())
        dated = int((excluded["when"] != "").sum())
        said += [f"{dated - late} of {dated} dated decisions were made before the groups were known."] if dated else []
    elif len(excluded):
        said.append("All of it was decided on codes, before the groups were known.")
    failed = int((status["status"] == "failed").sum())
    said += [f"{plural(failed, 'section')} could not be measured, which is no exclusion; the reasons stand below."] if failed else []
    return [*said, "Whether the criteria were fixed before the study began is for its authors to say."]


def _counted(excluded: pd.DataFrame, status: pd.DataFrame, n_animals: int) -> str:
    levels = excluded["level"].value_counts()
    parts = []
    if "animal" in levels.index:
        parts.append(f"{int(excluded.loc[excluded['level'] == 'animal', 'animal'].nunique())} of {plural(n_animals, 'animal')}")
    if {"section", "panel"} & set(levels.index):
        whole = set(excluded.loc[excluded["level"] == "animal", "animal"])
        own = status[(status["status"] == "excluded") & ~status["animal"].isin(whole)]
        parts.append(f"{len(own)} of {plural(len(status), 'section')}" + (" of other animals" if whole else ""))
    if "area" in levels.index:
        area = float(excluded["area_um2"].sum()) * 1e-6
        parts.append(f"{plural(int(levels['area']), 'area')} within sections ({number(area)} mm²)")
    return ", ".join(parts)


def exclusion_rows(excluded: pd.DataFrame | None) -> TextTable | None:
    """Return every exclusion as a table of text."""
    if excluded is None:
        return None
    heads = [*((n, False) for n in ("what", "animal", "section", "panel", "reason", "note", "who", "when")), ("area (mm²)", True)]
    rows = (
        [str(r[k]) for k in ("level", "animal", "section", "panel", "reason", "note", "who", "when")] + [_mm2(r["area_um2"])]
        for r in excluded.to_dict("records")
    )
    return text_table(heads, rows)


def _mm2(um2: float) -> str:
    return "" if um2 != um2 else number(um2 * 1e-6)


def balance_rows(balance: pd.DataFrame | None) -> TextTable | None:
    """Return what was left out of each group as a table of text."""
    if balance is None:
        return None
    heads = [("group", False), ("animals left out", True), ("sections left out", True), ("sections failed", True), ("areas (mm²)", True)]
    rows = (
        [
            str(r["group"]),
            f"{r['n_animals_excluded']} of {r['n_animals']}",
            f"{r['n_sections_excluded']} of {r['n_sections']}",
            str(r["n_sections_failed"]),
            f"{r['n_areas']} ({number(r['areas_um2'] * 1e-6)})",
            str(r["reasons"]),
        ]
        for r in balance.to_dict("records")
    )
    return text_table([*heads, ("reasons", False)], rows)


DATA_CHOICES = ("with excluded", "without flagged sections", "without batch")
"""Choices of the specification curve about which data take part."""


def what_they_change(specifications: pd.DataFrame | None, shown: Sequence[str]) -> TextTable | None:
    """Return the shown endpoints with other data: with what was excluded, without flagged sections, without each batch."""
    if specifications is None:
        return None
    own = specifications[specifications["endpoint"].isin(list(shown))]
    as_analysed = own[own["choice"] == AS_ANALYSED].set_index(["endpoint", "contrast"])
    heads = [("endpoint", False), ("contrast", False), ("as analysed (95 % interval)", True), ("changed", False)]
    rows = []
    for r in own[own["choice"].isin(DATA_CHOICES)].to_dict("records"):
        base = as_analysed.loc[(r["endpoint"], r["contrast"])]
        end = endpoint_words(str(r["endpoint"]))
        unit = "pp" if end.unit == "%" else end.unit
        choice = f"{r['choice']} {r['variant']}".strip()
        told = [end.label, str(r["contrast"]), estimate_words(base.to_dict(), unit), choice, estimate_words(r, unit)]
        rows.append([*told, f"{int(r['n_a'])}, {int(r['n_b'])}", str(r["verdict"])])
    return text_table([*heads, ("then (95 % interval)", True), ("n", True), ("conclusion", False)], rows)
