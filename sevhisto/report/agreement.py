"""Agreement as a figure: differences against means with their limits, and the overlap of each section."""

from __future__ import annotations

import io
from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sevhisto.report.canvas import FAINT, INK, OKABE_ITO, SOFT, quiet_style, shorten, stamp_figures, to_svg
from sevhisto.report.words import finite, fixed, number

_UNITS = {"area_um2": ("area (mm²)", 1e-6), "count": ("count", 1.0)}
MAX_ROWS = 12


def agreement_figure(pairs: pd.DataFrame, summary: pd.DataFrame, stamp: Collection[str] = ()) -> tuple[str, bytes]:
    """Return the figure as SVG and as PNG: one line per kind, measure and pair of readings, 12 lines at most.

    Parameters
    ----------
    pairs : `schema_evidence.AGREEMENT`
    summary : `schema_evidence.AGREEMENT_SUMMARY`
    stamp : flags of the whole study
    """
    lines = summary[summary["bias"].notna()].head(MAX_ROWS).to_dict("records")
    with quiet_style(), stamp_figures(stamp):
        figure = Figure(figsize=(9.0, max(2.75 * len(lines), 1.2)))
        FigureCanvasAgg(figure)
        if not lines:
            figure.text(0.5, 0.5, "no two readings of two sections or more", ha="center", va="center")
        axes = figure.subplots(max(len(lines), 1), 2, squeeze=False, width_ratios=(3, 1)) if lines else np.empty((0, 2), object)
        for (left, right), line in zip(axes, lines, strict=True):
            own = _members(pairs, line)
            _bland_altman(left, own, line)
            _overlaps(right, own, line)
        if lines:
            height = figure.get_figheight()
            figure.subplots_adjust(left=0.13, right=0.985, top=1 - 0.35 / height, bottom=0.6 / height, hspace=0.55, wspace=0.28)
        svg = to_svg(figure, "agreement", _alt(lines))
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=200, metadata={"Software": None})
    return svg, png.getvalue()


def _members(pairs: pd.DataFrame, line: dict[Any, Any]) -> pd.DataFrame:
    names = pairs["reading_a"] + ", " + pairs["reading_b"]
    both = pairs[f"{line['measure']}_a"].notna() & pairs[f"{line['measure']}_b"].notna()
    own: pd.DataFrame = pairs[(pairs["kind"] == line["kind"]) & (names == line["readings"]) & both]
    return own


def _bland_altman(ax: Axes, own: pd.DataFrame, line: dict[Any, Any]) -> None:
    label, scale = _UNITS[line["measure"]]
    a, b = (own[f"{line['measure']}_{side}"].to_numpy(np.float64) * scale for side in "ab")
    for name, style in (("bias", "-"), ("limit_low", (0, (4, 3))), ("limit_high", (0, (4, 3)))):
        at, low, high = (line[name + end] * scale for end in ("", "_from", "_to"))
        if finite(low) and finite(high):
            ax.axhspan(low, high, color=FAINT, alpha=0.35, linewidth=0)
        ax.axhline(at, color=INK if name == "bias" else SOFT, linewidth=1.1, linestyle=style)
        ax.annotate(
            number(at), (1.0, at), xycoords=("axes fraction", "data"), xytext=(-3, 2), textcoords="offset points", ha="right", fontsize=7.5
        )
    ax.axhline(0, color=SOFT, linewidth=0.6)
    ax.plot((a + b) / 2, a - b, "o", color=OKABE_ITO[0], markersize=4.5, alpha=0.8, markeredgecolor="white", markeredgewidth=0.4)
    ax.margins(x=0.08, y=0.12)
    first, second = (shorten(name, 22) for name in (own["reading_a"].iloc[0], own["reading_b"].iloc[0]))
    ax.set_xlabel(f"mean of both, {label}")
    ax.set_ylabel(f"{first} −\n{second}")
    icc = f"ICC(A,1) {_interval(line)}" if finite(line["icc_a1"]) else "no ICC"
    ax.set_title(f"{line['kind'].replace('_', ' ')}: n = {line['n']}, {icc}", loc="left")


def _interval(line: dict[Any, Any]) -> str:
    return f"{fixed(line['icc_a1'], 3)} ({fixed(line['icc_a1_from'], 3)} to {fixed(line['icc_a1_to'], 3)})"


def _overlaps(ax: Axes, own: pd.DataFrame, line: dict[Any, Any]) -> None:
    column, label = ("dice", "Dice") if line["measure"] == "area_um2" else ("f1", "F1 at IoU 0.5")
    values = own[column].dropna().to_numpy(np.float64)
    if not len(values):
        ax.set_axis_off()
        return
    x = (np.argsort(np.argsort(values, kind="stable")) % 7 - 3) * 0.05  # spread sideways, always in the same way
    ax.plot(x, values, "o", color=OKABE_ITO[2], markersize=4.5, alpha=0.8, markeredgecolor="white", markeredgewidth=0.4)
    ax.plot([-0.28, 0.28], [values.mean()] * 2, color=INK, linewidth=1.6)
    ax.set_xlim(-0.5, 0.5)
    ax.set_ylim(min(0.0, float(values.min())), 1.02)
    ax.set_xticks([])
    ax.set_title(f"{label}: mean {fixed(float(values.mean()), 3)}", loc="left")


def _alt(lines: list[dict[Any, Any]]) -> str:
    told = [
        f"{r['kind']}, {r['readings']}: bias {number(r['bias'])}, limits {number(r['limit_low'])} to {number(r['limit_high'])}"
        for r in lines
    ]
    return f"Bland-Altman plots and overlap. {'; '.join(told)}."
