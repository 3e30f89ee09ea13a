"""Does every default test reject as often as it says, in studies where nothing differs? And in how many studies where something does?

Null studies of four arms: matrix as positive volume (log-normal animals, ICC 0.5, five sections each, batches that shift the stain, arms
balanced over them), recovery as BBB (ordinal, plateau differs between rats). Printed, each with its simulation error:

contrasts  share of p < 0.05 of each planned contrast (permutation, within batches where they shift) and of Welch; the exact level that
           the permutation can attain at most; coverage of the 95 % interval; familywise error after Holm
models     the same for the mixed models and the interval of onset
relations  share of p < 0.05 within arms, adjusted and pooled, where groups differ in both, and where a measured severity moves both
mediation  share of intervals off zero where matrix does nothing, without and with an unmeasured severity
power      share of p < 0.05 for a true difference, beside the t test's theoretical power
speed      `compare` of 40 animals x 60 endpoints x 3 contrasts, 10,000 permutations

    .venv/bin/python benchmarks/statistics.py                 # 2,000 null studies (500 for the models, 1,000 for mediation)
    .venv/bin/python benchmarks/statistics.py --share 0.1     # a tenth of them: a look
    .venv/bin/python benchmarks/statistics.py --only contrasts relations
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pandas as pd

from sevhisto.compare.contrasts import compare
from sevhisto.compare.effects import contrast, holm
from sevhisto.compare.longitudinal import longitudinal
from sevhisto.compare.mediation import mediate
from sevhisto.compare.planning import power
from sevhisto.compare.protocols import default_contrasts
from sevhisto.compare.relations import fit_slope
from sevhisto.config import parse_config
from sevhisto.metrics import METRIC_UNITS

ARMS = ("V", "D3", "P3", "P6")
SIZES = (4, 6, 8, 10)
DAYS = np.array([1.0, 3, 7, 14, 21, 28, 42])
CONTRASTS = {"mode": ([2], [1]), "duration": ([3], [2]), "any": ([1, 2, 3], [0])}
CHUNK = 50
Row = dict[str, object]


def volumes(rng: np.random.Generator, n: int, shift: float = 0.0, batches: bool = False) -> np.ndarray:
    """Matrix volume of 4 arms of n animals, (4, n): 5 sections, ICC 0.5 on the log scale, CV about 30 %; batches shift it by 20 %."""
    animal, section = rng.normal(0, 0.21, (4, n, 1)), rng.normal(0, 0.21, (4, n, 5))
    stain = rng.normal(0, 0.2, 2)[np.arange(n) % 2][None, :, None] if batches else 0.0
    return np.exp(animal + section + stain + shift * np.array([0.0, 0, 0, 1])[:, None, None]).mean(axis=2)


def scores(rng: np.random.Generator, n: int) -> np.ndarray:
    """BBB of 4 arms of n rats over DAYS, (4, n, 7): plateau N(11.5, 3), tau lognormal(6 d, 0.3), rater noise 0.9, whole, 0 to 21."""
    plateau, tau = rng.normal(11.5, 3, (4, n, 1)), rng.lognormal(math.log(6), 0.3, (4, n, 1))
    return np.clip(np.rint(plateau * (1 - np.exp(-DAYS / tau)) + rng.normal(0, 0.9, (4, n, len(DAYS)))), 0, 21)


def contrasts_chunk(task: tuple[int, int, int]) -> list[Row]:
    """Planned contrasts of null studies: volume, volume with batches, BBB area."""
    n, first, count = task
    rows: list[Row] = []
    for seed in range(first, first + count):
        rng = np.random.default_rng([1, n, seed])
        kinds = {
            "volume": (volumes(rng, n), None),
            "volume, batches": (volumes(rng, n, batches=True), np.arange(n) % 2),
            "BBB area": (np.trapezoid(scores(rng, n), DAYS, axis=2), None),
        }
        for kind, (values, block) in kinds.items():
            p = []
            for name, (a, b) in CONTRASTS.items():
                blocks = [None, None] if block is None else [[block] * len(a), [block] * len(b)]
                e = contrast([values[i] for i in a], [values[i] for i in b], *blocks)
                p.append(e.p)
                covered = e.ci_low <= 0 <= e.ci_high
                rows.append({"what": kind, "n": n, "test": name, "p": e.p, "welch": e.p_welch, "covered": covered, "p_min": e.p_min})
            rows.append({"what": kind, "n": n, "test": "family (Holm)", "p": float(holm(p).min())})
    return rows


def models_chunk(task: tuple[int, int, int]) -> list[Row]:
    """Mixed models and onset of null studies."""
    n, first, count = task
    config, rows = study(), []
    plan = [c for c in default_contrasts(config) if c.planned]
    groups = pd.Series({f"{g}{i}": g for g in ARMS for i in range(n)})
    for seed in range(first, first + count):
        values = scores(np.random.default_rng([2, n, seed]), n).reshape(4 * n, -1)
        motor = pd.DataFrame(
            [(a, d, s) for a, own in zip(groups.index, values, strict=True) for d, s in zip(DAYS, own, strict=True)],
            columns=["animal", "day", "score"],
        )
        t = longitudinal(motor, groups, config, plan, pd.DataFrame(index=groups.index))
        for r in t.to_dict("records"):
            covered = r["ci_low"] <= 0 <= r["ci_high"] if math.isfinite(r["ci_low"]) else math.nan
            rows.append({"what": f"{r['model']} {r['term']}", "n": n, "test": r["contrast"], "p": r["p"], "covered": covered})
    return rows


def relations_chunk(task: tuple[int, int, int]) -> list[Row]:
    """Slopes of recovery on matrix where no animal's matrix moves its recovery."""
    n, first, count = task
    arm = np.repeat(np.arange(4), n)
    dummies, one, level = np.eye(4)[arm], np.ones((4 * n, 1)), np.array([0.0, 1, 2, 3])[arm]
    rows: list[Row] = []
    for seed in range(first, first + count):
        rng = np.random.default_rng([3, n, seed])
        noise = rng.normal(size=(3, 4 * n))
        cases = {
            "groups differ": (noise[0] - level, noise[1] + level, noise[2]),
            "shared severity": (0.6 * noise[0] + 0.8 * noise[2], 0.6 * noise[1] - 0.8 * noise[2], noise[2]),
        }
        for case, (ecm, motor, severity) in cases.items():
            for model, nuisance in (("within_arm", dummies), ("adjusted", np.column_stack([dummies, severity])), ("pooled", one)):
                rows.append({"what": case, "n": n, "test": model, "p": fit_slope(motor, ecm, nuisance).p})
    return rows


