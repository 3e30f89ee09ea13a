"""What every column is, for the dictionaries that go with an export."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import pandas as pd

from sevhisto.columns import NUMBER, STAMP, TEXT, WHOLE, Column, Table
from sevhisto.export.given import Given

WIDE = "animals_wide.csv"
_KINDS = {TEXT: "text", NUMBER: "number", WHOLE: "whole number"}


def described(given: Given, but: Collection[str] = ()) -> Iterator[tuple[str, Column]]:
    """Yield each table that is there, without those in `but`, with each of its columns, in order; those of the wide table last."""
    for name in given.tables:
        if name not in but:
            table, frame = given.tables[name]
            for column in frame.columns:
                yield name, column_of(table, str(column))
    for column in given.wide.columns:
        yield WIDE, endpoint_column(given, str(column))


def column_of(table: Table, name: str) -> Column:
    """Return what a table's schema says of a column; of an open-ended table's own columns, what their name says."""
    known = {c.name: c for c in (*table.columns, STAMP)}
    if name in known:
        return known[name]
    marker, _, part = name.rpartition("_")
    doc = {"nucleus": "in the nucleus", "ring": "in the ring around the nucleus"}.get(part)
    return Column(name, NUMBER, f"median corrected intensity of {marker} {doc}", "grey") if doc else Column(name, TEXT, "added by the lab")


def endpoint_column(given: Given, name: str) -> Column:
    """Return what a column of the wide table is."""
    if name == "animal":
        return Column(name, TEXT, "animal (code until unblinding)")
    title, unit = given.titles.get(name, (name, ""))
    role = given.roles.get(name)
    return Column(name, NUMBER, title + (f"; {role} endpoint" if role else ""), unit)


def dictionary(given: Given, but: Collection[str] = ()) -> pd.DataFrame:
    """Return one row per table and column: table, column, kind, unit, description; without the tables in `but`."""
    rows = [(table, c.name, _KINDS[c.kind], c.unit, c.doc) for table, c in described(given, but)]
    return pd.DataFrame(rows, columns=["table", "column", "kind", "unit", "description"])
