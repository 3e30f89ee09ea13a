"""The answer of a comparison at a glance, for a terminal: a line per question, and each caution once."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import wrap
from typing import Any

import pandas as pd

from sevhisto.report.words import comparison_finding, endpoint_words, fixed, group_words, p_words, places_of

_HEADS = ("difference", "95 % interval", "p", "adjusted", "n", "see")
_NARROWEST = 16


def brief(rows: pd.DataFrame, width: int) -> list[str]:
    """Return rows of comparisons.csv as lines of text, of at most `width` letters where the numbers leave any for names.

    Per endpoint and contrast: the difference of the means with its interval, p, p adjusted, animals on both sides, and the numbers of the
    cautions, which follow.
    """
    cautions: dict[str, int] = {}
    lines = [
        (str(r["endpoint"]), _name(r), _cells(r, cautions)) for r in ({str(k): v for k, v in x.items()} for x in rows.to_dict("records"))
    ]
    if not lines:
        return []
    widths = [max(map(len, column)) for column in zip(_HEADS, *(cells for _, _, cells in lines), strict=True)]
    numbers = sum(widths) + 2 * len(widths)
    room = max(min(max(len(name) for _, name, _ in lines), width - 2 - numbers), _NARROWEST)
    out, endpoint = [_line("", _HEADS, room, widths)], ""
    for own, name, cells in lines:
        if own != endpoint:
            endpoint = own
            out += wrap(endpoint_words(own).axis, width)
        first, *rest = wrap(name, room)
        out += [_line(first, cells, room, widths), *(f"  {more}" for more in rest)]
    out += [""] if cautions else []
    for text, number in cautions.items():
        out += wrap(text, width, initial_indent=f"{number}  ".rjust(4), subsequent_indent="    ")
    return out


def _line(name: str, cells: tuple[str, ...], room: int, widths: list[int]) -> str:
    *numbers, see = cells
    return f"  {name:<{room}}  {'  '.join(c.rjust(w) for c, w in zip(numbers, widths, strict=False))}  {see}".rstrip()


def _name(row: Mapping[str, Any]) -> str:
    return f"{group_words(row['group_a'])} minus {group_words(row['group_b'])}"


def _cells(row: Mapping[str, Any], cautions: dict[str, int]) -> tuple[str, ...]:
    marks = sorted(cautions.setdefault(text, len(cautions) + 1) for text in comparison_finding(row).cautions)
    estimate, low, high = (float(row[k]) for k in ("estimate", "ci_low", "ci_high"))
    places = places_of(row) if estimate == estimate else 0
    difference = fixed(estimate, places) if estimate == estimate else "–"
    interval = f"{fixed(low, places)} to {fixed(high, places)}" if low == low and high == high else "–"
    return (
        difference,
        interval,
        p_words(row["p"]),
        p_words(row["p_adjusted"]),
        f"{int(row['n_a'])}, {int(row['n_b'])}",
        " ".join(map(str, marks)),
    )
