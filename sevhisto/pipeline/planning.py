"""`sevhisto plan`: from the variance of this study to the size of the next one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sevhisto.compare.design import components
from sevhisto.compare.endpoints import choose_endpoints, widen, with_endpoints
from sevhisto.compare.planning import MOST, arm_variance, plan_table
from sevhisto.decide.spread import section_spread
from sevhisto.io.files import write_bytes_atomic
from sevhisto.io.key import codes
from sevhisto.io.store import read_table, write_table
from sevhisto.io.study import load_study
from sevhisto.metrics import endpoint_name
from sevhisto.pipeline.facts import last_facts
from sevhisto.pipeline.naming import Names
from sevhisto.pipeline.running import is_open
from sevhisto.registry import did_you_mean
from sevhisto.schema import ANIMALS, PLAN, SECTIONS
from sevhisto.types import Problem, StudyError


@dataclass(frozen=True)
class PlanSummary:
    """The table that was written, and what it says, one line per endpoint."""

    path: Path
    table: pd.DataFrame
    lines: tuple[str, ...]


def plan(root: Path, endpoint: str = "", effect_pct: float = 30.0, wanted: float = 0.8) -> PlanSummary:
    """Write results/plan.csv and plan.svg: animals per arm for a difference of `effect_pct` of the mean, by sections per animal.

    Parameters
    ----------
    endpoint : a column of animals_wide.csv; the primary endpoints where empty
    wanted : power

    Raises
    ------
    SevhistoError
        The study was not run, or the endpoint was not measured or shows no variance between animals of one arm.
    """
    from sevhisto.report.canvas import svg_file
    from sevhisto.report.plans import plan_figure

    study = load_study(root)
    results = study.results_dir
    last_facts(results)
    names = Names.of(codes(study), is_open(study))
    people = study.animals[study.animals["protocol"].isin(list(study.config.protocols)) & ~study.animals["excluded"]]
    groups = pd.Series(people["protocol"].to_numpy(object), index=[names.animals[a] for a in people["animal"]])
    table = with_endpoints(read_table(results / "animals.csv", ANIMALS))
    values = widen(table, "value").reindex(groups.index)
    wanted_ones = [endpoint] if endpoint else choose_endpoints(study.config, values.columns)[0]
    unknown = [e for e in wanted_ones if e not in values.columns]
    if unknown:
        raise StudyError(Problem("--endpoint", f"{unknown[0]!r} was not measured", did_you_mean(unknown[0], list(values.columns))))
    if not wanted_ones:
        raise StudyError(
            Problem(
                "study.toml: endpoints", "no primary endpoint is declared", "name a column of animals_wide.csv there, or with --endpoint"
            )
        )
    spread = section_spread(read_table(results / "sections.csv", SECTIONS))
    units = table.drop_duplicates("endpoint").set_index("endpoint")["unit"]
    parts, lines = [], []
    for name in wanted_ones:
        found = _variance(name, values[name], groups, spread, str(units[name]))
        if not found.between + found.within > 0:
            what = f"{name}: no variance between animals of one arm is known"
            raise StudyError(Problem("animals.csv", what, "it takes two animals in an arm, and values that differ"))
        difference = effect_pct / 100 * abs(found.mean)
        part = plan_table(name, found.unit, difference, found.between, found.within, found.sections, wanted)
        parts.append(part)
        lines.append(_line(name, part, effect_pct, wanted))
    out = pd.concat(parts, ignore_index=True)
    write_table(results / PLAN.name, out, PLAN)
    write_bytes_atomic(results / "plan.svg", svg_file(plan_figure(out, wanted)))
    return PlanSummary(results / PLAN.name, out, tuple(lines))


@dataclass(frozen=True)
class _Found:
    mean: float
    between: float
    within: float
    sections: float
    unit: str


def _variance(name: str, values: pd.Series[float], groups: pd.Series[str], spread: pd.DataFrame, unit: str) -> _Found:
    """Return mean and variances of the section's value where sections stand behind the endpoint, else of the animal's."""
    keys = spread[["panel", "zone", "marker", "metric"]]
    own = spread[[endpoint_name(*key) == name for key in keys.itertuples(index=False, name=None)]]
    own = own[own["animal"].isin(set(groups.index))]
    if len(own):
        arm = np.unique(groups.loc[own["animal"]].to_numpy(str), return_inverse=True)[1].astype(np.float64)
        n, mean, squares = (own[c].to_numpy(np.float64) for c in ("n_sections", "mean", "sum_squares"))
        found = components(n, mean, squares, arm)
        if math.isfinite(found.between):
            volume = name.endswith("_volume_mm3")
            return _Found(float(mean.mean()), found.between, found.within, found.sections, "um2 per section" if volume else unit)
    mean_value, variance = arm_variance(values, groups)
    return _Found(mean_value, variance if math.isfinite(variance) else 0.0, 0.0, math.nan, unit)


def _line(name: str, part: pd.DataFrame, effect_pct: float, wanted: float) -> str:
    enough = part[part["enough"] == "yes"].set_index("sections")["animals_per_arm"]
    start = f"{name}, a difference of {effect_pct:g} % with power {wanted:g}"
    if len(set(part["sections"])) == 1:
        told = f"{enough.iloc[0]} animals per arm" if len(enough) else f"more than {MOST} animals per arm"
        return f"{start}: {told}"
    counts = sorted(set(part["sections"]))
    told = ", ".join(f"{enough[m] if m in enough.index else f'over {MOST}'} with {m}" for m in counts)
    return f"{start}: animals per arm {told} sections per animal"
