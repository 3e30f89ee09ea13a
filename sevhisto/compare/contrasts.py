"""Every endpoint against every contrast: the table comparisons.csv."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sevhisto.compare.effects import Effect, benjamini_hochberg, contrast, hedges_g, holm
from sevhisto.compare.endpoints import choose_endpoints, widen, with_endpoints
from sevhisto.compare.linear import NAN, interval, layout, shares_of, t_interval
from sevhisto.compare.protocols import dye_groups, planned_contrasts, tracers
from sevhisto.config import ContrastSettings, StudyConfig
from sevhisto.metrics import endpoint_name
from sevhisto.registry import join_flags, split_flags
from sevhisto.schema import COMPARISONS
from sevhisto.types import DoubleArray, IntArray, Problem, StudyError

_CARRIED = {
    "contour_unreviewed": "contour_unreviewed",
    "circular": "circular",
    "not_reached": "censored_values",
    "ceiling": "ceiling_effect",
}


@dataclass(frozen=True)
class _Study:
    values: pd.DataFrame  # animals x endpoints
    flags: pd.DataFrame
    facts: pd.DataFrame  # per endpoint: panel, unit, zone
    groups: pd.Series[str]
    blocks: pd.Series[str] | None
    batches: pd.DataFrame | None
    dpi: pd.Series[float] | None
    config: StudyConfig


def compare(
    animals: pd.DataFrame,
    groups: pd.Series[str],
    config: StudyConfig,
    *,
    blocks: pd.Series[str] | None = None,
    batches: pd.DataFrame | None = None,
    dpi: pd.Series[float] | None = None,
    excluded: Collection[str] = (),
) -> pd.DataFrame:
    """Return `schema.COMPARISONS`: one row per endpoint and contrast, whether it could be computed or not.

    Parameters
    ----------
    animals : DataFrame
        Long animal table (`schema.ANIMALS`), histology and motor rows together.
    groups : Series
        Animal to protocol. Animals that are not in it (controls) take no part.
    config : StudyConfig
        Endpoints, contrasts (default: `protocols.default_contrasts`), permutations and seed.
    blocks : Series, optional
        Animal to randomisation block; all empty counts as none.
    batches : DataFrame, optional
        Columns animal, batch and optionally panel. A batch that holds animals of one side of a contrast only sets ``batch_confounded``.
    dpi : Series, optional
        Animal to day of sacrifice. Where the animals of a contrast differ, nothing is computed (``dpi_mixed``).
    excluded : collection of str
        Animals to leave out.

    Raises
    ------
    StudyError
        If an endpoint is unknown, blocks are known for some animals only, or there is no contrast to make.
    SevhistoError
        If `animals` is not an animal table.
    """
    study = _study(animals, groups, config, excluded, blocks, batches, dpi)
    plan = planned_contrasts(study.config, set(study.groups))
    primary, secondary = choose_endpoints(config, study.values.columns)
    roles = [(e, "primary") for e in primary] + [(e, "secondary") for e in secondary]
    rows = [_row(study, endpoint, role, c) for endpoint, role in roles for c in plan]
    return COMPARISONS.conform(_adjust(pd.DataFrame(rows, columns=COMPARISONS.names)))


def estimates(
    values: pd.DataFrame,
    groups: pd.Series[str],
    config: StudyConfig,
    excluded: Collection[str],
    endpoints: Collection[str],
    blocks: pd.Series[str] | None = None,
) -> pd.DataFrame:
    """Return estimate and interval of every contrast on the given endpoints, without a test: quick enough for a hundred tables.

    Columns endpoint, contrast, n_a, n_b, estimate, ci_low, ci_high; NaN where a group has too few animals. `values`: one row per animal
    (index), one column per endpoint. Other arguments as in `compare`.
    """
    kept = _taking_part(groups, excluded)
    within = _usable_blocks(blocks, kept)
    names = list(endpoints)
    found: dict[tuple[str, str], tuple[int, int, float, float, float]] = {}
    for c in planned_contrasts(config, set(kept)):
        sides = _Sides.of(kept, within, c)
        own = values[names].reindex(sides.animals).to_numpy(np.float64)
        found |= {(endpoint, c.name): sides.estimate(own[:, k]) for k, endpoint in enumerate(names)}
    rows = [(endpoint, name, *found[endpoint, name]) for endpoint in names for name in dict.fromkeys(name for _, name in found)]
    return pd.DataFrame(rows, columns=["endpoint", "contrast", "n_a", "n_b", "estimate", "ci_low", "ci_high"])


@dataclass(frozen=True)
class _Sides:
    """The animals of a contrast in the order of its groups: names, group numbers, blocks (None without), and groups on side a."""

    animals: list[str]
    group: IntArray
    block: IntArray | None
    n_groups_a: int
    shares: tuple[float, ...]

    @classmethod
    def of(cls, groups: pd.Series[str], blocks: pd.Series[str] | None, c: ContrastSettings) -> _Sides:
        members = [(a, k) for k, g in enumerate((*c.a, *c.b)) for a in sorted(groups.index[groups == g])]
        animals, group = [a for a, _ in members], np.array([k for _, k in members], np.int64)
        block = None if blocks is None else np.unique(blocks.loc[animals], return_inverse=True)[1].astype(np.int64)
        return cls(animals, group, block, len(c.a), shares_of(len(c.a), len(c.b)))

    def estimate(self, values: DoubleArray) -> tuple[int, int, float, float, float]:
        """Return n of either side, estimate and interval; values (n,) of `animals`, NaN where there is none."""
        known = np.isfinite(values)
        sizes = np.bincount(self.group[known], minlength=len(self.shares))
        n = int(sizes[: self.n_groups_a].sum()), int(sizes[self.n_groups_a :].sum())
        if not sizes.min():
            return *n, NAN, NAN, NAN
        block = None if self.block is None else tuple(self.block[known].tolist())
        return *n, *t_interval(interval(np.asarray(values[known], np.float64), layout(tuple(sizes.tolist()), self.shares, block)))


def _study(
    animals: pd.DataFrame,
    groups: pd.Series[str],
    config: StudyConfig,
    excluded: Collection[str],
    blocks: pd.Series[str] | None = None,
    batches: pd.DataFrame | None = None,
    dpi: pd.Series[float] | None = None,
) -> _Study:
    table, kept = with_endpoints(animals), _taking_part(groups, excluded)
    facts = table.drop_duplicates("endpoint").set_index("endpoint")[["panel", "zone", "marker", "unit"]]
    return _Study(widen(table, "value"), widen(table, "flags"), facts, kept, _usable_blocks(blocks, kept), batches, dpi, config)


def _taking_part(groups: pd.Series[str], excluded: Collection[str]) -> pd.Series[str]:
    return groups[~groups.index.isin(list(excluded))].astype(str)


def _members(study: _Study, endpoint: str, c: ContrastSettings) -> tuple[pd.Series[float], dict[str, list[str]]]:
    """Return the known values of the study's animals, and the animals of each group of a contrast that have one."""
    values = study.values[endpoint].reindex(study.groups.index).dropna()
    return values, {g: sorted(values.index[study.groups.loc[values.index] == g]) for g in (*c.a, *c.b)}


