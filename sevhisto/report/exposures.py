"""The delivery profiles of a study as a figure: what one compartment makes of each protocol, for each possible half-life."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from sevhisto.report.canvas import SOFT, legend, look, styled, to_svg
from sevhisto.report.figures import WIDTH_IN

DECADES = 4  # below the highest peak


@styled
def exposure_figure(profiles: pd.DataFrame, levels: dict[float, float], order: list[str], unit: str, ident: str) -> str:
    """Return one panel per half-life with every protocol's amount in circulation over time, on one logarithmic scale; SVG.

    Parameters
    ----------
    profiles : columns protocol, half_life_min, hour, amount
    levels : half-life (min) to the level of ``time_above_h``
    order : all groups, so that colours and markers are those of the other figures
    unit : unit of the amounts
    ident : start of every id in the SVG, unique in the page
    """
    lives = list(dict.fromkeys(profiles["half_life_min"]))
    figure = Figure(figsize=(WIDTH_IN, 3.2))
    axes = figure.subplots(1, len(lives), sharex=True, sharey=True, squeeze=False)[0]
    figure.subplots_adjust(left=0.085, right=0.8, top=0.9, bottom=0.16, wspace=0.08)
    shown = [name for name in order if name in set(profiles["protocol"])]
    for ax, minutes in zip(axes, lives, strict=True):
        for name in shown:
            own = profiles[(profiles["protocol"] == name) & (profiles["half_life_min"] == minutes)]
            colour, marker = look(order.index(name))
            ax.plot(own["hour"], own["amount"].where(own["amount"] > 0), color=colour, linewidth=1.3)
            top = own.iloc[int(own["amount"].to_numpy().argmax())]
            ax.plot([top["hour"]], [top["amount"]], marker, color=colour, markersize=5, markeredgecolor="white", markeredgewidth=0.4)
        ax.axhline(levels[minutes], color=SOFT, linewidth=0.9, linestyle=(0, (4, 3)))
        ax.set_title(f"half-life {life_words(minutes)}", loc="left")
        ax.set_yscale("log")
        ax.set_xlabel("hours after injury")
    top = float(profiles["amount"].max())
    axes[0].set_ylim(top * 10**-DECADES, top * 2)
    axes[0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0e}".replace("e+0", "e").replace("e+", "e")))
    axes[0].set_ylabel(f"amount in circulation ({unit})")
    legend(figure, shown, 0.82, 0.85, 0.09, [order.index(name) for name in shown])
    told = ", ".join(life_words(m) for m in lives)
    return to_svg(figure, ident, f"Modelled amount in circulation over time, {', '.join(shown)}, for half-lives of {told}.")


def life_words(minutes: float) -> str:
    """Return a half-life as people say it."""
    return f"{minutes:g} min" if minutes < 120 else f"{minutes / 60:g} h"
