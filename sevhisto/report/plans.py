"""The curve of a plan: power against animals per arm, one line for each number of sections."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from sevhisto.report.canvas import SOFT, legend, look, styled, to_svg
from sevhisto.report.figures import WIDTH_IN
from sevhisto.report.words import endpoint_words, number, unit_words

MOST_LINES = 5


@styled
def plan_figure(plan: pd.DataFrame, wanted: float, ident: str) -> str:
    """Return one panel per endpoint of plan.csv; SVG."""
    endpoints = list(dict.fromkeys(plan["endpoint"]))
    figure = Figure(figsize=(WIDTH_IN, 3.1 * len(endpoints)))
    axes = figure.subplots(len(endpoints), 1, squeeze=False)[:, 0]
    figure.subplots_adjust(left=0.075, right=0.76, top=1 - 0.3 / figure.get_figheight(), bottom=0.5 / figure.get_figheight(), hspace=0.45)
    for i, (ax, endpoint) in enumerate(zip(axes, endpoints, strict=True)):
        own = plan[plan["endpoint"] == endpoint]
        counts = sorted(set(own["sections"]))
        shown = (
            counts if len(counts) <= MOST_LINES else [counts[round(j * (len(counts) - 1) / (MOST_LINES - 1))] for j in range(MOST_LINES)]
        )
        for j, m in enumerate(shown):
            line = own[own["sections"] == m]
            colour, marker = look(j)
            ax.plot(line["animals_per_arm"], line["power"], color=colour, marker=marker, markersize=3.5, linewidth=1.2)
        ax.axhline(wanted, color=SOFT, linewidth=0.9, linestyle=(0, (4, 3)))
        ax.set_ylim(0, 1.02)
        ax.set_ylabel("power")
        words = endpoint_words(endpoint)
        ax.set_title(f"{words.label}: a difference of {number(own['difference'].iloc[0])} {_unit(str(own['unit'].iloc[0]))}", loc="left")
        if len(shown) > 1:
            top = 1 - (i + 0.12) / len(endpoints)
            legend(figure, [f"{m} section{'s' * (m > 1)} per animal" for m in shown], 0.78, top, 0.09 / len(endpoints))
    axes[-1].set_xlabel("animals per arm")
    return to_svg(figure, ident, f"Power against animals per arm for {len(endpoints)} endpoints; dashed: {wanted:g}.")


def _unit(unit: str) -> str:
    name, _, rest = unit.partition(" per section")
    return f"{unit_words(name)} per section{rest}" if unit != name else unit_words(unit)