def _usable_blocks(blocks: pd.Series[str] | None, groups: pd.Series[str]) -> pd.Series[str] | None:
    if blocks is None:
        return None
    known = blocks.reindex(groups.index).fillna("").astype(str).str.strip()
    if (known == "").all():
        return None
    empty = [str(a) for a in known.index[known == ""]]
    if empty:
        what = f"animals without a block, while others have one: {', '.join(empty)}"
        raise StudyError(Problem("animals.csv: block", what, "fill in the block of every animal, or of none"))
    return known


def _row(study: _Study, endpoint: str, role: str, c: ContrastSettings) -> dict[str, object]:
    values, members = _members(study, endpoint, c)
    involved = [a for group in members.values() for a in group]
    flags = _flags(study, endpoint, c, members, involved)
    n_a, n_b = sum(len(members[g]) for g in c.a), sum(len(members[g]) for g in c.b)
    effect = Effect(n_a, n_b, method="not compared") if "dpi_mixed" in flags else _effect(study, values, members, c)
    effect = replace(effect, flags=effect.flags | flags)
    return {
        "endpoint": endpoint,
        "contrast": c.name,
        **{k: v for k, v in vars(effect).items() if k != "flags"},
        "p_adjusted": NAN,
        "robustness": "",
        "flags": join_flags(set(effect.flags)),
        "role": role,
        "group_a": "+".join(c.a),
        "group_b": "+".join(c.b),
        "unit": study.facts.loc[endpoint, "unit"],
    }


