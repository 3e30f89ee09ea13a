"""Estimation plots: every animal, the groups' means, and their differences with intervals.

Two groups and one contrast share one scale (Gardner and Altman, BMJ 292:746, 1986); else the differences stand below the data
(Cumming 2012; Ho et al., Nature Methods 16:565, 2019).
"""

from __future__ import annotations

from textwrap import fill
from typing import Any, cast

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sevhisto.report.canvas import INK, SOFT, Drawing, Page, current_page, look, pad_limits, pt, rim, shorten, styled
from sevhisto.report.figures import group_order, mean_interval
from sevhisto.report.words import Endpoint, endpoint_words, finite, number
from sevhisto.types import DoubleArray

LEFT_EM = 9.5
LETTER_EM = 0.55  # mean width of a letter
MOST_UPRIGHT_EM = 5.5  # narrower columns have their labels turned


@styled
def estimation_plot(values: pd.Series, groups: pd.Series, endpoint: str, contrasts: pd.DataFrame | None) -> Drawing:
    """Return an estimation plot of one endpoint.

    Parameters
    ----------
    values : one value per animal, index animal
    groups : group of each animal, index animal
    endpoint : column of animals_wide.csv, which gives label and unit
    contrasts : rows of comparisons.csv for this endpoint, or None before comparison
    """
    parts, words, page = _split(values, groups), endpoint_words(endpoint), current_page()
    rows = [] if contrasts is None else [cast(dict[str, Any], r) for r in contrasts.to_dict("records")]
    if len(parts) == 2 and len(rows) == 1 and {rows[0]["group_a"], rows[0]["group_b"]} == set(parts):
        figure = _shared_scale(page, parts, words, rows[0])
    else:
        figure = _below(page, parts, words, rows)
    return Drawing(figure, _alt(words.axis, parts, len(rows)), _numbers(values, groups, parts, rows))


def _split(values: pd.Series, groups: pd.Series) -> dict[str, DoubleArray]:
    """Return the finite values of each group; animals keep their group's order."""
    known = groups.astype(str)
    return {g: np.asarray(values.reindex(known.index[known.to_numpy() == g]).dropna().to_numpy(), np.float64) for g in group_order(groups)}


def _below(page: Page, parts: dict[str, DoubleArray], words: Endpoint, rows: list[dict[str, Any]]) -> Figure:
    """Draw the differences in a row of their own below the data."""
    column = (page.width - LEFT_EM - 1) / max(len(rows), 1)
    labels = [contrast_label(r, max(int(0.92 * column / LETTER_EM), 8) if column >= MOST_UPRIGHT_EM else 26) for r in rows]
    turned = column < MOST_UPRIGHT_EM
    foot = 0.0 if not rows else 14.0 if turned else _height(labels)
    high, low = 18.0, 11.5 if rows else 0.0
    names = _group_labels(parts, (page.width - LEFT_EM - 1) / max(len(parts), 1))
    under = _height(names)
    figure = page.figure(1 + high + under + (low + foot + 0.6 if rows else 0))
    ax = figure.add_axes(page.rect(figure, LEFT_EM, under + (low + foot + 0.6 if rows else 0), 1, 1))
    _animals(ax, parts, words, names)
    if rows:
        below = figure.add_axes(page.rect(figure, LEFT_EM, foot, 1, 1 + high + under + 0.6))
        _differences(below, rows, labels, words.unit, turned)
        figure.align_ylabels([ax, below])
    return figure


def _group_labels(parts: dict[str, DoubleArray], room: float) -> list[str]:
    """Return the groups' names, wrapped to `room` (em), with their numbers of animals."""
    letters = max(int(room / LETTER_EM) - 1, 6)
    return [f"{fill(shorten(g, 3 * letters), letters)}\nn = {len(v)}" for g, v in parts.items()]


def _height(labels: list[str]) -> float:
    """Return the height (em) that labels take below an axis."""
    return 1.0 + 1.3 * max((label.count("\n") + 1 for label in labels), default=1)


def _animals(ax: Axes, parts: dict[str, DoubleArray], words: Endpoint, names: list[str]) -> None:
    step = _swarm_step(parts)
    for i, v in enumerate(parts.values()):
        colour, marker = look(i)
        x = i - 0.1 + _swarm(v, step)
        (dots,) = ax.plot(x, v, marker, color=colour, markersize=pt(5.5), alpha=0.85, **rim())
        dots.set_gid(f"dots-{i}")
        mean, low, high = mean_interval(v)
        ax.plot([i + 0.3, i + 0.3], [low, high], color=INK, linewidth=pt(1.6), solid_capstyle="butt")
        ax.plot([i + 0.3], [mean], marker, color=INK, markersize=pt(6))
    ax.set_xticks(range(len(parts)), names)
    ax.set_xlim(-0.6, len(parts) - 0.4)
    pad_limits(ax, [*np.concatenate([*parts.values(), [0.0]]), *_ends(parts)], "y")
    ax.set_ylabel(fill(words.axis, 32))
    ax.tick_params(axis="x", length=0)


