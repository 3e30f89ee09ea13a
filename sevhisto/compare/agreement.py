"""How far readings of the same things agree: intraclass correlations, Bland-Altman limits, coefficient of variation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import f, norm, t

from sevhisto.schema_evidence import AGREEMENT_SUMMARY
from sevhisto.types import DoubleArray

NAN = float("nan")
Interval = tuple[float, float, float]
"""Estimate and the ends of its 95 % interval."""
NOTHING: Interval = (NAN, NAN, NAN)


@dataclass(frozen=True)
class Correlations:
    """Intraclass correlations of single readings, each with its 95 % interval.

    Attributes
    ----------
    one_way : ICC(1): readers are not told apart
    agreement : ICC(A,1), also ICC(2,1): readers differ, and a shift between them counts as disagreement
    consistency : ICC(C,1), also ICC(3,1): a constant shift between readers does not count
    """

    one_way: Interval = NOTHING
    agreement: Interval = NOTHING
    consistency: Interval = NOTHING


def intraclass(readings: DoubleArray, level: float = 0.95) -> Correlations:
    """Return the intraclass correlations of (n things, k readings); NaN for fewer than 2 of either, or where nothing varies.

    McGraw and Wong, Psychol Methods 1:30, 1996, tables 4 and 7; Shrout and Fleiss, Psychol Bull 86:420, 1979.
    """
    n, k = readings.shape
    if n < 2 or k < 2 or np.ptp(readings) == 0:
        return Correlations()
    mean = readings.mean()
    rows, columns = readings.mean(axis=1), readings.mean(axis=0)
    msr = k * ((rows - mean) ** 2).sum() / (n - 1)
    msc = n * ((columns - mean) ** 2).sum() / (k - 1)
    msw = ((readings - rows[:, None]) ** 2).sum() / (n * (k - 1))
    mse = ((readings - rows[:, None] - columns + mean) ** 2).sum() / ((n - 1) * (k - 1))
    tail = (1 + level) / 2
    return Correlations(
        _ratio(msr, msw, n - 1, n * (k - 1), k, tail),
        _absolute(msr, msc, mse, n, k, tail),
        _ratio(msr, mse, n - 1, (n - 1) * (k - 1), k, tail),
    )


def _ratio(between: float, within: float, df_between: int, df_within: int, k: int, tail: float) -> Interval:
    """Return ICC(1) or ICC(C,1) from its two mean squares."""
    if within == 0:
        return (1.0, 1.0, 1.0) if between > 0 else NOTHING
    found = between / within
    low, high = found / f.ppf(tail, df_between, df_within), found * f.ppf(tail, df_within, df_between)
    return tuple(float((v - 1) / (v + k - 1)) for v in (found, low, high))  # type: ignore[return-value]


def _absolute(msr: float, msc: float, mse: float, n: int, k: int, tail: float) -> Interval:
    """Return ICC(A,1), with Satterthwaite's degrees of freedom for its interval."""
    if msr == 0 and mse == 0:
        return NOTHING
    r = (msr - mse) / (msr + (k - 1) * mse + k * (msc - mse) / n)
    if r >= 1:
        return (1.0, 1.0, 1.0)
    a, b = k * r / (n * (1 - r)), 1 + k * r * (n - 1) / (n * (1 - r))
    df = (a * msc + b * mse) ** 2 / ((a * msc) ** 2 / (k - 1) + (b * mse) ** 2 / ((n - 1) * (k - 1)))
    rest = (k * n - k - n) * mse + k * msc
    f_low, f_high = f.ppf(tail, n - 1, df), f.ppf(tail, df, n - 1)
    low = n * (msr - f_low * mse) / (f_low * rest + n * msr)
    high = n * (f_high * msr - mse) / (rest + n * f_high * msr)
    return (float(r), float(low), float(high))


@dataclass(frozen=True)
class Limits:
    """Bland and Altman: mean difference, and the limits that hold 95 % of differences, each with its 95 % interval.

    Attributes
    ----------
    bias : mean of first minus second
    low, high : limits of agreement
    """

    bias: Interval = NOTHING
    low: Interval = NOTHING
    high: Interval = NOTHING


