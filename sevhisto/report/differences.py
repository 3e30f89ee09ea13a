"""`schema_evidence.DIFFERENCES` in words: what was put in differently, then what moved and by which of it."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from typing import Any

import pandas as pd

from sevhisto.report.words import number
from sevhisto.schema_evidence import STAGES

MAX_LINES = 12
NOTHING = "Nothing differs: inputs, settings, versions, exclusions and every number are the same."
_TITLES = {
    "inputs": "Inputs that differ",
    "settings": "Settings that differ",
    "version": "Versions that differ",
    "exclusions": "Exclusions that differ",
    "background": "Background and unmixing that moved",
    "outlines": "Outlines that moved",
    "thresholds": "Thresholds that moved",
    "sections": "Sections that moved",
    "animals": "Animals that moved",
    "results": "Results that moved",
}
_FIRST = ("positive_um2", "zone_um2", "n_cells", "signal_sum", "threshold", "row", "flags")
"""Columns of sections.csv in the order in which they tell most."""


def difference_lines(found: pd.DataFrame) -> list[str]:
    """Return lines for a person: stage by stage, what differs and why; long lists are cut, and say so."""
    if found.empty:
        return [NOTHING]
    lines = []
    for stage in STAGES:
        rows = found[found["stage"] == stage]
        if rows.empty:
            continue
        told = list(_grouped(rows) if stage in ("sections", "animals", "results") else _singly(rows))
        lines += ["", f"{_TITLES[stage]}:", *(f"  {line}" for line in told[:MAX_LINES])]
        if len(told) > MAX_LINES:
            lines.append(f"  and {len(told) - MAX_LINES} more: --csv FILE holds all")
    if set(found["stage"]) <= set(STAGES[:4]):
        lines += ["", "No number moved."]
    return lines[1:]


def _singly(rows: pd.DataFrame) -> Iterator[str]:
    for r in rows.to_dict("records"):
        where = _place(r)
        cause = f" Because: {r['cause']}." if r["cause"] else ""
        yield f"{where}{': ' if where else ''}{r['what']}: {_value(r['old'])} -> {_value(r['new'])}{_change(r)}.{cause}"


def _place(r: dict[Hashable, Any]) -> str:
    parts = [f"{r['animal']} {r['section']}".strip()]
    parts += [f"{word} {r[word]}" for word in ("panel", "batch") if r[word]] + [r["marker"]]
    return ", ".join(p for p in parts if p)


def _value(text: str) -> str:
    try:
        return number(float(text), 5)
    except ValueError:
        return text or "nothing"


def _change(r: dict[Hashable, Any]) -> str:
    return "" if math.isnan(r["change_pct"]) else f" ({r['change_pct']:+.3g} %)".replace("-", "−")


def _grouped(rows: pd.DataFrame) -> Iterator[str]:
    """Yield a line per section, animal or contrast: how much of it moved, the value that tells most, and all causes."""
    stage = rows["stage"].iloc[0]
    keys = {"sections": ["animal", "section", "panel"], "animals": ["animal"]}.get(stage)
    groups = rows.groupby(keys, sort=False) if keys else rows.groupby(rows["what"].str.partition(": ")[0], sort=False)
    for name, own in groups:
        causes = dict.fromkeys(c for cell in own["cause"] for c in cell.split("; "))
        shown = _telling(own, stage)
        what = str(shown["what"]).rpartition(": ")[2]
        part = " ".join(str(shown[c]) for c in ("marker", "zone") if shown[c])
        title = str(name) if stage == "results" else _title(name)
        values = f"{_value(shown['old'])} -> {_value(shown['new'])}{_change(dict(shown))}"
        yield f"{title}: {len(own)} values; {part + ' ' if part else ''}{what} {values}. Because: {_causes(list(causes))}."


def _causes(causes: list[str]) -> str:
    shown = causes[:6]
    return "; ".join(shown) + (f"; and {len(causes) - len(shown)} more" if len(causes) > len(shown) else "")


def _title(name: Any) -> str:
    parts = [str(n) for n in name]
    return f"{parts[0]} {parts[1]}, panel {parts[2]}" if len(parts) == 3 else parts[0]


def _telling(rows: pd.DataFrame, stage: str) -> pd.Series[Any]:
    """Return the row to show: of sections the first telling column, of results the estimate; the largest change of it."""
    order = {"sections": _FIRST, "results": ("estimate",)}.get(stage, ())
    names = rows["what"].str.rpartition(": ")[2]
    chosen = next((rows[names == column] for column in order if (names == column).any()), rows)
    size = chosen["change_pct"].abs().fillna(-1.0)
    return chosen.iloc[int(size.to_numpy().argmax())]
