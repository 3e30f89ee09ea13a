"""What moved between two result tables, in words: for a reader who must decide whether it was meant to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from sevhisto.columns import TEXT, Table

STAGES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("status", ("status", "reason", "file")),
    ("background", ("background",)),
    ("threshold", ("threshold", "threshold_source", "raw", "source", "n_controls", "puncta_threshold")),
    ("zone area", ("position_um", "zone_um2", "cavity_um2", "masked_um2")),
    ("positive area", ("positive_um2",)),
    ("signal", ("signal_sum",)),
    ("cells", ("n_cells", "n_cells_cd68")),
    ("colocalisation", ("signal_in_cd68", "signal_joint", "cd68_joint_um2")),
    ("fibres", ("fibre_xx", "fibre_yy", "fibre_xy")),
    ("puncta", ("n_puncta",)),
    ("focus", ("focus",)),
    ("animal value", ("value", "unit", "n_sections", "n_expected")),
    ("flags", ("flags",)),
)
"""Columns by the stage of the path that makes them, first stage first; all others are statistics."""
LAST = "statistics"
SHOWN = 5
ABSOLUTE = 1e-9
RENEW = (
    "If this was meant: python sample_images/make.py --renew-expected, look at the difference, and say in CHANGELOG.md under"
    " 'Numbers changed' what moved, by how much, and why."
)


class Move(NamedTuple):
    """One cell that differs; `size` is relative, infinite where text, or a number that came or went."""

    stage: str
    row: str
    column: str
    before: str
    after: str
    size: float


def explain(pairs: Sequence[tuple[Table, pd.DataFrame, pd.DataFrame, float]]) -> str:
    """Return what differs, in words, empty if nothing does.

    Parameters
    ----------
    pairs : of each table: its schema, what was expected, what was found, and the relative tolerance of its numbers
    """
    parts: list[str] = []
    first = ""
    for table, expected, found, tolerance in pairs:
        lines, stage = _table(table, expected, found, tolerance)
        if lines:
            first = first or f"It begins in {table.name}, {stage}: look there for the cause."
            parts += [f"{table.name} (one row is one {table.row})", *(f"  {line}" for line in lines)]
    return "\n".join(["The sample study gives other numbers than expected.", first, *parts, RENEW]) if parts else ""


def _table(table: Table, expected: pd.DataFrame, found: pd.DataFrame, tolerance: float) -> tuple[list[str], str]:
    old, new = (frame.assign(key=_keys(table, frame)).set_index("key") for frame in (expected, found))
    lines, stages = [], []
    for verb, rows in (("lost", old.index.difference(new.index, sort=False)), ("appeared", new.index.difference(old.index, sort=False))):
        if len(rows):
            lines.append(f"{len(rows)} row{'s' * (len(rows) > 1)} {verb}: {'; '.join(rows[:SHOWN])}{_more(len(rows))}")
            stages.append("rows")
    columns = [c for c in (*table.names, *expected.columns, *found.columns) if c not in table.key]
    for column in dict.fromkeys(columns):
        if (column in old) != (column in new):
            lines.append(f"column {column} {'lost' if column in old else 'appeared'}")
            stages.append("columns")
    moves = _moves(table, old, new, tolerance)
    for stage in (*(s for s, _ in STAGES), LAST):
        here = sorted((m for m in moves if m.stage == stage), key=lambda m: -m.size)
        if here:
            stages.append(stage)
            n = len({m.row for m in here})
            lines.append(f"{stage}: {len(here)} value{'s' * (len(here) > 1)} moved in {n} row{'s' * (n > 1)}, the largest first")
            lines += [f"  {m.row}: {m.column} from {m.before} to {m.after}{_percent(m)}" for m in here[:SHOWN]]
            lines += [f"  and {len(here) - SHOWN} more"] if len(here) > SHOWN else []
    return lines, stages[0] if stages else ""


def _keys(table: Table, frame: pd.DataFrame) -> list[str]:
    return [", ".join(f"{k} {v}" for k, v in zip(table.key, row, strict=True)) for row in frame[list(table.key)].itertuples(index=False)]


def _moves(table: Table, old: pd.DataFrame, new: pd.DataFrame, tolerance: float) -> list[Move]:
    both = old.index.intersection(new.index, sort=False)
    stage_of = {column: stage for stage, columns in STAGES for column in columns}
    moves = []
    for column in table.columns:
        if column.name in table.key or column.name not in old or column.name not in new:
            continue
        stage = stage_of.get(column.name, LAST)
        for row, a, b in zip(both, old.loc[both, column.name], new.loc[both, column.name], strict=True):
            if column.kind == TEXT:
                if a != b:
                    moves.append(Move(stage, row, column.name, repr(a), repr(b), float("inf")))
            elif pd.isna(a) or pd.isna(b):
                if pd.isna(a) != pd.isna(b):
                    moves.append(Move(stage, row, column.name, _number(a), _number(b), float("inf")))
            elif abs(a - b) > max(ABSOLUTE, tolerance * max(abs(a), abs(b))):
                moves.append(Move(stage, row, column.name, _number(a), _number(b), abs(b - a) / abs(a) if a else float("inf")))
    return moves


def _number(value: float) -> str:
    return "not measurable" if pd.isna(value) else f"{value:.10g}"


def _percent(move: Move) -> str:
    return "" if move.size == float("inf") else f" ({100 * move.size:.3g} %)"


def _more(n: int) -> str:
    return f"; and {n - SHOWN} more" if n > SHOWN else ""
