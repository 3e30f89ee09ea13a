"""The results section of a paper: what was found, filled from the tables."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from sevhisto.report.figures import group_order
from sevhisto.report.inputs import by_animal, shown_endpoints, split_relations
from sevhisto.report.methods_text import PaperFacts
from sevhisto.report.prose import Statement, plain
from sevhisto.report.words import comparison_sentence, endpoint_words, finite, number, relation_sentence


def results(facts: PaperFacts) -> Iterator[Statement]:
    """Yield what was found, one statement per comparison and relation of the shown endpoints; group means first."""
    inputs = facts.inputs
    wide = by_animal(inputs)
    shown = shown_endpoints(inputs, wide)
    for endpoint in shown:
        h = endpoint_words(endpoint).label
        yield Statement(
            h, _group_means(wide[endpoint], inputs.groups, endpoint_words(endpoint).unit), f"results/animals_wide.csv: {endpoint}"
        )
        rows = [] if inputs.comparisons is None else inputs.comparisons[inputs.comparisons["endpoint"] == endpoint].to_dict("records")
        for row in rows:
            words = comparison_sentence({str(k): v for k, v in row.items()})
            yield Statement(h, plain(words), f"results/comparisons.csv: endpoint {endpoint}, contrast {row['contrast']}")
    drawn = split_relations(inputs.relations, shown)[0]
    for row in [] if drawn is None else drawn.to_dict("records"):
        words = relation_sentence({str(k): v for k, v in row.items()})
        source = f"results/relations.csv: {row['ecm']}, {row['motor']}, {row['model']}"
        yield Statement("Matrix and motor outcome", plain(words), source)


def _group_means(values: pd.Series, groups: pd.Series, unit: str) -> str:
    parts = []
    for name in group_order(groups):
        own = values.reindex(groups.index[groups.astype(str).to_numpy() == name]).astype(float).dropna()
        spread = f" (SD {number(float(own.std()))})" if len(own) > 1 and finite(float(own.std())) else ""
        parts.append(f"{plain(name)} {number(float(own.mean()))}{spread}, n = {len(own)}" if len(own) else f"{plain(name)}: no value")
    return f"Means{f' ({unit})' if unit else ''}: {'; '.join(parts)}."
