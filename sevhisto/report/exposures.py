"""The delivery profiles of a study as a figure: what one compartment makes of each protocol, for each possible half-life."""

from __future__ import annotations

import pandas as pd
from matplotlib.ticker import FuncFormatter

from sevhisto.report.canvas import SOFT, Drawing, current_page, legend, look, pt, rim, styled
from sevhisto.report.figures import group_order

DECADES = 4  # below the highest peak


@styled
def exposure_figure(profiles: pd.DataFrame, levels: dict[float, float], order: list[str], unit: str) -> Drawing:
    """Return one panel per half-life with every protocol's amount in circulation over time, on one logarithmic scale.

    Parameters
    ----------
    profiles : columns protocol, half_life_min, hour, amount
    levels : half-life (min) to the level of ``time_above_h``
    order : all groups, so that colours and markers are those of the other figures
    unit : unit of the amounts
    """
    lives = list(dict.fromkeys(profiles["half_life_min"]))
    page, shown = current_page(), [name for name in order if name in set(profiles["protocol"])]
    narrow = page.width < 50
    above = 2.0 + (1.7 * len(shown) + 0.5 if narrow else 0)
    figure = page.figure(22 + above)
    page.grid(figure, 6.5, 3.8, 1 if narrow else 16, above)
    axes = figure.subplots(1, len(lives), sharex=True, sharey=True, squeeze=False, gridspec_kw={"wspace": 0.08})[0]
    for ax, minutes in zip(axes, lives, strict=True):
        for name in shown:
            own = profiles[(profiles["protocol"] == name) & (profiles["half_life_min"] == minutes)]
            colour, marker = look(order.index(name))
            ax.plot(own["hour"], own["amount"].where(own["amount"] > 0), color=colour, linewidth=pt(1.3))
            top = own.iloc[int(own["amount"].to_numpy().argmax())]
            ax.plot([top["hour"]], [top["amount"]], marker, color=colour, markersize=pt(5), **rim())
        ax.axhline(levels[minutes], color=SOFT, linewidth=pt(0.9), linestyle=(0, (4, 3)))
        ax.set_title(f"{'' if narrow else 'half-life '}{life_words(minutes)}", loc="left")
        ax.set_yscale("log")
        ax.set_xlabel("hours after injury")
    top = float(profiles["amount"].max())
    axes[0].set_ylim(top * 10**-DECADES, top * 2)
    axes[0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0e}".replace("e+0", "e").replace("e+", "e")))
    axes[0].set_ylabel(f"amount in circulation ({unit})")
    legend(figure, shown, 7 if narrow else page.width - 14.5, 0.9 if narrow else 2.6, [order.index(name) for name in shown])
    told = ", ".join(life_words(m) for m in lives)
    alt = f"Modelled amount in circulation over time, {', '.join(shown)}, for half-lives of {told}."
    return Drawing(figure, alt, profiles[["protocol", "half_life_min", "hour", "amount"]].reset_index(drop=True))


def exposure_profiles(exposure: pd.DataFrame, profiles: pd.DataFrame, groups: pd.Series) -> Drawing:
    """Return `exposure_figure` of exposure.csv: its levels and unit."""
    levels: dict[float, float] = dict(zip(exposure["half_life_min"], exposure["level"], strict=True))
    return exposure_figure(profiles, levels, group_order(groups), str(exposure["dose_unit"].iloc[0]))


def life_words(minutes: float) -> str:
    """Return a half-life as people say it."""
    return f"{minutes:g} min" if minutes < 120 else f"{minutes / 60:g} h"
