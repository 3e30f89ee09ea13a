"""Plots to point at: one dot per animal, drawn for a window, with the place of every dot in the picture."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sevhisto.report.canvas import INK, look, pad_limits, quiet_style, shorten
from sevhisto.report.figures import group_order, mean_interval
from sevhisto.report.words import endpoint_words
from sevhisto.types import AnyArray, DoubleArray

DPI = 100
REACH_PX = 12.0


@dataclass(frozen=True)
class DotPlot:
    """A picture (h, w, 4) uint8, and the animals on it: their ids and where they lie, (n, 2) x and y in pixels from its upper left."""

    picture: AnyArray
    animals: tuple[str, ...]
    at_px: DoubleArray

    def nearest(self, x: float, y: float, reach: float = REACH_PX) -> str | None:
        """Return the animal whose dot is nearest to a place in the picture; None where none is within reach (pixels)."""
        if not self.animals:
            return None
        away = np.hypot(*(self.at_px - [x, y]).T)
        return self.animals[int(away.argmin())] if away.min() <= reach else None


def group_dots(values: pd.Series, groups: pd.Series, endpoint: str, size_px: tuple[int, int], marked: str = "") -> DotPlot:
    """Return every animal's value by group, with group means and their 95 % intervals.

    Parameters
    ----------
    values, groups : of each animal, index animal; animals without a value have no dot
    endpoint : column of animals_wide.csv, which gives label and unit
    size_px : width and height of the picture
    marked : animal with a ring around its dot
    """
    table = pd.DataFrame({"value": values.reindex(groups.index), "group": groups.astype(str)}).dropna()
    order = group_order(groups)
    table["x"] = np.nan
    for i, name in enumerate(order):
        mine = (table["group"] == name).to_numpy()
        table.loc[mine, "x"] = i - 0.1 + np.linspace(-0.24, 0.24, mine.sum()) if mine.sum() > 1 else i - 0.1
    with quiet_style():
        room = int((size_px[0] - 75) / max(1, len(order)) / 7)  # letters below a group
        turned = max(map(len, order), default=0) > room
        figure, ax = _axes(size_px, 0.28 if turned else 0.12, 0.96)
        for i, name in enumerate(order):
            own = table["value"][(table["group"] == name).to_numpy()]
            mean, low, high = mean_interval(own.to_numpy())
            ax.plot([i + 0.3] * 2, [low, high], color=INK, linewidth=1.6)
            ax.plot([i + 0.3], [mean], look(i)[1], color=INK, markersize=5)
        turn, side = (25, "right") if turned else (0, "center")
        ax.set_xticks(range(len(order)), [shorten(name, 18) for name in order], rotation=turn, ha=side, rotation_mode="anchor")
        ax.set_xlim(-0.6, len(order) - 0.4)
        pad_limits(ax, list(table["value"]), "y")
        ax.set_ylabel(fill(endpoint_words(endpoint).axis, max(12, size_px[1] // 10)))
        return _with_dots(figure, ax, table.rename(columns={"value": "y"}), order, marked)


def relation_dots(wide: pd.DataFrame, groups: pd.Series, pair: tuple[str, str], size_px: tuple[int, int], marked: str = "") -> DotPlot:
    """Return two endpoints (columns of `wide`, index animal) against each other; other arguments as of `group_dots`."""
    table = wide[list(pair)].reindex(groups.index).set_axis(["x", "y"], axis=1).assign(group=groups.astype(str)).dropna()
    order = group_order(groups)
    with quiet_style():
        figure, ax = _axes(size_px, 0.24, 0.8)
        pad_limits(ax, list(table["x"]), "x", include_zero=False)
        pad_limits(ax, list(table["y"]), "y", include_zero=False)
        x, y = (endpoint_words(name) for name in pair)
        ax.set_xlabel(fill(x.axis, max(12, size_px[0] // 7)))
        ax.set_ylabel(fill(y.axis, max(12, size_px[1] // 10)))
        for i, name in enumerate(order):
            ax.plot([], [], look(i)[1], color=look(i)[0], label=shorten(name, 20), linestyle="none", markersize=5)
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize=8, handletextpad=0.2)
        return _with_dots(figure, ax, table, order, marked)


def _axes(size_px: tuple[int, int], bottom: float, top: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(size_px[0] / DPI, size_px[1] / DPI), dpi=DPI)
    left = min(0.34, 94 / size_px[0])
    return figure, figure.add_axes((left, bottom, 0.97 - left, top - bottom))


def _with_dots(figure: Figure, ax: Axes, table: pd.DataFrame, order: list[str], marked: str) -> DotPlot:
    """Draw the dots of a table (index animal; columns x, y, group) and return the picture with their places."""
    for i, name in enumerate(order):
        own = table[(table["group"] == name).to_numpy()]
        colour, marker = look(i)
        ax.plot(own["x"], own["y"], marker, color=colour, markersize=8, markeredgecolor="white", markeredgewidth=0.6)
    if marked in table.index:
        ax.plot(*table.loc[[marked], ["x", "y"]].to_numpy().T, "o", markersize=14, markerfacecolor="none", markeredgecolor=INK)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    picture = np.array(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    at = ax.transData.transform(table[["x", "y"]].to_numpy(float)) if len(table) else np.zeros((0, 2))
    return DotPlot(picture, tuple(map(str, table.index)), np.column_stack([at[:, 0], len(picture) - at[:, 1]]))
