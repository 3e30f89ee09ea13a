"""Do the 95 % intervals of whole studies hold the effects that were put in?

For each seed a synthetic study (four arms of six rats, two panels, controls) is written to a temporary folder, run from slides to
tables, unblinded and compared, by the same functions that the commands call. Each study's effects are kept in
``benchmarks/out/coverage/`` and its slides deleted, so that a stopped run goes on where it was; studies of another
revision of the program or with other settings are kept apart, and never pooled. Printed per endpoint and contrast:

declared   what the study was made with (a ratio of geometric means, or a difference in score x days), a value of the population
cover      how many of the intervals hold it; 95 % are expected to
measured   geometric mean (ratios) or mean (differences) over the studies
imaging    measured over realised: realised is the ratio that these very animals have in the painted structure, without any imaging;
           what is left is the error of the pictures and their analysis, free of the luck of the draw

and for null studies, in which no arm differs, the share of p < 0.05, of which 5 % are expected. Intervals of one study share animals,
so the interval around the overall coverage is given twice: as if all were independent (Wilson), and drawing whole studies anew (bootstrap).

    .venv/bin/python benchmarks/declared_effects.py                          # 20 seeds, 5 of them null, 1.5 um/px: over an hour on 2 cores
    .venv/bin/python benchmarks/declared_effects.py --um-per-px 2.6          # the same: 45 CPU minutes
    .venv/bin/python benchmarks/declared_effects.py --quick                  # 2 seeds, 1 null, 3 rats per arm: a look
"""

from __future__ import annotations

import argparse
import hashlib
import math
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

import sevhisto
from sevhisto.io.store import read_table
from sevhisto.phantom import StudySpec, load_truth, make_study
from sevhisto.pipeline import compare, run
from sevhisto.pipeline.demonstrating import effects
from sevhisto.schema import STATUS

OUT = Path(__file__).parent / "out" / "coverage"
FIRST_NULL = 500  # null studies have seeds of their own


def fingerprint(spec: StudySpec) -> str:
    """Return what a study's effects depend on besides its seed: the program's source and the study's settings."""
    root = Path(sevhisto.__file__).parent
    sources = sorted(f for f in root.rglob("*.py") if f.parent.name != "report")
    told = hashlib.sha256(repr(replace(spec, seed=0, null=False)).encode())
    for file in sources:
        told.update(file.read_bytes())
    return told.hexdigest()[:10]


def realised(study: Path) -> dict[tuple[str, str], float]:
    """Return, per ECM endpoint and contrast, the ratio of geometric means of the painted structure's volume in the core."""
    truth = load_truth(study)
    logs = np.log(truth.animals.set_index("protocol").filter(regex="^B_core_(fibronectin|collagen_I)_structure_volume_mm3$"))
    found = {}
    for name, contrast in truth.declared["contrasts"].items():
        sides = [pd.concat([logs.loc[[arm]].mean() for arm in contrast[side]], axis=1).mean(axis=1) for side in "ab"]
        for column, value in (sides[0] - sides[1]).items():
            found[str(column).replace("structure", "positive"), name] = math.exp(value)
    return found


