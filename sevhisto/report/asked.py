"""The page's first words: each question that the study asked, and what was found, with its interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from sevhisto.registry import FLAGS, split_flags
from sevhisto.report.words import Finding, comparison_finding, endpoint_words, group_words, p_words, pair_words, relation_finding, sentence

_MOVES = {
    "fragile": "Under another choice the interval moves on or off zero",
    "reverses": "Under another choice the sign changes",
}


class Asked(NamedTuple):
    """A question, what was found, how sure it is, and how it stands; `anchor` : the id of the place in the page that shows it."""

    question: str
    found: str
    detail: str
    stands: str
    anchor: str


def asked(comparisons: pd.DataFrame | None, relations: pd.DataFrame | None, shown: Sequence[str]) -> list[Asked]:
    """Return the planned questions on the shown endpoints, then those on matrix and recovery within arms.

    Parameters
    ----------
    comparisons, relations : comparisons.csv, and the rows of relations.csv that get a figure
    shown : endpoints in the order of the page
    """
    return [*_compared(comparisons, shown), *_related(relations)]


def _compared(comparisons: pd.DataFrame | None, shown: Sequence[str]) -> Iterator[Asked]:
    for i, endpoint in enumerate(shown if comparisons is not None else ()):
        rows = comparisons[comparisons["endpoint"] == endpoint].to_dict("records")  # type: ignore[index]
        for row in ({str(k): v for k, v in r.items()} for r in rows):
            if "exploratory" in str(row["flags"]).split(";"):
                continue
            label = endpoint_words(endpoint).label
            question = f"{label}: does {group_words(row['group_a'])} differ from {group_words(row['group_b'])}?"
            yield Asked(question, *_found(comparison_finding(row), f"{label}: "), _stands(row), f"endpoint{i}")


def _related(relations: pd.DataFrame | None) -> Iterator[Asked]:
    if relations is None:
        return
    within = relations[relations["model"] == "within_arm"].to_dict("records")
    for i, row in enumerate({str(k): v for k, v in r.items()} for r in within):
        pair = pair_words(str(row["ecm"]), str(row["motor"]))
        finding = relation_finding(row)
        yield Asked(f"{pair}: do they go together within groups?", *_found(finding, f"{pair}, "), "", f"relation{i}")


def _found(finding: Finding, heading: str) -> tuple[str, str]:
    found = finding.headline.removeprefix(heading)
    if not heading.endswith(": "):  # a group's name keeps its own spelling
        found = found[:1].upper() + found[1:]
    detail = finding.detail
    return f"{found}.", f"{detail if detail.startswith('p ') else detail[:1].upper() + detail[1:]}."


def _stands(row: Mapping[str, Any]) -> str:
    flags = split_flags(str(row["flags"]))
    few = "Too few animals to reach p < 0.05" if "cannot_reach_0.05" in flags else ""
    least = f" (the smallest possible is {p_words(row['p_min'])})" if few and row.get("p_min") == row.get("p_min") else ""
    apart = FLAGS["scales_disagree"].meaning if "scales_disagree" in flags else ""
    return " ".join(sentence(t) for t in (f"{few}{least}", apart, _robust(row)) if t)


def _robust(row: Mapping[str, Any]) -> str:
    robustness = str(row.get("robustness", ""))
    if robustness != "robust":
        return _MOVES.get(robustness, "")
    if row["ci_low"] <= 0 <= row["ci_high"]:
        return "The interval holds zero under every other choice that was tried, too"
    return "The interval stays on the same side of zero under every other choice that was tried"
