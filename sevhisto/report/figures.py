"""The plots of the report: every animal is drawn, uncertainty always, and groups differ by marker as well as colour."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from scipy.special import stdtrit

from sevhisto.report.canvas import FAINT, INK, Drawing, current_page, legend, look, pad_limits, pt, rim, shorten, styled
from sevhisto.report.words import endpoint_words
from sevhisto.types import DoubleArray


def group_order(groups: pd.Series) -> list[str]:
    """Return the groups in order of first appearance: the same place, colour and marker in every figure."""
    return list(dict.fromkeys(str(g) for g in groups.to_numpy()))


def mean_interval(values: Sequence[float] | DoubleArray) -> tuple[float, float, float]:
    """Return the mean and the ends of its 95 % t interval; NaN ends for fewer than two values."""
    v = np.asarray(values, float)
    if v.size < 2:
        return (float(v.mean()) if v.size else float("nan")), float("nan"), float("nan")
    half = float(stdtrit(v.size - 1, 0.975)) * float(v.std(ddof=1)) / float(np.sqrt(v.size))
    return float(v.mean()), float(v.mean()) - half, float(v.mean()) + half


# ---------------------------------------------------------------- curves, one panel per group


@styled
def curves(lines: pd.DataFrame, groups: pd.Series, x_label: str, y_label: str, what: str, core: bool = False) -> Drawing:
    """Return one panel per group: every animal's curve thin, the group's mean bold, the other groups' means in grey.

    Parameters
    ----------
    lines : columns animal, x, y; one row per point of a curve
    what : what the curves are, for the alternative text
    core : shade x below 0, the lesion core
    """
    names, page = group_order(groups), current_page()
    columns = min(max(len(names), 1), 4 if page.width > 50 else 2)
    rows = -(-max(len(names), 1) // columns)
    figure = page.figure(4 + 15.5 * rows)
    page.grid(figure, 5.2, 3.8, 0.8, 1.8)
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False, gridspec_kw={"wspace": 0.09, "hspace": 0.28})
    table = {g: _curve_table(lines, groups, g) for g in names}
    for i, ax in enumerate(axes.ravel()):
        if i >= len(names):
            ax.set_axis_off()
            continue
        _curve_panel(ax, table, names, i, core, int(page.width / columns * 1.7) - 8)
        ax.tick_params(labelbottom=i + columns >= len(names))
        if i + columns >= len(names):
            ax.set_xlabel(x_label)
    axes[0, 0].yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    figure.text(0.7 / page.width, 0.5 + 0.08 / rows, y_label, rotation=90, va="center", ha="left")
    pad_limits(axes[0, 0], list(lines["y"]), "y")
    n = ", ".join(f"{g}: {t.shape[1]} animals" for g, t in table.items())
    told = f"{what}. One panel per group, one thin line per animal, group mean bold. {n}."
    return Drawing(figure, told, _curve_numbers(lines, groups, table))


def recovery_curves(motor: pd.DataFrame, groups: pd.Series, label: str) -> Drawing:
    """Return the motor scores as `curves`; `motor` : columns animal, day, score; `label` : name and top of the scale."""
    lines = motor.rename(columns={"day": "x", "score": "y"})[["animal", "x", "y"]]
    return curves(lines, groups, "days after injury", label, f"Recovery curves, {label}")


def profile_curve(rows: pd.DataFrame, marker: str, groups: pd.Series) -> Drawing:
    """Return `curves` of the positive fraction against the distance from the border; `rows` : of profiles.csv, of one panel and marker."""
    what = f"{marker}-positive fraction against distance from the lesion border"
    return curves(border_lines(rows), groups, "distance from the border (µm)", "positive (%)", what, core=True)


def _curve_numbers(lines: pd.DataFrame, groups: pd.Series, table: dict[str, pd.DataFrame]) -> pd.DataFrame:
    own = lines[lines["animal"].isin(groups.index)]
    animals = own.assign(what="animal", group=groups.astype(str).reindex(own["animal"]).to_numpy())
    means = [
        pd.DataFrame({"what": "mean", "group": g, "animal": "", "x": m.index, "y": m}) for g, t in table.items() if len(m := _mean_curve(t))
    ]
    return pd.concat([animals, *means], ignore_index=True)[["what", "group", "animal", "x", "y"]]


def _curve_table(lines: pd.DataFrame, groups: pd.Series, group: str) -> pd.DataFrame:
    members = groups.index[groups.astype(str).to_numpy() == group]
    own = lines[lines["animal"].isin(members)]
    return own.pivot_table(index="x", columns="animal", values="y", aggfunc="mean", sort=True)


def _mean_curve(table: pd.DataFrame) -> pd.Series:
    """Return the mean where at least half of the group's animals have a value: a lone survivor is no mean."""
    enough = table.notna().sum(axis=1) >= max(table.shape[1] / 2, 1)
    return table[enough].mean(axis=1)


