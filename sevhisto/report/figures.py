"""The plots of the report: every animal is drawn, uncertainty always, and groups differ by marker as well as colour."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import Any, cast

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.special import stdtrit

from sevhisto.report.canvas import FAINT, INK, SOFT, legend, look, pad_limits, shorten, styled, to_svg
from sevhisto.report.words import endpoint_words, finite, number
from sevhisto.types import DoubleArray

WIDTH_IN = 10.0


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


def _split(values: pd.Series, groups: pd.Series) -> dict[str, DoubleArray]:
    """Return the finite values of each group; animals keep their group's order."""
    known = groups.astype(str)
    return {g: np.asarray(values.reindex(known.index[known.to_numpy() == g]).dropna().to_numpy(), np.float64) for g in group_order(groups)}


# ---------------------------------------------------------------- estimation plot


@styled
def estimation_plot(values: pd.Series, groups: pd.Series, endpoint: str, contrasts: pd.DataFrame | None, ident: str) -> str:
    """Return an estimation plot: every animal, group means with 95 % intervals, and the contrasts with theirs on a second axis.

    Parameters
    ----------
    values : one value per animal, index animal
    groups : group of each animal, index animal
    endpoint : column of animals_wide.csv, which gives label and unit
    contrasts : rows of comparisons.csv for this endpoint, or None before comparison
    ident : start of every id in the SVG, unique in the page
    """
    parts, words = _split(values, groups), endpoint_words(endpoint)
    shown = contrasts is not None and len(contrasts) > 0
    figure = Figure(figsize=(WIDTH_IN, 3.3 if shown else 3.0))
    ax = figure.add_axes((0.085, 0.19, 0.45 if shown else 0.89, 0.74))
    step = _swarm_step(parts)
    for i, v in enumerate(parts.values()):
        colour, marker = look(i)
        x = i - 0.12 + _swarm(v, step)
        (dots,) = ax.plot(x, v, marker, color=colour, markersize=5.5, alpha=0.85, markeredgecolor="white", markeredgewidth=0.4)
        dots.set_gid(f"dots-{i}")
        mean, low, high = mean_interval(v)
        ax.plot([i + 0.3, i + 0.3], [low, high], color=INK, linewidth=1.6, solid_capstyle="butt")
        ax.plot([i + 0.3], [mean], marker, color=INK, markersize=6)
    ax.set_xticks(range(len(parts)), [f"{shorten(g, 16)}\nn = {len(v)}" for g, v in parts.items()])
    ax.set_xlim(-0.6, len(parts) - 0.4)
    pad_limits(ax, [*np.concatenate([*parts.values(), [0.0]]), *_ends(parts)], "y")
    ax.set_ylabel(fill(words.axis, 34))
    ax.tick_params(axis="x", length=0)
    if shown:
        _forest(figure, cast(pd.DataFrame, contrasts), words.unit)
    return to_svg(figure, ident, _estimation_alt(words.axis, parts, contrasts))


def _ends(parts: dict[str, DoubleArray]) -> list[float]:
    return [end for v in parts.values() for end in mean_interval(v)[1:] if np.isfinite(end)]


def _swarm_step(parts: dict[str, DoubleArray]) -> float:
    every = np.concatenate([*parts.values(), [0.0]])
    return float(np.ptp(every)) * 0.035


def _swarm(values: DoubleArray, step: float) -> DoubleArray:
    """Return sideways offsets that keep dots nearer than `step` apart, always the same for the same values."""
    offsets = np.zeros(len(values))
    lanes = [0.0, -0.08, 0.08, -0.16, 0.16, -0.24, 0.24]
    placed: list[tuple[float, float]] = []
    for i in np.argsort(values, kind="stable"):
        free = [x for x in lanes if all(x != px or abs(values[i] - pv) >= step for px, pv in placed)]
        offsets[i] = free[0] if free else lanes[i % len(lanes)]
        placed.append((float(offsets[i]), float(values[i])))
    return offsets


