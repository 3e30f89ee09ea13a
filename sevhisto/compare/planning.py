"""The next study: animals and sections per arm for a wanted effect, from the variance that this study showed (plan.csv)."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy.stats import nct
from scipy.stats import t as student

from sevhisto.schema import PLAN

SECTIONS = (1, 2, 3, 5, 8, 12, 20)
MOST = 200
"""Animals per arm beyond which no number is given."""
FEWEST = 4
"""With 3 animals in each of two arms no exact test can reach p < 0.05."""


def power(n: float, difference: float, between: float, within: float, sections: float, alpha: float = 0.05) -> float:
    """Return the power of a two-sided t test of two arms of `n` animals.

    Parameters
    ----------
    difference : difference of means, in the endpoint's unit
    between, within : variances between animals of one arm and between sections of one animal
    sections : sections per animal; the variance of an animal's mean is between + within / sections
    """
    variance = between + within / sections
    if n < 2 or variance <= 0:
        return math.nan
    df, centre = 2 * (n - 1), abs(difference) / math.sqrt(2 * variance / n)
    limit = float(student.ppf(1 - alpha / 2, df))
    return float(nct.sf(limit, df, centre) + nct.cdf(-limit, df, centre))


def animals_needed(difference: float, between: float, within: float, sections: float, wanted: float = 0.8) -> int | None:
    """Return the smallest number of animals per arm with the wanted power, None above `MOST`; never below `FEWEST`."""
    for n in range(FEWEST, MOST + 1):
        if power(n, difference, between, within, sections) >= wanted:
            return n
    return None


def plan_table(endpoint: str, unit: str, difference: float, between: float, within: float, observed: float, wanted: float) -> pd.DataFrame:
    """Return `schema.PLAN`: power for numbers of animals and sections, one endpoint.

    Parameters
    ----------
    observed : sections per animal of this study; NaN where sections do not stand behind the endpoint
    """
    counts = [1.0] if math.isnan(observed) else sorted({float(m) for m in SECTIONS} | {float(round(observed))})
    rows = []
    for m in counts:
        needed = animals_needed(difference, between, within, m, wanted)
        last = min(max(needed or MOST, 12) + 4, MOST)
        for n in range(2, last + 1):
            value = power(n, difference, between, within, m)
            here = {"endpoint": endpoint, "unit": unit, "difference": difference, "sections": int(m), "animals_per_arm": n, "power": value}
            rows.append({**here, "enough": "yes" if n == needed else ""})
    return PLAN.conform(pd.DataFrame(rows, columns=PLAN.names))


def arm_variance(values: pd.Series[float], groups: pd.Series[str]) -> tuple[float, float]:
    """Return the grand mean of the arms and the variance between animals pooled within arms; NaN where no arm has two."""
    known = values.dropna()
    arms = groups.reindex(known.index)
    df = len(known) - arms.nunique()
    centred = known - known.groupby(arms).transform("mean")
    return float(known.groupby(arms).mean().mean()), float((centred**2).sum() / df) if df > 0 else float(np.nan)
