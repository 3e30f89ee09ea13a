"""The specification curve: does a conclusion stand when one choice behind it is made otherwise?

After Simonsohn, Simmons and Nelson, Specification curve analysis, Nature Human Behaviour 4:1208, 2020; one choice at a time, so that a
reader sees which of them matters.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sevhisto.compare.contrasts import estimates
from sevhisto.compare.endpoints import endpoint_values
from sevhisto.config import StudyConfig
from sevhisto.schema import AS_ANALYSED, NOT_MADE, SPECIFICATIONS

ROBUST, FRAGILE, REVERSES = "robust", "fragile", "reverses"


@dataclass(frozen=True)
class Specification:
    """One choice made otherwise.

    Attributes
    ----------
    choice, variant : what is chosen, and how: ``threshold``, ``x 0.7``; the study as it is has the choice AS_ANALYSED
    animals : the animal table (`schema.ANIMALS`) that follows
    left_out : animals that take no part
    with_excluded : those that the study excludes take part
    """

    choice: str
    variant: str
    animals: pd.DataFrame
    left_out: frozenset[str] = frozenset()
    with_excluded: bool = False


def specification_curve(
    specifications: Iterable[Specification],
    groups: pd.Series[str],
    config: StudyConfig,
    endpoints: Collection[str],
    excluded: Collection[str] = (),
    blocks: pd.Series[str] | None = None,
    complete: Callable[[pd.DataFrame], pd.DataFrame] = lambda animals: animals,
) -> pd.DataFrame:
    """Return `schema.SPECIFICATIONS`: estimate and interval of each endpoint and contrast under each specification.

    Parameters
    ----------
    specifications : the study as analysed first, then its variants
    groups, config, excluded, blocks : as in `contrasts.compare`
    endpoints : columns of the wide table, of histology or motor
    complete : returns an animal table with the rows that are made of its other rows

    Notes
    -----
    A variant without an estimate (a group lost its animals) has no verdict and does not count; nor does one that has no form for the
    endpoint, as cells have none over the local background: it says NOT_MADE. Without an animal that has no part in a contrast, or no value
    of the endpoint, nothing is made otherwise: such rows are left out.
    """
    parts, wanted, apart = [], set(endpoints), _alone(blocks, excluded)
    table, values = None, pd.DataFrame()
    for s in specifications:
        if s.animals is not table:  # many leave out an animal of one and the same table
            table, values = s.animals, endpoint_values(complete(s.animals), wanted)
        out = {*(() if s.with_excluded else excluded), *s.left_out}
        found = estimates(values, groups, config, out, endpoints, apart)
        parts.append(found.assign(choice=s.choice, variant=s.variant, fewer=bool(s.left_out)))
    table = pd.concat(parts, ignore_index=True)
    base = table[table["choice"] == AS_ANALYSED].set_index(["endpoint", "contrast"])
    base = base.reindex(pd.MultiIndex.from_frame(table[["endpoint", "contrast"]]))
    there = base[["estimate", "ci_low", "ci_high"]].to_numpy(np.float64)
    here = table[["estimate", "ci_low", "ci_high"]].to_numpy(np.float64)
    table["verdict"] = [verdict(tuple(a), tuple(b)) for a, b in zip(there, here, strict=True)]
    gone = (table[["n_a", "n_b"]].sum(axis=1) == 0).to_numpy() & (base[["n_a", "n_b"]].sum(axis=1) > 0).to_numpy()
    table.loc[gone, "verdict"] = NOT_MADE
    table.loc[table["choice"] == AS_ANALYSED, "verdict"] = ""
    idle = table["fewer"].to_numpy() & (table[["n_a", "n_b"]].to_numpy() == base[["n_a", "n_b"]].to_numpy()).all(axis=1)
    return SPECIFICATIONS.conform(table.loc[~idle, SPECIFICATIONS.names].reset_index(drop=True))


def _alone(blocks: pd.Series[str] | None, excluded: Collection[str]) -> pd.Series[str] | None:
    """Return blocks in which an excluded animal that was never put into one stands alone: nothing can be compared with it."""
    if blocks is None or (blocks.fillna("").astype(str).str.strip() == "").all():
        return None
    lacks = (blocks.fillna("").astype(str).str.strip() == "") & blocks.index.isin(list(excluded))
    return blocks.where(~lacks, pd.Series([f"alone: {a}" for a in blocks.index], blocks.index))


def verdict(base: tuple[float, ...], other: tuple[float, ...]) -> str:
    """Return what a variant does to a result, each (estimate, ci_low, ci_high).

    ``reverses``: the estimate changes its sign. ``fragile``: the interval moves on or off zero. ``robust``: neither. Empty where either
    has no interval.
    """
    if not np.isfinite([*base, *other]).all():
        return ""
    if base[0] * other[0] < 0:
        return REVERSES
    return FRAGILE if (base[1] > 0 or base[2] < 0) != (other[1] > 0 or other[2] < 0) else ROBUST


def robustness(curve: pd.DataFrame) -> pd.Series[str]:
    """Return one word per endpoint and contrast (index): the worst verdict of its variants; empty without any."""
    rank = {"": 0, ROBUST: 1, FRAGILE: 2, REVERSES: 3}
    worst = curve["verdict"].map(lambda word: rank.get(word, 0)).groupby([curve["endpoint"], curve["contrast"]]).max()
    return worst.map({number: word for word, number in rank.items()})