def _forest(figure: Figure, contrasts: pd.DataFrame, unit: str) -> None:
    ax = figure.add_axes((0.74, 0.19, 0.25, 0.74))
    rows = contrasts.to_dict("records")
    ax.axvline(0, color=SOFT, linewidth=0.9, linestyle=(0, (4, 3)))
    for i, row in enumerate(rows):
        low, high = row["ci_low"], row["ci_high"]
        if finite(low) and finite(high):
            ax.plot([low, high], [i, i], color=INK, linewidth=1.8, solid_capstyle="butt")
        (dot,) = ax.plot([row["estimate"]], [i], "D", color=INK, markersize=6)
        dot.set_gid(f"estimate-{i}")
    ax.set_yticks(range(len(rows)), [_contrast_label(r) for r in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    pad_limits(ax, [float(r[k]) for r in rows for k in ("estimate", "ci_low", "ci_high")], "x")
    _around_zero(ax)
    ax.set_xlabel(f"difference of means{f' ({unit})' if unit else ''},\n95 % interval")
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


def _around_zero(ax: Axes) -> None:
    """Keep zero inside the axis, so that its line can be seen."""
    low, high = ax.get_xlim()
    ax.set_xlim(min(low, -0.06 * (high - low)), max(high, 0.06 * (high - low)))


def _contrast_label(row: dict[Any, Any]) -> str:
    exploratory = "\n(exploratory)" if "exploratory" in str(row["flags"]).split(";") else ""
    a, b = (_side(str(row[k])) for k in ("group_a", "group_b"))
    return f"{a}\nminus {b}{exploratory}"


def _side(joined: str) -> str:
    names = joined.split("+")
    return shorten(joined, 20) if len(names) == 1 else f"mean of {len(names)} groups"


def _estimation_alt(label: str, parts: dict[str, DoubleArray], contrasts: pd.DataFrame | None) -> str:
    means = "; ".join(f"{g}: mean {number(mean_interval(v)[0])}, n = {len(v)}" for g, v in parts.items())
    more = "" if contrasts is None or contrasts.empty else f" Beside it {len(contrasts)} differences of means with 95 % intervals."
    return f"{label}: one dot per animal, with group means and 95 % intervals. {means}.{more}"


# ---------------------------------------------------------------- curves, one panel per group


@styled
def curves(lines: pd.DataFrame, groups: pd.Series, x_label: str, y_label: str, what: str, ident: str, core: bool = False) -> str:
    """Return one panel per group: every animal's curve thin, the group's mean bold, the other groups' means in grey.

    Parameters
    ----------
    lines : columns animal, x, y; one row per point of a curve
    what : what the curves are, for the alternative text
    core : shade x below 0, the lesion core
    """
    names = group_order(groups)
    columns = min(max(len(names), 1), 4)
    rows = -(-max(len(names), 1) // columns)
    figure = Figure(figsize=(WIDTH_IN, 0.55 + 2.05 * rows))
    figure.subplots_adjust(0.065, 0.5 / (0.55 + 2.05 * rows), 0.99, 1 - 0.24 / (0.55 + 2.05 * rows), 0.09, 0.34)
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    table = {g: _curve_table(lines, groups, g) for g in names}
    for i, ax in enumerate(axes.ravel()):
        if i >= len(names):
            ax.set_axis_off()
            continue
        _curve_panel(ax, table, names, i, core)
        ax.tick_params(labelbottom=i + columns >= len(names))
        if i + columns >= len(names):
            ax.set_xlabel(x_label)
    axes[0, 0].yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    figure.text(0.008, 0.5 + 0.08 / rows, y_label, rotation=90, va="center", ha="left")
    pad_limits(axes[0, 0], list(lines["y"]), "y")
    n = ", ".join(f"{g}: {t.shape[1]} animals" for g, t in table.items())
    return to_svg(figure, ident, f"{what}. One panel per group, one thin line per animal, group mean bold. {n}.")


def _curve_table(lines: pd.DataFrame, groups: pd.Series, group: str) -> pd.DataFrame:
    members = groups.index[groups.astype(str).to_numpy() == group]
    own = lines[lines["animal"].isin(members)]
    return own.pivot_table(index="x", columns="animal", values="y", aggfunc="mean", sort=True)


def _mean_curve(table: pd.DataFrame) -> pd.Series:
    """Return the mean where at least half of the group's animals have a value: a lone survivor is no mean."""
    enough = table.notna().sum(axis=1) >= max(table.shape[1] / 2, 1)
    return table[enough].mean(axis=1)


def _curve_panel(ax: Axes, table: dict[str, pd.DataFrame], names: list[str], index: int, core: bool) -> None:
    colour, marker = look(index)
    if core:
        ax.axvspan(min([float(t.index.min()) for t in table.values() if len(t)], default=0), 0, color="#f1f1f1", linewidth=0)
    for other in names:
        mean = _mean_curve(table[other])
        if other != names[index]:
            ax.plot(mean.index, mean, color=FAINT, linewidth=1.2)
    own = table[names[index]]
    for i, animal in enumerate(own.columns):
        curve = own[animal].dropna()
        (line,) = ax.plot(curve.index, curve, color=colour, linewidth=0.7, alpha=0.65)
        line.set_gid(f"animal-{index}-{i}")
    mean = _mean_curve(own)
    ax.plot(mean.index, mean, color=colour, linewidth=2.4, marker=marker, markersize=4.5, markevery=max(len(mean) // 8, 1))
    ax.set_title(f"{shorten(names[index], 26)}, n = {own.shape[1]}", loc="left", color=INK)


# ---------------------------------------------------------------- ECM against motor


@styled
def relation_plot(ecm: pd.Series, motor: pd.Series, groups: pd.Series, names: tuple[str, str], ident: str) -> str:
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
    figure = Figure(figsize=(WIDTH_IN * 0.72, 3.5))
    ax = figure.add_axes((0.11, 0.15, 0.62, 0.81))
    order = group_order(groups)
    for i, name in enumerate(order):
        colour, marker = look(i)
        own = both[(group == name).to_numpy()]
        if len(own):
            (dots,) = ax.plot(own["x"], own["y"], marker, color=colour, markersize=6.5, markeredgecolor="white", markeredgewidth=0.5)
            dots.set_gid(f"dots-{i}")
            ends = np.array([own["x"].min(), own["x"].max()])
            ax.plot(ends, own["y"].mean() + slope * (ends - own["x"].mean()), color=colour, linewidth=1.5)
    pad_limits(ax, list(both["x"]), "x", include_zero=False)
    pad_limits(ax, list(both["y"]), "y", include_zero=False)
    a, b = (endpoint_words(n) for n in names)
    ax.set_xlabel(a.axis)
    ax.set_ylabel(fill(b.axis, 40))
    legend(figure, order, 0.77, 0.92, 0.075)
    return to_svg(figure, ident, f"{b.axis} against {a.axis}: {len(both)} animals, parallel lines within {len(order)} groups.")


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
