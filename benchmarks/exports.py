"""Time and memory of every export of 288 sections, each in a process of its own.

python benchmarks/exports.py [--out DIR] [--jobs N] [--study DIR]

The small study of benchmarks/decide.py is measured (a minute), then every animal is listed six times: 24 animals, 6 sections, 2 panels, and
the groups are compared under codes; `--study` takes a study that was run and compared instead. Slides are not
read by an export, so that copies need none. Each figure holds the reading of the tables; the last line is all formats in one command, as a
person would write them, with `--jobs` processes.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
from decide import COPIES, make

from sevhisto.io.files import write_json
from sevhisto.io.key import codes, write_key
from sevhisto.io.store import read_table
from sevhisto.io.study import load_study
from sevhisto.pipeline import compare, export_formats
from sevhisto.pipeline.deciding import decide
from sevhisto.pipeline.exclusion_tables import write_exclusions
from sevhisto.pipeline.facts import last_facts
from sevhisto.pipeline.naming import Names
from sevhisto.pipeline.running import choices_now, unaware
from sevhisto.pipeline.tables import write_results
from sevhisto.pipeline.tasks import PieceOutcome
from sevhisto.schema import RECORDS

ASKED_S, ASKED_MB = 60, 1000


def many(small: Path, root: Path) -> None:
    """Write a study at `root` that lists every animal of the small one COPIES times, as it were after `run`; records are linked."""
    shutil.rmtree(root, ignore_errors=True)
    study = load_study(small)
    (root / "results").mkdir(parents=True)
    (root / "slides").mkdir()
    shutil.copytree(small / "results" / "records", root / "results" / "records", copy_function=os.link)
    shutil.copy(small / "study.toml", root)
    for name in ("slides.csv", "animals.csv", "motor.csv"):
        _copied(pd.read_csv(small / name, dtype=str, keep_default_na=False)).to_csv(root / name, index=False)
    for file in pd.read_csv(root / "slides.csv", dtype=str, keep_default_na=False)["file"].unique():
        (root / "slides" / file).touch()  # an export opens no slide
    more = load_study(root)
    key, old = codes(more), codes(study)
    listed = read_table(small / "results" / "records.csv", RECORDS).set_index(["animal", "section", "panel"])["record"]
    outcomes = []
    for i, line in more.slides.iterrows():
        animal, section = old.shown(line["animal"].partition("copy")[0], line["section"])
        path = root / "results" / "records" / listed[animal, section, line["panel"]]
        outcomes.append(PieceOutcome(int(str(i)), path, ""))
    write_key(root / "results", key)
    names = Names.of(key, False)
    tables = decide(unaware(more), outcomes, names, [], {})
    write_results(root / "results", tables, set())
    write_exclusions(root / "results", more, names, [], tables.outlines, set())
    write_json(root / "results" / "run.json", last_facts(small / "results") | {"frozen": {**tables.frozen, **choices_now(more)}})


def _copied(sheet: pd.DataFrame) -> pd.DataFrame:
    ours = sheet[sheet["animal"].str.startswith("R")]
    copies = []
    for i in range(1, COPIES):
        copy = ours.assign(animal=ours["animal"] + f"copy{i}")
        copies.append(copy.assign(file=f"copy{i}_" + copy["file"]) if "file" in copy else copy)
    return pd.concat([sheet, *copies], ignore_index=True)


def size_mb(folder: Path) -> tuple[int, float]:
    """Return how many files a folder holds, and their size."""
    files = [p for p in folder.rglob("*") if p.is_file()]
    return len(files), sum(p.stat().st_size for p in files) / 1e6


def main() -> int:
    """Make the study, and export it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out" / "exports", help="where the studies are kept")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--study", type=Path, help="a study that was run and compared, instead of the one made here")
    args = parser.parse_args()
    small, root = args.out / "small", args.study or args.out / "many"
    if args.study is None:
        make(small)
    if not (root / "results" / "comparisons.csv").is_file():
        many(small, root)
        start = time.perf_counter()
        compare(root, jobs=args.jobs)
        print(f"compared under codes: {time.perf_counter() - start:.0f} s (not part of the exports)")
    records = read_table(root / "results" / "records.csv", RECORDS)
    cells = pq.read_metadata(root / "results" / "cells.parquet").num_rows
    print(f"{len(records)} sections, {int(records['role'].eq('sample').sum())} of them of animals, {cells} cells")
    jobs = ["--jobs", str(args.jobs)]
    for name in (*export_formats(), "all"):
        cpu, wall, peak = timed(str(root), "--to", name, "--out", str(args.out / "exported"), *(jobs if name == "all" else ["--jobs", "1"]))
        n, mb = size_mb(args.out / "exported" / ("" if name == "all" else name))
        print(f"{name:<10} {wall:6.1f} s  {cpu:6.1f} CPU s  {peak:6.0f} MB memory  {n:6d} files  {mb:7.1f} MB", flush=True)
    print(f"asked of all, with the report: {ASKED_S} s, {ASKED_MB} MB")
    return 0 if wall <= ASKED_S and peak <= ASKED_MB else 1


def timed(*words: str) -> tuple[float, float, float]:
    """Run `sevhisto export` and return its seconds of processor and wall, and the memory (MB) of the largest process so far."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", "sevhisto.cli", "export", *words, "--quiet"], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, time.perf_counter() - start, after.ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