def _effect(study: _Study, values: pd.Series[float], members: dict[str, list[str]], c: ContrastSettings) -> Effect:
    blocks_a = blocks_b = None
    if study.blocks is not None:
        blocks_a = [study.blocks.loc[members[g]].to_numpy() for g in c.a]
        blocks_b = [study.blocks.loc[members[g]].to_numpy() for g in c.b]
    a, b = [values.loc[members[g]].to_numpy() for g in c.a], [values.loc[members[g]].to_numpy() for g in c.b]
    settings = study.config.comparison
    return contrast(a, b, blocks_a, blocks_b, settings.permutations, settings.seed)


def _flags(study: _Study, endpoint: str, c: ContrastSettings, members: dict[str, list[str]], involved: list[str]) -> set[str]:
    flags = set() if c.planned else {"exploratory"}
    if int(study.groups.isin([*c.a, *c.b]).sum()) > len(involved):
        flags.add("missing_animals")
    flags |= carried_flags(study.flags, endpoint, involved)
    fact = study.facts.loc[endpoint]
    if fact["panel"] == study.config.motor.test and _day1_apart(study, c):
        flags.add("day1_imbalance")
    if fact["marker"] in tracers(study.config, str(fact["panel"])) and not dye_groups(study.config) & set(study.groups):
        flags.add("no_dye_control")
    if study.dpi is not None and len(set(study.dpi.reindex(involved).dropna())) > 1:
        flags.add("dpi_mixed")
    if study.facts.loc[endpoint, "zone"] and study.batches is not None:
        side = {animal: g in c.a for g, animals in members.items() for animal in animals}
        if len(set(side.values())) == 2 and _confounded(study.batches, str(study.facts.loc[endpoint, "panel"]), side):
            flags.add("batch_confounded")
    return flags


def _day1_apart(study: _Study, c: ContrastSettings) -> bool:
    """Return whether the sides of a contrast differed on day 1 by more than `motor.day1_imbalance_sd` (Hedges g)."""
    name = endpoint_name(study.config.motor.test, "", "", "day1")
    if name not in study.values.columns:
        return False
    values, members = _members(study, name, c)
    groups = [np.asarray(values.loc[members[g]], np.float64) for g in (*c.a, *c.b)]
    if min(map(len, groups)) < 2:
        return False
    apart = float(np.dot(shares_of(len(c.a), len(c.b)), [g.mean() for g in groups]))
    return abs(hedges_g(groups, apart)) > study.config.motor.day1_imbalance_sd


def carried_flags(flags: pd.DataFrame, endpoint: str, animals: list[str]) -> set[str]:
    """Return the result flags that follow from the flags of these animals (index) in this endpoint (column)."""
    found: set[str] = set()
    for cell in flags[endpoint].reindex(animals).dropna():
        found |= {result for flag, result in _CARRIED.items() if flag in split_flags(cell)}
    return found


def _confounded(batches: pd.DataFrame, panel: str, side: dict[str, bool]) -> bool:
    rows = batches[batches["panel"] == panel] if "panel" in batches.columns else batches
    rows = rows[rows["animal"].isin(list(side))]
    sides = rows["animal"].map(side).groupby(rows["batch"])
    return bool((sides.min() == sides.max()).any())


def _adjust(frame: pd.DataFrame) -> pd.DataFrame:
    """Holm over the planned contrasts of each primary endpoint; Benjamini-Hochberg over all secondary rows."""
    planned = ~frame["flags"].map(lambda cell: "exploratory" in split_flags(cell)).astype(bool)
    p = frame["p"].to_numpy(dtype=np.float64)
    adjusted = np.full(len(frame), NAN)
    for endpoint in frame.loc[frame["role"] == "primary", "endpoint"].unique():
        rows = ((frame["endpoint"] == endpoint) & planned).to_numpy()
        adjusted[rows] = holm(p[rows])
    rows = (frame["role"] == "secondary").to_numpy()
    adjusted[rows] = benjamini_hochberg(p[rows])
    return frame.assign(p_adjusted=adjusted)
