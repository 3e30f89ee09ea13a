"""From the long animal table to endpoints: one row per animal, one column per endpoint, and which of them are analysed."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import pandas as pd

from sevhisto.config import StudyConfig
from sevhisto.metrics import METRIC_UNITS, SECONDARY_MOTOR, TISSUE, endpoint_name, metric_rank, unit_of
from sevhisto.registry import did_you_mean
from sevhisto.schema import ANIMALS
from sevhisto.types import Problem, SevhistoError, StudyError

_KEY = ["panel", "zone", "marker", "metric"]
_NOT_ANIMALS = {"section": "section", "cell": "cell", "n_cells": "section", "day": "motor score"}


def with_endpoints(animals: pd.DataFrame) -> pd.DataFrame:
    """Return the long animal table, checked, with a column ``endpoint``; rows ordered by endpoint and animal.

    Parameters
    ----------
    animals : DataFrame
        As `schema.ANIMALS`: one row per animal x panel x zone x marker x metric.

    Raises
    ------
    SevhistoError
        If the table holds sections or cells, has an unknown metric, a unit other than the metric's, or two endpoints of one name.
    """
    for column, unit in _NOT_ANIMALS.items():
        if column in animals.columns:
            what = f"column {column!r} says that a row is one {unit}; groups are compared over animals: the animal is the unit"
            raise SevhistoError(Problem("comparison", what, "give the animal table (results/animals.csv)"))
    table = ANIMALS.conform(animals)
    problems = []
    for metric in sorted(m for m in set(table["metric"]) if unit_of(m) is None):
        problems.append(Problem("animals.csv", f"unknown metric {metric!r}", did_you_mean(metric, list(METRIC_UNITS))))
    if problems:
        raise SevhistoError(problems)
    off = table[table["unit"] != table["metric"].map(unit_of)]
    if len(off):
        row = off.iloc[0]
        what = f"animal {row['animal']}, {row['metric']}: unit {row['unit']!r} instead of {unit_of(row['metric'])!r}"
        raise SevhistoError(Problem("animals.csv", what, "write the animal table anew with `sevhisto run`"))
    keys = sorted({tuple(k) for k in table[_KEY].itertuples(index=False, name=None)}, key=_order)
    names = {k: endpoint_name(*k) for k in keys}
    _refuse_twins(names)
    rank = {k: i for i, k in enumerate(keys)}
    cells = list(table[_KEY].itertuples(index=False, name=None))
    table["endpoint"] = [names[k] for k in cells]
    order = pd.DataFrame({"rank": [rank[k] for k in cells], "animal": table["animal"].to_numpy()})
    return table.iloc[order.sort_values(["rank", "animal"]).index.to_numpy()].reset_index(drop=True)


def rows_of(animals: pd.DataFrame, endpoints: Collection[str]) -> pd.DataFrame:
    """Return the rows of the long animal table that belong to these endpoints."""
    keys = list(animals[_KEY].itertuples(index=False, name=None))
    wanted = {key for key in set(keys) if endpoint_name(*key) in endpoints}
    return animals[[key in wanted for key in keys]]


def endpoint_values(animals: pd.DataFrame, endpoints: Collection[str]) -> pd.DataFrame:
    """Return one row per animal (index) and one column per endpoint, of these endpoints only; errors as in `with_endpoints`."""
    return widen(with_endpoints(rows_of(animals, endpoints)), "value")


def _refuse_twins(names: dict[tuple[str, ...], str]) -> None:
    seen: dict[str, tuple[str, ...]] = {}
    for key, name in names.items():
        if name in seen:
            what = f"{'/'.join(seen[name])} and {'/'.join(key)} give the same column {name!r}"
            raise SevhistoError(Problem("animals.csv", what, "rename a panel or marker so that '_' does not make them alike"))
        seen[name] = key


def _order(key: tuple[str, ...]) -> tuple[object, ...]:
    panel, zone, marker, metric = key
    return (not (zone or marker), panel, _zone_order(zone), marker, metric_rank(metric))


def _zone_order(zone: str) -> tuple[int, float, str]:
    base = zone.split("_")[0]
    if base in ("", "core", "all"):
        return {"": 0, "core": 1, "all": 3}[base], 0.0, zone
    start = base.split("-")[0]
    return 2, float(start) if start.replace(".", "", 1).isdigit() else float("inf"), zone


def wide(animals: pd.DataFrame) -> pd.DataFrame:
    """Return one row per animal: column ``animal``, then one column per endpoint (`metrics.endpoint_name`).

    Columns: histology by panel, zone from the core outwards, marker and metric; motor endpoints last. Neither depends on the order of
    the rows given. Errors as in `with_endpoints`.
    """
    return widen(with_endpoints(animals), "value").rename_axis(index="animal").reset_index()


def widen(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Animals as index (sorted), endpoints as columns (in the table's order)."""
    columns = list(dict.fromkeys(table["endpoint"]))
    out = table.pivot(index="animal", columns="endpoint", values=column)  # noqa: PD010 - pivot_table would drop endpoints without a value
    return out.reindex(index=sorted(out.index), columns=columns).rename_axis(columns=None)


def choose_endpoints(config: StudyConfig, columns: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the primary and secondary endpoints among `columns` (of the wide table).

    Where no secondary ones are declared: for every macrophage and ECM marker its fractions in the core and the first ring and its positive
    volume in the core, the core's volume per panel, and all motor metrics; always without the primary ones.

    Raises
    ------
    StudyError
        For a declared endpoint that was not measured.
    """
    known = [c for c in columns if c != "animal"]
    primary, secondary = list(config.endpoints.primary), list(config.endpoints.secondary)
    problems = []
    for role, names in (("primary", primary), ("secondary", secondary)):
        for name in names:
            if name not in known:
                what = f"{name!r} is no column of animals_wide.csv: it was not measured in this study"
                problems.append(Problem(f"study.toml: endpoints.{role}", what, did_you_mean(name, known)))
    if problems:
        raise StudyError(problems)
    if not secondary:
        secondary = [name for name in default_secondary(config) if name in known and name not in primary]
        secondary = [name for name in known if name in secondary]
    return primary, secondary


def default_secondary(config: StudyConfig) -> list[str]:
    """Return the names of the endpoints that are secondary where none are declared, measured or not."""
    ring = list(config.zones.ranges)[1]
    names = [endpoint_name(config.motor.test, "", "", metric) for metric in SECONDARY_MOTOR]
    for panel, settings in config.panels.items():
        names.append(core_volume(panel))
        for marker in (c.marker for c in settings.channels if c.role in ("ecm", "macrophage")):
            names += [endpoint_name(panel, zone, marker, "fraction_pct") for zone in ("core", ring)]
            names.append(endpoint_name(panel, "core", marker, "positive_volume_mm3"))
    return names


def impact(people: pd.DataFrame) -> pd.Series[float]:
    """Return how hard each animal (index) was hit, named by its column: the force, or the displacement where no force is known.

    NaN where neither is.
    """
    for name in ("force_kdyn", "displacement_um"):
        if name in people and people[name].notna().any():
            return pd.to_numeric(people[name])
    return pd.Series(float("nan"), people.index, name="force_kdyn")


def core_volume(panel: str) -> str:
    """Return the column with the volume of the lesion core in `panel`."""
    return endpoint_name(panel, "core", TISSUE, "zone_volume_mm3")