def one_study(spec: StudySpec, jobs: int) -> pd.DataFrame:
    """Make, run and compare one study; return its effects with p and the realised ratio."""
    began, used = time.monotonic(), cpu_seconds()
    with tempfile.TemporaryDirectory(prefix="sevhisto-coverage-") as folder:
        study = Path(folder) / "study"
        make_study(study, spec, jobs)
        ran = run(study, jobs)
        if ran.failed:
            raise SystemExit(f"seed {spec.seed}: {ran.failed} sections failed: {ran.failures[0]}")
        compared = compare(study, open_key=True).comparisons
        status = read_table(study / "results" / "status.csv", STATUS)
        known = realised(study)
        table = effects(compared, load_truth(study))
    table = table.merge(compared[["endpoint", "contrast", "p", "p_adjusted", "n_a", "n_b"]], on=["endpoint", "contrast"], how="left")
    table["realised"] = [known.get((e, c), math.nan) for e, c in zip(table["endpoint"], table["contrast"], strict=True)]
    table.insert(0, "seed", spec.seed)
    return table.assign(
        null=spec.null,
        flagged=int((status["status"] == "flagged").sum()),
        sections=len(status),
        wall_s=time.monotonic() - began,
        cpu_s=cpu_seconds() - used,
    )


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and its finished children."""
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def collect(specs: list[StudySpec], jobs: int, folder: Path) -> pd.DataFrame:
    """Return the effects of all studies, making those that are not in `folder` yet."""
    folder.mkdir(parents=True, exist_ok=True)
    revision = fingerprint(specs[0])
    parts = []
    for i, spec in enumerate(specs, 1):
        kept = folder / f"{'null' if spec.null else 'seed'}_{spec.seed:04d}.csv"
        if not kept.is_file():
            table = one_study(spec, jobs)
            if fingerprint(specs[0]) != revision:  # worker processes load the source anew: this study is of neither revision
                raise SystemExit(f"seed {spec.seed}: the program's source changed while the study ran; start again")
            table.to_csv(kept.with_suffix(".part"), index=False)
            kept.with_suffix(".part").rename(kept)
            first = table.iloc[0]
            print(f"{i}/{len(specs)} {kept.stem}: {first['wall_s']:.0f} s, {first['cpu_s']:.0f} CPU s", flush=True)
        parts.append(pd.read_csv(kept))
    return pd.concat(parts, ignore_index=True)


def covers(table: pd.DataFrame) -> pd.Series:
    """Return whether each interval holds the declared value."""
    return (table["low"] <= table["declared"]) & (table["declared"] <= table["high"])


def per_endpoint(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per endpoint and contrast."""
    rows = []
    for (endpoint, contrast), part in table.groupby(["endpoint", "contrast"], sort=False):
        ratio = part["scale"].iloc[0] == "ratio"
        measured = math.exp(np.log(part["measured"]).mean()) if ratio else part["measured"].mean()
        declared = part["declared"].iloc[0]
        spread = (np.log(part["measured"]) if ratio else part["measured"]).std(ddof=1) / math.sqrt(len(part))
        away = (math.log(measured / declared) if ratio else measured - declared) / spread if len(part) > 1 else math.nan
        error = np.log(part["measured"] / part["realised"]) if ratio else pd.Series([math.nan])
        rows.append(
            {
                "endpoint": str(endpoint).removeprefix("B_core_").removesuffix("_positive_volume_mm3"),
                "contrast": contrast,
                "scale": part["scale"].iloc[0],
                "declared": declared,
                "cover": f"{int(covers(part).sum())}/{len(part)}",
                "measured": measured,
                "measured/declared": measured / declared if declared else math.nan,
                "off_in_se": away,
                "imaging": math.exp(error.mean()),
                "imaging_sd": error.std(ddof=1) if len(error) > 1 else math.nan,
            }
        )
    return pd.DataFrame(rows)


def share_line(name: str, hits: pd.Series, seeds: pd.Series, wanted: str) -> str:
    """Return a share with its two intervals, in words."""
    n, k = len(hits), int(hits.sum())
    low, high = proportion_confint(k, n, method="wilson")
    means = hits.groupby(seeds).mean().to_numpy()
    draws = np.random.default_rng(1).choice(means, (10_000, len(means))).mean(axis=1)
    a, b = np.percentile(draws, [2.5, 97.5])
    wilson, boot = f"{100 * low:.1f} to {100 * high:.1f} %", f"{100 * a:.1f} to {100 * b:.1f} %"
    return f"{name}: {k} of {n} = {100 * k / n:.1f} % (Wilson {wilson}; bootstrap of {len(means)} studies {boot}); expected {wanted}"


def main() -> None:
    """Run the studies that are missing and print the tables."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--seeds", type=int, default=20, help="studies, null ones included")
    ask.add_argument("--first", type=int, default=101, help="first seed")
    ask.add_argument("--null", type=int, default=5, help="how many of them are null: no arm differs from vehicle")
    ask.add_argument("--um-per-px", type=float, default=1.5, help="pixel size; the demo's own is 1.5")
    ask.add_argument("--jobs", type=int, default=2)
    ask.add_argument("--quick", action="store_true", help="2 seeds, 1 of them null, 3 rats per arm, 2.6 um/px")
    o = ask.parse_args()
    n_per_arm = 3 if o.quick else 6
    if o.quick:
        o.seeds, o.null, o.um_per_px = 2, 1, 2.6
    seeds = [*range(o.first, o.first + o.seeds - o.null)], [*range(FIRST_NULL + o.first, FIRST_NULL + o.first + o.null)]
    specs = [
        StudySpec(seed=s, null=null, um_per_px=o.um_per_px, n_per_arm=n_per_arm)
        for null, group in zip((False, True), seeds, strict=True)
        for s in group
    ]
    table = collect(specs, o.jobs, OUT / f"{o.um_per_px:g}um_{n_per_arm}rats_{fingerprint(specs[0])}")
    pd.set_option("display.width", 200, "display.max_columns", 20)
    real, null = table[~table["null"]], table[table["null"]]
    print(f"\n{len(specs)} studies of {n_per_arm} rats per arm at {o.um_per_px:g} um/px, {o.null} of them null")
    print(per_endpoint(real).round(3).to_string(index=False) if len(real) else "")
    print()
    if len(real):
        print(share_line("coverage", covers(real), real["seed"], "95 %"))
    if len(null):
        print(share_line("coverage, null studies", covers(null), null["seed"], "95 %"))
        print(share_line("p < 0.05, null studies", null["p"] < 0.05, null["seed"], "5 %"))
    print(share_line("coverage, all", covers(table), table["seed"], "95 %"))
    one = table.drop_duplicates("seed")
    print(f"per study: {one['wall_s'].mean():.0f} s wall, {one['cpu_s'].mean():.0f} CPU s; {int(one['flagged'].sum())} sections flagged")


if __name__ == "__main__":
    main()
