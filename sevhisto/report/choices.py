"""The specification curve of one endpoint as a figure: every choice that was made otherwise, and where it takes each contrast."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from sevhisto.report.canvas import FAINT, INK, SOFT, Drawing, current_page, pad_limits, pt, shorten, styled
from sevhisto.report.words import endpoint_words, finite
from sevhisto.schema import AS_ANALYSED, NOT_MADE

MARKS = {"": ("D", INK), "robust": ("o", INK), "fragile": ("s", "#b35806"), "reverses": ("X", "#b2182b")}
"""Marker and colour of each verdict: told apart without colour, too."""


@styled
def choices_figure(curve: pd.DataFrame, endpoint: str) -> Drawing:
    """Return one column per contrast and one line per variant, with estimates and 95 % intervals, or that it cannot be made.

    Parameters
    ----------
    curve : rows of specifications.csv for this endpoint; animals that are left out one by one share a line
    endpoint : column of animals_wide.csv
    """
    contrasts = list(dict.fromkeys(curve["contrast"]))
    lines = list(dict.fromkeys(_line(r) for r in curve.to_dict("records")))
    unit, page = endpoint_words(endpoint).unit, current_page()
    names = 16.0 if page.width > 50 else 14.5
    figure = page.figure(6.2 + 1.75 * len(lines))
    page.grid(figure, names, 4.0, 0.8, 2.2)
    axes = figure.subplots(1, len(contrasts), sharey=True, squeeze=False, gridspec_kw={"wspace": 0.08})[0]
    for ax, contrast in zip(axes, contrasts, strict=True):
        _column(ax, curve[curve["contrast"] == contrast], lines)
        ax.set_title(shorten(contrast, max(int((page.width - names) / len(contrasts) * 1.6), 6)), fontsize=pt(8.5))
    axes[0].set_yticks(range(len(lines)), [shorten(line, 31 if names > 15 else 27) for line in lines], fontsize=pt(8.5))
    axes[0].set_ylim(len(lines) - 0.4, -0.6)
    middle = (names + (page.width - names) / 2) / page.width
    _, bottom, _, _ = page.rect(figure, 0, 0.5, 0, 0)
    figure.text(middle, bottom, _below(unit), fontsize=pt(8.5), ha="center", va="bottom")
    return Drawing(figure, choices_told(curve, endpoint), curve.drop(columns="endpoint", errors="ignore").reset_index(drop=True))


def _below(unit: str) -> str:
    return f"difference of means{f' ({unit})' if unit else ''}, 95 % interval"


def _line(row: dict[Any, Any]) -> str:
    if row["choice"] == "without animal":
        return "without one animal, each in turn"
    return f"{row['choice']} {row['variant']}".strip() if row["choice"] != AS_ANALYSED else AS_ANALYSED


def _column(ax: Axes, rows: pd.DataFrame, lines: list[str]) -> None:
    ax.axvline(0, color=SOFT, linewidth=pt(0.9), linestyle=(0, (4, 3)))
    seen = [0.0]
    for row in rows.to_dict("records"):
        y, (marker, colour) = lines.index(_line(row)), MARKS.get(row["verdict"], MARKS[""])
        if finite(row["ci_low"]) and finite(row["ci_high"]):
            if row["choice"] == AS_ANALYSED:
                ax.axvspan(row["ci_low"], row["ci_high"], color=FAINT, linewidth=0)
            thin = row["choice"] == "without animal"
            ax.plot([row["ci_low"], row["ci_high"]], [y, y], color=colour, linewidth=pt(0.7 if thin else 1.3), alpha=0.5 if thin else 1)
            seen += [row["ci_low"], row["ci_high"]]
        if row["verdict"] == NOT_MADE:
            ax.text(0.5, y, NOT_MADE, transform=ax.get_yaxis_transform(), ha="center", va="center", fontsize=pt(7), color=SOFT)
        elif finite(row["estimate"]):
            ax.plot([row["estimate"]], [y], marker, color=colour, markersize=pt(4))
            seen.append(row["estimate"])
    pad_limits(ax, seen, "x")
    ax.tick_params(axis="y", length=0)
    ax.tick_params(axis="x", labelsize=pt(7))


def choices_told(curve: pd.DataFrame, endpoint: str) -> str:
    """Return how often a conclusion stands under other choices, in a sentence."""
    counts = {word: int((curve["verdict"] == word).sum()) for word in ("robust", "fragile", "reverses")}
    told = ", ".join(f"{n} {word}" for word, n in counts.items())
    return f"{endpoint_words(endpoint).label} under other choices: {told}."
