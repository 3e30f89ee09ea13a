"""How far are the counts of macrophages from what is there, and do their bounds hold it?

Synthetic sections of panel A (DAPI, GFAP, CD68, CD206, blank) of seeds that no test uses and no choice was made on, crowded with foamy
cells that lie over each other, with control slides of their own, one study per seed, through the function that `sevhisto run` calls.

CD68+ nuclei are compared with the nuclei whose centre lies on a CD68+ cell, its vacuoles included. Two other truths stand beside it: of
these only the nuclei that do not lie on a vacuole (where no CD68 is painted), and the nuclei of the painted CD68+ cells themselves (others
lie over or under those cells, which no measurement in the plane can tell). `held` is in how many sections the bounds hold the truth.

    .venv/bin/python benchmarks/accuracy_cells.py                 # ten seeds: 13 CPU minutes
    .venv/bin/python benchmarks/accuracy_cells.py --seeds 6101    # one
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
from accuracy import KEYS, count_rows, count_table, show
from phantoms import Case, make

from sevhisto.io.store import read_table
from sevhisto.phantom import StudyTruth, load_truth
from sevhisto.pipeline import run
from sevhisto.schema import SECTIONS

SEEDS = tuple(range(6101, 6111))
CASE = Case("transverse 1.3 um/px", 1.3)


def bounds_rows(study: Path, truth: StudyTruth, more: pd.DataFrame) -> pd.DataFrame:
    """Return, per section with a lesion, zone and truth, the count with its bounds and what is true."""
    keyed = read_table(study / "results" / "sections.csv", SECTIONS).set_index([*KEYS, "zone", "marker"])
    facts = truth.sections.merge(more, on=KEYS)
    truths = {
        "core": {"nuclei on CD68+ cells": "on_cd68_core", "nuclei of CD68+ cells": "cells_cd68_core", "not on a vacuole": "on_paint_core"},
        "all": {"nuclei on CD68+ cells": "on_cd68", "nuclei of CD68+ cells": "n_cd68_cells"},
    }
    rows = []
    for piece in facts[facts["lesion_scale"] > 0].to_dict("records"):
        for zone, names in truths.items():
            found = keyed.loc[(*(piece[k] for k in KEYS), zone, "CD68")]
            told = {"low": found["n_cells_low"], "count": found["n_cells"], "high": found["n_cells_high"]}
            rows += [{"zone": zone, "what": what, "true": piece[column], **told} for what, column in names.items()]
    return pd.DataFrame(rows)


def bounds_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return how often the bounds hold the truth, and how wide they are."""
    out = []
    for (zone, what), part in rows.groupby(["zone", "what"], sort=False):
        held = (part["low"] <= part["true"]) & (part["true"] <= part["high"])
        row = {"zone": zone, "true": what, "held": f"{held.sum()}/{len(part)}"}
        for name in ("true", "low", "high"):
            share = part[name] / part["count"]
            row[f"{name} / count: mean (range)"] = f"{share.mean():.2f} ({share.min():.2f} to {share.max():.2f})"
        out.append(row)
    return pd.DataFrame(out)


def main() -> None:
    """Make, measure and compare one seed after the other."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    ask.add_argument("--jobs", type=int, default=1)
    o = ask.parse_args()
    counts, bounds, started = [], [], time.process_time()
    for seed in o.seeds:
        with tempfile.TemporaryDirectory(prefix="sevhisto-cells-") as name:
            study = Path(name) / "study"
            more = make(study, CASE, [seed], o.jobs, ["A"])
            ran = run(study, o.jobs)
            if ran.failed:
                raise SystemExit(f"seed {seed}: {ran.failed} sections failed: {ran.failures[0]}")
            truth = load_truth(study)
            counts.append(count_rows(study, truth, more))
            bounds.append(bounds_rows(study, truth, more))
        print(f"seed {seed}: {time.process_time() - started:.0f} CPU s so far", file=sys.stderr, flush=True)
    show("Counts", count_table(pd.concat(counts)))
    show("Bounds of the CD68+ count", bounds_table(pd.concat(bounds)))


if __name__ == "__main__":
    main()
