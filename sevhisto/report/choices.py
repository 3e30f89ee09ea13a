"""The specification curve of one endpoint as a figure: every choice that was made otherwise, and where it takes each contrast."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sevhisto.report.canvas import FAINT, INK, SOFT, pad_limits, shorten, styled, to_svg
from sevhisto.report.figures import WIDTH_IN
from sevhisto.report.words import endpoint_words, finite
from sevhisto.schema import AS_ANALYSED, NOT_MADE

MARKS = {"": ("D", INK), "robust": ("o", INK), "fragile": ("s", "#b35806"), "reverses": ("X", "#b2182b")}
"""Marker and colour of each verdict: told apart without colour, too."""


@styled
def choices_figure(curve: pd.DataFrame, endpoint: str, ident: str) -> str:
    """Return one column per contrast and one line per variant, with estimates and 95 % intervals, or that it cannot be made; SVG.

    Parameters
    ----------
    curve : rows of specifications.csv for this endpoint; animals that are left out one by one share a line
    endpoint : column of animals_wide.csv
    ident : start of every id in the SVG, unique in the page
    """
    contrasts = list(dict.fromkeys(curve["contrast"]))
    lines = list(dict.fromkeys(_line(r) for r in curve.to_dict("records")))
    unit = endpoint_words(endpoint).unit
    figure = Figure(figsize=(WIDTH_IN, 0.9 + 0.21 * len(lines)))
    axes = figure.subplots(1, len(contrasts), sharey=True, squeeze=False)[0]
    figure.subplots_adjust(left=0.24, right=0.99, top=1 - 0.3 / figure.get_figheight(), bottom=0.55 / figure.get_figheight(), wspace=0.08)
    for ax, contrast in zip(axes, contrasts, strict=True):
        _column(ax, curve[curve["contrast"] == contrast], lines)
        ax.set_title(shorten(contrast, 30), fontsize=8.5)
    axes[0].set_yticks(range(len(lines)), lines)
    axes[0].set_ylim(len(lines) - 0.4, -0.6)
    figure.supxlabel(f"difference of means{f' ({unit})' if unit else ''}, 95 % interval", fontsize=8.5, y=0.02)
    return to_svg(figure, ident, _alt(curve, endpoint))


def _line(row: dict[Any, Any]) -> str:
    if row["choice"] == "without animal":
        return "without one animal, each in turn"
    return f"{row['choice']} {row['variant']}".strip() if row["choice"] != AS_ANALYSED else AS_ANALYSED


def _column(ax: Axes, rows: pd.DataFrame, lines: list[str]) -> None:
    ax.axvline(0, color=SOFT, linewidth=0.9, linestyle=(0, (4, 3)))
    seen = [0.0]
    for row in rows.to_dict("records"):
        y, (marker, colour) = lines.index(_line(row)), MARKS.get(row["verdict"], MARKS[""])
        if finite(row["ci_low"]) and finite(row["ci_high"]):
            if row["choice"] == AS_ANALYSED:
                ax.axvspan(row["ci_low"], row["ci_high"], color=FAINT, linewidth=0)
            thin = row["choice"] == "without animal"
            ax.plot([row["ci_low"], row["ci_high"]], [y, y], color=colour, linewidth=0.7 if thin else 1.3, alpha=0.5 if thin else 1)
            seen += [row["ci_low"], row["ci_high"]]
        if row["verdict"] == NOT_MADE:
            ax.text(0.5, y, NOT_MADE, transform=ax.get_yaxis_transform(), ha="center", va="center", fontsize=7, color=SOFT)
        elif finite(row["estimate"]):
            ax.plot([row["estimate"]], [y], marker, color=colour, markersize=4)
            seen.append(row["estimate"])
    pad_limits(ax, seen, "x")
    ax.tick_params(axis="y", length=0)
    ax.tick_params(axis="x", labelsize=7)


def _alt(curve: pd.DataFrame, endpoint: str) -> str:
    counts = {word: int((curve["verdict"] == word).sum()) for word in ("robust", "fragile", "reverses")}
    told = ", ".join(f"{n} {word}" for word, n in counts.items())
    return f"{endpoint_words(endpoint).label} under other choices: {told}."