def _curve_panel(ax: Axes, table: dict[str, pd.DataFrame], names: list[str], index: int, core: bool, letters: int) -> None:
    colour, marker = look(index)
    if core:
        ax.axvspan(min([float(t.index.min()) for t in table.values() if len(t)], default=0), 0, color="#f1f1f1", linewidth=0)
    for other in names:
        mean = _mean_curve(table[other])
        if other != names[index]:
            ax.plot(mean.index, mean, color=FAINT, linewidth=pt(1.2))
    own = table[names[index]]
    for i, animal in enumerate(own.columns):
        curve = own[animal].dropna()
        (line,) = ax.plot(curve.index, curve, color=colour, linewidth=pt(0.7), alpha=0.65)
        line.set_gid(f"animal-{index}-{i}")
    mean = _mean_curve(own)
    ax.plot(mean.index, mean, color=colour, linewidth=pt(2.4), marker=marker, markersize=pt(4.5), markevery=max(len(mean) // 8, 1))
    ax.set_title(f"{shorten(names[index], letters)}, n = {own.shape[1]}", loc="left", color=INK)


# ---------------------------------------------------------------- ECM against motor


@styled
def relation_plot(ecm: pd.Series, motor: pd.Series, groups: pd.Series, names: tuple[str, str]) -> Drawing:
    """Return ECM against motor outcome, one dot per animal, with parallel least-squares lines within the groups.

    Parameters
    ----------
    ecm, motor : one value per animal, index animal
    names : the two endpoints, columns of animals_wide.csv
    """
    both = pd.DataFrame({"x": ecm, "y": motor}).reindex(groups.index).dropna()
    group = groups.reindex(both.index).astype(str)
    centred = both - both.groupby(group.to_numpy()).transform("mean")
    spread = float((centred["x"] ** 2).sum())
    slope = float((centred["x"] * centred["y"]).sum()) / spread if spread > 0 else float("nan")
    page, order = current_page(), group_order(groups)
    narrow = page.width < 50
    wide, beside = (page.width if narrow else 58.0), (1.0 if narrow else 16.0)
    above = 1.7 * len(order) + 0.8 if narrow else 1.0
    figure = page.figure(26 + above, wide)
    ax = figure.add_axes(page.rect(figure, 6.5, 4, beside, above))
    for i, name in enumerate(order):
        colour, marker = look(i)
        own = both[(group == name).to_numpy()]
        if len(own):
            (dots,) = ax.plot(own["x"], own["y"], marker, color=colour, markersize=pt(6.5), **rim())
            dots.set_gid(f"dots-{i}")
            ends = np.array([own["x"].min(), own["x"].max()])
            ax.plot(ends, own["y"].mean() + slope * (ends - own["x"].mean()), color=colour, linewidth=pt(1.5))
    pad_limits(ax, list(both["x"]), "x", include_zero=False)
    pad_limits(ax, list(both["y"]), "y", include_zero=False)
    a, b = (endpoint_words(n) for n in names)
    ax.set_xlabel(a.axis)
    ax.set_ylabel(fill(b.axis, 40))
    legend(figure, order, 7.0 if narrow else wide - beside + 1.5, 0.9 if narrow else 2.0)
    told = f"{b.axis} against {a.axis}: {len(both)} animals, parallel lines within {len(order)} groups."
    data = both.rename(columns={"x": names[0], "y": names[1]}).assign(group=group).rename_axis("animal").reset_index()
    return Drawing(figure, told, data)


def border_lines(profiles: pd.DataFrame, step_um: float = 50.0, until_um: float = 2000.0) -> pd.DataFrame:
    """Return positive fraction (%) against distance from the lesion border, columns animal, x (um, bin centre), y.

    `profiles` holds rows of profiles.csv for one panel and marker; bins are pooled to `step_um` as ratios of sums. Bins without tissue,
    or without a threshold, are left out.
    """
    own = profiles[(profiles["axis"] == "border") & (profiles["position_um"] < until_um) & profiles["positive_um2"].notna()]
    x = np.floor(own["position_um"] / step_um) * step_um + step_um / 2
    sums = own.assign(x=x).groupby(["animal", "x"], sort=True)[["zone_um2", "positive_um2"]].sum().reset_index()
    sums = sums[sums["zone_um2"] > 0]
    return sums.assign(y=100 * sums["positive_um2"] / sums["zone_um2"])[["animal", "x", "y"]]
