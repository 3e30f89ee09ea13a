"""The curve of a plan: power against animals per arm, one line for each number of sections."""

from __future__ import annotations

import pandas as pd

from sevhisto.report.canvas import SOFT, Drawing, current_page, legend, look, pt, styled
from sevhisto.report.words import endpoint_words, number, unit_words

MOST_LINES = 5


@styled
def plan_figure(plan: pd.DataFrame, wanted: float) -> Drawing:
    """Return one panel per endpoint of plan.csv."""
    endpoints = list(dict.fromkeys(plan["endpoint"]))
    page, each = current_page(), 25.0
    figure = page.figure(each * len(endpoints))
    page.grid(figure, 6, 4, 19, 2.4)
    axes = figure.subplots(len(endpoints), 1, squeeze=False, gridspec_kw={"hspace": 0.45})[:, 0]
    for i, (ax, endpoint) in enumerate(zip(axes, endpoints, strict=True)):
        own = plan[plan["endpoint"] == endpoint]
        counts = sorted(set(own["sections"]))
        shown = (
            counts if len(counts) <= MOST_LINES else [counts[round(j * (len(counts) - 1) / (MOST_LINES - 1))] for j in range(MOST_LINES)]
        )
        for j, m in enumerate(shown):
            line = own[own["sections"] == m]
            colour, marker = look(j)
            ax.plot(line["animals_per_arm"], line["power"], color=colour, marker=marker, markersize=pt(3.5), linewidth=pt(1.2))
        ax.axhline(wanted, color=SOFT, linewidth=pt(0.9), linestyle=(0, (4, 3)))
        ax.set_ylim(0, 1.02)
        ax.set_ylabel("power")
        words = endpoint_words(endpoint)
        ax.set_title(f"{words.label}: a difference of {number(own['difference'].iloc[0])} {_unit(str(own['unit'].iloc[0]))}", loc="left")
        if len(shown) > 1:
            legend(figure, [f"{m} section{'s' * (m > 1)} per animal" for m in shown], page.width - 17.5, each * i + 3)
    axes[-1].set_xlabel("animals per arm")
    return Drawing(figure, f"Power against animals per arm for {len(endpoints)} endpoints; dashed: {wanted:g}.", plan)


def _unit(unit: str) -> str:
    name, _, rest = unit.partition(" per section")
    return f"{unit_words(name)} per section{rest}" if unit != name else unit_words(unit)