def limits_of_agreement(first: DoubleArray, second: DoubleArray) -> Limits:
    """Return bias and limits of pairs of readings; NaN for fewer than 2 pairs.

    Bland and Altman, Stat Methods Med Res 8:135, 1999: the variance of a limit is s2 (1 / n + 1.96^2 / (2 (n - 1))).
    """
    d = first - second
    n = len(d)
    if n < 2:
        return Limits()
    bias, spread, q = float(d.mean()), float(d.std(ddof=1)), float(t.ppf(0.975, n - 1))
    z = float(norm.ppf(0.975))
    of_bias, of_limit = q * spread / math.sqrt(n), q * spread * math.sqrt(1 / n + z**2 / (2 * (n - 1)))
    ends = (bias - z * spread, bias + z * spread)
    low, high = ((end, end - of_limit, end + of_limit) for end in ends)
    return Limits((bias, bias - of_bias, bias + of_bias), low, high)


def variation_pct(first: DoubleArray, second: DoubleArray) -> float:
    """Return the coefficient of variation within pairs (pct): root mean square of SD over mean; pairs of mean 0 take no part.

    Bland and Altman, BMJ 313:106, 1996; SD of two readings is their difference over the root of 2.
    """
    mean = (first + second) / 2
    known = mean != 0
    if not known.any():
        return NAN
    return float(100 * np.sqrt(np.mean(((first - second)[known] / mean[known]) ** 2 / 2)))


READ = ("area_um2", "count")
"""What is read of a section: columns of agreement.csv with ``_a`` and ``_b``."""


def agreement_summary(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return `AGREEMENT_SUMMARY` of `AGREEMENT` (schema_evidence): per kind, measure and pair of readings, and over all of more.

    Sections are taken as independent, as these statistics are defined; several of one animal are not, and intervals are then too narrow.
    """
    rows = []
    for kind, of_kind in pairs.groupby("kind", sort=False):
        for measure in READ:
            known = of_kind[of_kind[f"{measure}_a"].notna() & of_kind[f"{measure}_b"].notna()]
            rows += [_pair_row(str(kind), measure, own) for _, own in known.groupby(["reading_a", "reading_b"], sort=False)]
            names = list(dict.fromkeys([*of_kind["reading_a"], *of_kind["reading_b"]]))
            if len(names) > 2 and len(known):
                rows.append(_all_row(str(kind), measure, known, names))
    return AGREEMENT_SUMMARY.conform(pd.DataFrame(rows, columns=AGREEMENT_SUMMARY.names))


def _pair_row(kind: str, measure: str, own: pd.DataFrame) -> dict[str, object]:
    a, b = (own[f"{measure}_{side}"].to_numpy(np.float64) for side in "ab")
    limits = limits_of_agreement(a, b)
    return {
        **_correlation_cells(kind, measure, [own["reading_a"].iloc[0], own["reading_b"].iloc[0]], np.column_stack([a, b]), own),
        **_interval_cells({"bias": limits.bias, "limit_low": limits.low, "limit_high": limits.high}),
        "cv_pct": variation_pct(a, b),
        "mean_dice": own["dice"].mean() if measure == "area_um2" else NAN,
        "mean_border_p95_um": own["border_p95_um"].mean() if measure == "area_um2" else NAN,
        "mean_f1": own["f1"].mean() if measure == "count" else NAN,
    }


def _all_row(kind: str, measure: str, known: pd.DataFrame, names: list[str]) -> dict[str, object]:
    """Return the correlations over all readings, of the sections that all of them have."""
    key = ["animal", "section", "panel"]
    sides = [known[[*key, f"reading_{s}", f"{measure}_{s}"]].set_axis([*key, "reading", "value"], axis=1) for s in "ab"]
    table = pd.concat(sides).drop_duplicates([*key, "reading"]).pivot_table(index=key, columns="reading", values="value")
    table = table.reindex(columns=names).dropna()
    limits = dict.fromkeys(("bias", "limit_low", "limit_high"), NOTHING)
    rest = dict.fromkeys(("cv_pct", "mean_dice", "mean_border_p95_um", "mean_f1"), NAN)
    own = table.reset_index()[["animal"]]
    return {**_correlation_cells(kind, measure, names, table.to_numpy(np.float64), own), **_interval_cells(limits), **rest}


def _correlation_cells(kind: str, measure: str, names: list[str], readings: DoubleArray, own: pd.DataFrame) -> dict[str, object]:
    found = intraclass(readings) if len(readings) else Correlations()
    of = {"icc_1": found.one_way, "icc_a1": found.agreement, "icc_c1": found.consistency}
    head = {"kind": kind, "measure": measure, "readings": ", ".join(names), "n": len(readings), "n_animals": own["animal"].nunique()}
    return {**head, **_interval_cells(of)}


def _interval_cells(found: Mapping[str, Interval]) -> dict[str, object]:
    return {f"{name}{end}": value for name, values in found.items() for end, value in zip(("", "_from", "_to"), values, strict=True)}
