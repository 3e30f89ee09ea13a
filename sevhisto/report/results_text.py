"""The results section of a paper: what was found, filled from the tables."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import pandas as pd

from sevhisto.report.choices import choices_told
from sevhisto.report.figures import group_order
from sevhisto.report.inputs import by_animal, shown_endpoints, split_relations
from sevhisto.report.methods_text import PaperFacts
from sevhisto.report.prose import Statement, plain
from sevhisto.report.words import MODELS, Finding, comparison_finding, endpoint_words, finite, number, relation_finding

RELATED = "Matrix and motor outcome"


def results(facts: PaperFacts, pictures: Collection[str]) -> Iterator[Statement]:
    """Yield what was found, one statement per comparison and relation of the shown endpoints, group means first; then each caution once.

    Parameters
    ----------
    pictures : names of the figures that there are; every one is cited once
    """
    inputs, cautions = facts.inputs, dict[str, dict[str, list[str]]]()
    wide = by_animal(inputs)
    shown = shown_endpoints(inputs, wide)
    for endpoint in shown:
        h = endpoint_words(endpoint).label
        means = _group_means(wide[endpoint], inputs.groups, endpoint_words(endpoint).unit)
        yield Statement(h, means, f"results/animals_wide.csv: {endpoint}", (f"estimation_{endpoint}",))
        for row in _records(inputs.comparisons, endpoint):
            finding = comparison_finding(row)
            source = f"results/comparisons.csv: endpoint {endpoint}, contrast {row['contrast']}"
            yield Statement(h, _sentence(finding).removeprefix(plain(f"{h}:")).lstrip(), source)
            _note(cautions, finding, h, str(row["contrast"]))
        if f"choices_{endpoint}" in pictures and inputs.specifications is not None:
            curve = inputs.specifications[inputs.specifications["endpoint"] == endpoint]
            yield Statement(h, plain(choices_told(curve, endpoint)), "results/specifications.csv: verdict", (f"choices_{endpoint}",))
    yield from _of_figures("Recovery", "Motor scores of every animal over time are drawn", "motor.csv", "recovery", pictures)
    yield from _of_figures("Delivery", "A model of the amount in circulation is drawn", "results/exposure.csv", "exposure", pictures)
    for row in _records(split_relations(inputs.relations, shown)[0]):
        finding = relation_finding(row)
        source = f"results/relations.csv: {row['ecm']}, {row['motor']}, {row['model']}"
        first = () if row["model"] != "within_arm" else (f"relation_{row['ecm']}_{row['motor']}",)
        yield Statement(RELATED, _sentence(finding), source, first)
        _note(cautions, finding, RELATED, MODELS.get(str(row["model"]), str(row["model"])))
    unmeasured = "How strong an unmeasured factor must be to make a mediated effect is drawn"
    yield from _of_figures(RELATED, unmeasured, "results/mediation_sensitivity.csv", "mediation", pictures)
    profiles = "Positive fractions against the distance from the lesion border are drawn"
    yield from _of_figures("Distance from the lesion", profiles, "results/profiles.csv", "profile_", pictures)
    plates = "Sections of typical animals are shown, chosen by rule and not by eye"
    yield from _of_figures("Sections", plates, "results/records.csv; results/animals_wide.csv", "plate_", pictures)
    for text, where in cautions.items():
        places = "; ".join(f"{place} ({', '.join(names)})" for place, names in where.items())
        yield Statement("To be read with these results", plain(f"{text} This concerns: {places}."), "results/comparisons.csv: flags")


def _records(table: pd.DataFrame | None, endpoint: str | None = None) -> list[dict[str, Any]]:
    own = table if table is None or endpoint is None else table[table["endpoint"] == endpoint]
    return [] if own is None else [{str(k): v for k, v in row.items()} for row in own.to_dict("records")]


def _sentence(finding: Finding) -> str:
    return plain(f"{finding.headline} ({finding.detail}).")


def _note(cautions: dict[str, dict[str, list[str]]], finding: Finding, place: str, name: str) -> None:
    for text in finding.cautions:
        names = cautions.setdefault(text, {}).setdefault(place, [])
        if name not in names:
            names.append(name)


def _of_figures(heading: str, text: str, source: str, start: str, pictures: Collection[str]) -> Iterator[Statement]:
    """Yield the statement that cites all figures whose names start so; nothing without any."""
    names = tuple(name for name in pictures if name.startswith(start))
    if names:
        yield Statement(heading, f"{text}.", source, names)


def _group_means(values: pd.Series, groups: pd.Series, unit: str) -> str:
    parts = []
    for name in group_order(groups):
        own = values.reindex(groups.index[groups.astype(str).to_numpy() == name]).astype(float).dropna()
        spread = f" (SD {number(float(own.std()))})" if len(own) > 1 and finite(float(own.std())) else ""
        parts.append(f"{plain(name)} {number(float(own.mean()))}{spread}, n = {len(own)}" if len(own) else f"{plain(name)}: no value")
    return f"Means{f' ({unit})' if unit else ''}: {'; '.join(parts)}."
