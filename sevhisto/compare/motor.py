"""Motor scores to one summary per animal, so that time points are never tested one by one.

Choices made here: only visits after day 0 count (day 0 and earlier is baseline). The study's visits are the days on which at
least half of the animals were scored; the window runs from the first to the last of them. An animal's curve is linear between
its own visits and is never extended beyond them: an animal not seen to the end of the window has no area and no plateau.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sevhisto.config import MotorSettings
from sevhisto.metrics import METRIC_UNITS
from sevhisto.registry import Registry, did_you_mean, join_flags
from sevhisto.schema import ANIMALS, MOTOR
from sevhisto.types import DoubleArray, Problem, StudyError

_NAN = float("nan")


@dataclass(frozen=True)
class Curve:
    """One animal's recovery: days, scores and pooled scores (NaN without such a scale), (n,) each.

    `complete` where every visit of the study was scored, with every side.
    """

    days: DoubleArray
    scores: DoubleArray
    complete: bool
    pooled: DoubleArray

    def at(self, days: DoubleArray) -> DoubleArray:
        """Return the scores on `days`, linear between visits, NaN outside them."""
        return np.interp(days, self.days, self.scores, left=_NAN, right=_NAN)

    def area(self, start: float, end: float) -> float:
        """Return the trapezoid area (score x days) from `start` to `end`; NaN where the animal was not seen."""
        inside = self.days[(self.days > start) & (self.days < end)]
        grid = np.concatenate([[start], inside, [end]])
        return float(np.trapezoid(self.at(grid), grid))


Summary = tuple[float, set[str]]
"""Value and flags."""
Statistic = Callable[[Curve, DoubleArray, MotorSettings], Summary | None]
"""(curve of an animal, visits of the study, settings) -> summary, or None where the visits cannot give it."""
statistics: Registry[Statistic] = Registry("statistic")
"""Motor summaries per animal, by metric name; a new one also needs its unit in `metrics.METRIC_UNITS`."""


def summarise_motor(motor: pd.DataFrame, settings: MotorSettings, deaths: pd.Series[float] | None = None) -> pd.DataFrame:
    """Return motor endpoints in the layout of `schema.ANIMALS`: panel is the test; zone and marker are empty.

    Parameters
    ----------
    motor : DataFrame
        As `schema.MOTOR`; only rows of ``settings.test`` are used (a row without test is BBB). Sides are averaged first, then raters.
    settings : MotorSettings
    deaths : Series, optional
        Animal to day of death, before the planned end.

    Returns
    -------
    DataFrame
        One row per animal and registered statistic. ``n_sections`` holds the study visits with a score, ``n_expected`` those of the
        study. A statistic that the study's visits cannot give (one visit only, none by day 1, none after the early days) is left out.

    Raises
    ------
    StudyError
        For unknown test, scores outside the scale, or a visit scored twice by one rater on one side.
    """
    scores = _scores(motor, settings)
    visits = _study_visits(scores)
    curves = {str(animal): _curve(rows, visits) for animal, rows in scores.groupby("animal")}
    rows = []
    for animal, curve in sorted(curves.items()):
        died = deaths is not None and animal in deaths.index and bool(deaths[animal] < visits[-1])
        flags = ({"died"} if died else set()) | (set() if curve.complete else {"missing_visits"})
        flags |= {"ceiling"} if curve.scores[-1] >= settings.maximum else set()
        seen = int(np.isin(visits, curve.days).sum())
        for metric in statistics:
            summary = statistics[metric](curve, visits, settings)
            if summary is None:
                continue
            value, more = summary
            rows.append((animal, settings.test, "", "", metric, value, METRIC_UNITS[metric], seen, len(visits), join_flags(flags | more)))
    return ANIMALS.conform(pd.DataFrame(rows, columns=ANIMALS.names))


def visit_scores(motor: pd.DataFrame, settings: MotorSettings) -> pd.DataFrame:
    """Return one row per animal and visit of the study: animal, day, value (pooled where there is such a scale, else the score).

    Arguments and errors as in `summarise_motor`.
    """
    scores = _scores(motor, settings)
    kept = scores[scores["day"].isin(_study_visits(scores))]
    column = "pooled" if settings.pooled_scale else "score"
    return kept.rename(columns={column: "value"})[["animal", "day", "value"]].sort_values(["animal", "day"]).reset_index(drop=True)


def _scores(motor: pd.DataFrame, settings: MotorSettings) -> pd.DataFrame:
    """Rows animal, day, score, pooled, sides: one per animal and day after injury; scores are pooled before sides are averaged."""
    table = MOTOR.conform(motor.assign(**{c: "" for c in ("test", "side", "rater") if c not in motor.columns}))
    table["test"] = table["test"].replace("", "BBB")
    tests = set(table["test"])
    if settings.test not in tests:
        raise StudyError(Problem("motor.csv", f"no scores of test {settings.test!r}", did_you_mean(settings.test, sorted(tests))))
    table = table[table["test"] == settings.test]
    table = table[table["score"].notna() & (table["day"] > 0)]
    _refuse(table, settings)
    scale = settings.pooled_scale
    pooled = np.interp(table["score"], np.arange(len(scale)), scale) if scale else np.full(len(table), _NAN)
    sides = table.assign(pooled=pooled).groupby(["animal", "day", "rater"])[["score", "pooled"]].mean()
    seen = table.groupby(["animal", "day"])["side"].nunique()
    out = sides.groupby(["animal", "day"]).mean()
    return out.assign(sides=seen).reset_index()


def _refuse(table: pd.DataFrame, settings: MotorSettings) -> None:
    problems = []
    if not len(table):
        problems.append(Problem("motor.csv", f"no {settings.test} score after day 0", "give the day after injury of every score"))
    off = table[(table["score"] < 0) | (table["score"] > settings.maximum)]
    for _, row in off.iterrows():
        what = f"animal {row['animal']}, day {row['day']:g}: score {row['score']:g} is outside 0-{settings.maximum:g}"
        problems.append(Problem("motor.csv", what, "correct the score, or [motor] maximum in study.toml"))
    twice = table[table.duplicated(["animal", "day", "side", "rater"])]
    for _, row in twice.iterrows():
        what = f"animal {row['animal']}, day {row['day']:g}: scored twice by the same rater on the same side"
        problems.append(Problem("motor.csv", what, "keep one row, or name the rater or side"))
    if problems:
        raise StudyError(problems)


def _study_visits(scores: pd.DataFrame) -> DoubleArray:
    count = scores.groupby("day")["animal"].nunique()
    visits = np.sort(count[count >= scores["animal"].nunique() / 2].index.to_numpy(dtype=np.float64))
    if not len(visits):
        remedy = "give the planned day of each visit, the same for all animals"
        raise StudyError(Problem("motor.csv", "no day on which at least half of the animals were scored", remedy))
    return visits


def _curve(rows: pd.DataFrame, visits: DoubleArray) -> Curve:
    ordered = rows.sort_values("day")
    days = ordered["day"].to_numpy(dtype=np.float64)
    complete = bool(np.isin(visits, days).all()) and len(set(ordered["sides"])) == 1
    return Curve(days, ordered["score"].to_numpy(np.float64), complete, ordered["pooled"].to_numpy(np.float64))


@statistics.register("auc")
def auc(curve: Curve, visits: DoubleArray, settings: MotorSettings) -> Summary | None:
    """Trapezoid over the window (score x days)."""
    return (curve.area(float(visits[0]), float(visits[-1])), set()) if len(visits) > 1 else None


@statistics.register("early_auc")
def early_auc(curve: Curve, visits: DoubleArray, settings: MotorSettings) -> Summary | None:
    """Trapezoid up to ``early_until_day`` (score x days)."""
    start, early = float(visits[0]), settings.early_until_day
    return (curve.area(start, early), set()) if start < early <= visits[-1] else None


@statistics.register("plateau")
def plateau(curve: Curve, visits: DoubleArray, settings: MotorSettings) -> Summary | None:
    """Mean at the last two visits of the study (score)."""
    return (float(curve.at(visits[-2:]).mean()), set()) if len(visits) > 1 else None


@statistics.register("day1")
def day1(curve: Curve, visits: DoubleArray, settings: MotorSettings) -> Summary | None:
    """Score at the last visit on or before day 1."""
    first = visits[visits <= 1]
    return (float(curve.at(first[-1:])[0]), set()) if len(first) else None


@statistics.register("onset_day")
def onset_day(curve: Curve, visits: DoubleArray, settings: MotorSettings) -> Summary | None:
    """Where the line between two visits first meets the criterion.

    The first visit, flagged ``already_reached``, where it is met there; the last day of the window, flagged ``not_reached``, where it is
    never met.
    """
    end, (after, by) = float(visits[-1]), _onset(curve, visits, settings)
    if by == np.inf:
        # an animal lost before the end is not late: it has no onset day
        return (end if curve.days[-1] >= end else _NAN), {"not_reached"}
    if after == 0:
        return by, {"already_reached"}
    low, high = (float(v) for v in curve.at(np.array([after, by])))
    return after + (settings.criterion - low) / (high - low) * (by - after), set()


def _onset(curve: Curve, visits: DoubleArray, settings: MotorSettings) -> tuple[float, float]:
    """Return the interval in which the criterion was first met: 0 before the first visit, infinity where it was not."""
    inside = curve.days <= visits[-1]
    days, reached = curve.days[inside], np.flatnonzero(curve.scores[inside] >= settings.criterion)
    if not len(days):
        return 0.0, np.inf
    if not len(reached):
        return float(days[-1]), np.inf
    i = int(reached[0])
    return (float(days[i - 1]) if i else 0.0), float(days[i])


@statistics.register("onset_after_day")
def onset_after_day(curve: Curve, visits: DoubleArray, settings: MotorSettings) -> Summary | None:
    """Last visit below the criterion before it was met: onset is later than this; 0 where it was met at the first visit."""
    after, by = _onset(curve, visits, settings)
    return after, ({"already_reached"} if after == 0 and by < np.inf else set()) | ({"not_reached"} if by == np.inf else set())


@statistics.register("onset_by_day")
def onset_by_day(curve: Curve, visits: DoubleArray, settings: MotorSettings) -> Summary | None:
    """First visit at which the criterion was met: onset is not later than this; empty, flagged ``not_reached``, where it never was."""
    after, by = _onset(curve, visits, settings)
    flags = ({"already_reached"} if after == 0 and by < np.inf else set()) | ({"not_reached"} if by == np.inf else set())
    return (by if by < np.inf else _NAN), flags


@statistics.register("pooled_auc")
def pooled_auc(curve: Curve, visits: DoubleArray, settings: MotorSettings) -> Summary | None:
    """Trapezoid over the window of the pooled scores (score x days)."""
    return auc(replace(curve, scores=curve.pooled), visits, settings) if settings.pooled_scale else None


@statistics.register("pooled_plateau")
def pooled_plateau(curve: Curve, visits: DoubleArray, settings: MotorSettings) -> Summary | None:
    """Mean pooled score at the last two visits of the study."""
    return plateau(replace(curve, scores=curve.pooled), visits, settings) if settings.pooled_scale else None