def mediation_chunk(task: tuple[int, int, int]) -> list[Row]:
    """Intervals of the product where matrix does nothing."""
    n, first, count = task
    x = np.repeat([0.0, 1.0], n)
    rows: list[Row] = []
    for seed in range(first, first + count):
        rng = np.random.default_rng([4, n, seed])
        e = rng.normal(size=(3, 2 * n))
        for what, load in (("no effect of matrix", 0.0), ("unmeasured severity, loading 0.6", 0.6)):
            rest = math.sqrt(1 - load**2)
            m, y = 0.8 * x + load * e[2] + rest * e[0], load * e[2] + rest * e[1]
            found = mediate(x, m, y, np.zeros((2 * n, 0)), 2000, 1)
            rows.append({"what": what, "n": n, "test": "interval off 0", "p": 0.0 if found.ci_low > 0 or found.ci_high < 0 else 1.0})
    return rows


def power_chunk(task: tuple[int, int, int]) -> list[Row]:
    """Two arms that do differ."""
    n, first, count = task
    rows: list[Row] = []
    for seed in range(first, first + count):
        rng = np.random.default_rng([5, n, seed])
        a, b = rng.normal(1.5, 1, n), rng.normal(0, 1, n)
        e = contrast([a], [b])
        rows.append(
            {
                "what": "difference of 1.5 SD",
                "n": n,
                "test": "two arms",
                "p": e.p,
                "welch": e.p_welch,
                "covered": e.ci_low <= 1.5 <= e.ci_high,
            }
        )
    return rows


def study():
    """Return the settings of a delivery study."""
    common = {"route": "intravenous", "dose_unit": "particles"}
    daily = {"injections_h": [24, 48, 72]}
    return parse_config(
        {
            "study": {"name": "null", "section_spacing_um": 200},
            "panels": {"B": {"channels": [{"channel": 1, "marker": "fibronectin", "role": "ecm"}]}},
            "protocols": {
                "V": {**common, "total_dose": 0, **daily},
                "D3": {**common, "total_dose": 3e9, **daily},
                "P3": {**common, "total_dose": 3e9, "infusion": {"start_h": 24, "duration_h": 72}},
                "P6": {**common, "total_dose": 3e9, "infusion": {"start_h": 24, "duration_h": 144}},
            },
        }
    )