def _differences(ax: Axes, rows: list[dict[str, Any]], labels: list[str], unit: str, turned: bool) -> None:
    ax.axhline(0, color=SOFT, linewidth=pt(0.9), linestyle=(0, (4, 3)))
    for i, row in enumerate(rows):
        _difference(ax, i, row, 0.0, i)
    ax.set_xlim(-0.6, len(rows) - 0.4)
    ax.set_xticks(range(len(rows)), labels, rotation=90 if turned else 0)
    pad_limits(ax, [float(r[k]) for r in rows for k in ("estimate", "ci_low", "ci_high")], "y")
    low, high = ax.get_ylim()
    ax.set_ylim(min(low, -0.06 * (high - low)), max(high, 0.06 * (high - low)))  # the line at zero can be seen
    ax.yaxis.set_major_locator(MaxNLocator(5))
    unit_line = f"\n({unit})" if unit else ""
    ax.set_ylabel(f"difference of means{unit_line},\n95 % interval")
    ax.tick_params(axis="x", length=0)
    ax.spines["bottom"].set_visible(False)


def _difference(ax: Axes, x: float, row: dict[str, Any], zero: float, number_of: int) -> None:
    low, high = row["ci_low"], row["ci_high"]
    if finite(low) and finite(high):
        ax.plot([x, x], [zero + low, zero + high], color=INK, linewidth=pt(1.8), solid_capstyle="butt")
    (dot,) = ax.plot([x], [zero + row["estimate"]], "D", color=INK, markersize=pt(6))
    dot.set_gid(f"estimate-{number_of}")


def _shared_scale(page: Page, parts: dict[str, DoubleArray], words: Endpoint, row: dict[str, Any]) -> Figure:
    """Draw two groups with their difference at the right: its zero is the mean of the side that is subtracted."""
    wide = min(page.width, 46.0)
    room = (wide - LEFT_EM - 7.5) / 3.2
    labels = [*_group_labels(parts, room), contrast_label(row, max(int(room / LETTER_EM) - 1, 8))]
    figure = page.figure(19.0 + _height(labels), wide)
    ax = figure.add_axes(page.rect(figure, LEFT_EM, _height(labels), 7.5, 1))
    _animals(ax, parts, words, labels[:2])
    ax.set_xlim(-0.6, 2.6)
    ax.set_xticks([0, 1, 2], labels)
    zero = mean_interval(parts[str(row["group_b"])])[0]
    pad_limits(ax, [*np.concatenate([*parts.values(), [0.0]]), *_ends(parts), *(zero + float(row[k]) for k in ("ci_low", "ci_high"))], "y")
    for i, v in enumerate(parts.values()):
        ax.plot([i + 0.3, 2.6], [mean_interval(v)[0]] * 2, color=SOFT, linewidth=pt(0.8), linestyle=(0, (4, 3)), zorder=0)
    _difference(ax, 2.0, row, zero, 0)
    right = ax.twinx()
    right.spines["right"].set_visible(True)
    low, high = ax.get_ylim()
    right.set_ylim(low - zero, high - zero)
    right.set_ylabel(f"difference of means{f' ({words.unit})' if words.unit else ''},\n95 % interval")
    return figure


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


def contrast_label(row: dict[str, Any], letters: int) -> str:
    """Return both sides of a contrast, wrapped to so many letters."""
    a, b = (_side(str(row[k])) for k in ("group_a", "group_b"))
    exploratory = "\n(exploratory)" if "exploratory" in str(row["flags"]).split(";") else ""
    return f"{fill(a, letters)}\n{fill(f'minus {b}', letters)}{exploratory}"


def _side(joined: str) -> str:
    names = joined.split("+")
    return shorten(joined, 24) if len(names) == 1 else f"mean of {len(names)} groups"


def _alt(label: str, parts: dict[str, DoubleArray], n_contrasts: int) -> str:
    means = "; ".join(f"{g}: mean {number(mean_interval(v)[0])}, n = {len(v)}" for g, v in parts.items())
    more = f" With it {n_contrasts} differences of means with 95 % intervals." if n_contrasts else ""
    return f"{label}: one dot per animal, with group means and 95 % intervals. {means}.{more}"


def _numbers(values: pd.Series, groups: pd.Series, parts: dict[str, DoubleArray], rows: list[dict[str, Any]]) -> pd.DataFrame:
    nothing = float("nan")
    known = [(str(a), str(g), values.get(a, nothing)) for a, g in groups.items()]
    table = [("animal", g, a, v, nothing, nothing, 1) for a, g, v in known if finite(v)]
    table += [("mean", g, "", *mean_interval(v), len(v)) for g, v in parts.items()]
    for r in rows:
        sides = f"{r['group_a']} - {r['group_b']}"
        table.append(("difference", sides, "", r["estimate"], r["ci_low"], r["ci_high"], int(r["n_a"]) + int(r["n_b"])))
    return pd.DataFrame(table, columns=["what", "group", "animal", "value", "ci_low", "ci_high", "n"])