PARTS: dict[str, tuple[Callable[[tuple[int, int, int]], list[Row]], int]] = {
    "contrasts": (contrasts_chunk, 2000),
    "models": (models_chunk, 500),
    "relations": (relations_chunk, 2000),
    "mediation": (mediation_chunk, 1000),
    "power": (power_chunk, 2000),
}


def simulate(part: str, share: float, jobs: int) -> pd.DataFrame:
    """Return one row per study and test of a part."""
    work, most = PARTS[part]
    total = max(CHUNK, round(most * share))
    tasks = [(n, first, min(CHUNK, total - first)) for n in SIZES for first in range(0, total, CHUNK)]
    with ProcessPoolExecutor(jobs) as pool:
        return pd.DataFrame([row for rows in pool.map(work, tasks) for row in rows])


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Return rejections in percent with their simulation error, coverage, and the exact level that can be attained."""
    rows = []
    for (what, test, n), own in frame.groupby(["what", "test", "n"], sort=False):
        k = own["p"].notna().sum()
        share = float((own["p"].dropna() < 0.05).mean())
        error = 196 * math.sqrt(max(share * (1 - share), 1e-4) / k)
        row = {"what": what, "test": test, "n": n, "studies": k, "p<0.05 %": 100 * share, "+-": error}
        if "p_min" in own and own["p_min"].notna().any():
            least = float(own["p_min"].iloc[0])
            row["attainable %"] = 100 * math.floor(0.05 / least - 1e-9) * least
        if "welch" in own and own["welch"].notna().any():
            row["Welch %"] = 100 * float((own["welch"] < 0.05).mean())
        if "covered" in own and own["covered"].notna().any():
            row["coverage %"] = 100 * float(own["covered"].dropna().astype(float).mean())
        rows.append(row)
    return pd.DataFrame(rows)


def speed() -> str:
    """Return how long `compare` takes over 40 animals x 60 endpoints x 3 contrasts."""
    config = study()
    panel = {"channels": [{"channel": i + 1, "marker": f"m{i}", "role": "ecm"} for i in range(20)]}
    data = config.model_dump(exclude_unset=True)
    zones = ("core", "0-250", "250-500")
    names = [f"B_{zone}_m{i}_fraction_pct" for i in range(20) for zone in zones]
    data |= {"panels": {"B": panel}, "endpoints": {"primary": names[:2], "secondary": names[2:]}}
    data["contrasts"] = [{"name": c.name, "a": c.a, "b": c.b} for c in default_contrasts(config) if c.planned]
    groups = pd.Series({f"{g}{i}": g for g in ARMS for i in range(10)})
    rng = np.random.default_rng(1)
    unit = METRIC_UNITS["fraction_pct"]
    rows = [
        (a, "B", zone, f"m{i}", "fraction_pct", rng.lognormal(3, 0.3), unit, 8, 8, "")
        for a in groups.index
        for i in range(20)
        for zone in zones
    ]
    columns = ["animal", "panel", "zone", "marker", "metric", "value", "unit", "n_sections", "n_expected", "flags"]
    table, settings = pd.DataFrame(rows, columns=columns), parse_config(data)
    began = time.perf_counter()
    done = compare(table, groups, settings)
    return f"compare: {len(groups)} animals, {len(done)} rows, 10,000 permutations: {time.perf_counter() - began:.1f} s"


def main() -> None:
    """Simulate and print."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--share", type=float, default=1.0, help="share of the studies to simulate")
    ask.add_argument("--only", nargs="+", choices=[*PARTS, "speed"], default=[*PARTS, "speed"])
    ask.add_argument("--jobs", type=int, default=2)
    o = ask.parse_args()
    pd.set_option("display.width", 200, "display.max_rows", 400, "display.max_columns", 20)
    for part in o.only:
        if part == "speed":
            print(speed())
            continue
        began = time.perf_counter()
        table = summary(simulate(part, o.share, o.jobs))
        if part == "power":
            table["theory %"] = [100 * power(int(n), 1.5, 1.0, 0.0, 1) for n in table["n"]]
        print(f"\n{part} ({time.perf_counter() - began:.0f} s)\n{table.round(1).to_string(index=False, na_rep='')}", flush=True)


if __name__ == "__main__":
    main()
