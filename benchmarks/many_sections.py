"""How time and memory grow with the number of sections, without their pixels: check, resume and tables of a large study, simulated.

Slides of a tiny synthetic study are copied under other names, and their records linked; all bookkeeping is real: sheets, ids, checksums of
every slide, one record and tally for every section, tables. The cost of the pixels is that of `speed.py`, and is added on paper.

    python benchmarks/many_sections.py                   1,000 and 3,000 sections
    python benchmarks/many_sections.py 1000 3000 10000
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from tiny_study import PIECES, command, copies, environment, say, write_tiny

from sevhisto.engine import run_tasks
from sevhisto.io.study import load_study
from sevhisto.io.tallies import tally_path
from sevhisto.pipeline.running import slide_tasks
from sevhisto.pipeline.sources import compared_sources, with_sources
from sevhisto.pipeline.stages import batch_corrections
from sevhisto.pipeline.tasks import record_key

PIXELS_CPU_S = 15.0
"""CPU seconds to measure a section of 16384 x 12288 pixels, 5 channels: benchmarks/speed.py."""


@dataclass(frozen=True)
class Cost:
    """What a command took: wall and CPU seconds, most memory of any one process in MB."""

    wall: float
    cpu: float
    peak_mb: float


def quiet(*_: object, **__: object) -> None:
    """Show nothing."""


def grown(root: Path, n_sections: int) -> Path:
    """Write a study of about so many sections, all measured."""
    write_tiny(root)
    first = say("run", root, "--jobs", 1)
    if first.returncode:
        raise SystemExit(first.stderr)
    records = dict(_records(root))
    tiny = len({file for file, _ in records}) - 1
    of = {name: original.name for name, _, original in copies(root, round(n_sections / (tiny * PIECES)))}
    for (file, piece), key in _keys(root).items():
        original = records.get((of.get(file, file), piece))
        if file in of and original is not None:
            target = original.with_name(f"{key[:32]}.{original.name.split('.')[1]}.npz")
            os.link(original, target)  # nothing writes into a record
            os.link(tally_path(original), tally_path(target))
    shutil.rmtree(root / "results" / "key")
    return root


def _records(root: Path) -> list[tuple[tuple[str, int], Path]]:
    found = {path.name[:32]: path for path in (root / "results" / "records").glob("*.npz")}
    return [(at, found[key[:32]]) for at, key in _keys(root).items()]


def _keys(root: Path) -> dict[tuple[str, int], str]:
    study = load_study(root)
    run_all = partial(run_tasks, jobs=1)
    tasks = with_sources(slide_tasks(study), *compared_sources(study, run_all))
    corrections, _ = batch_corrections(tasks, run_all, quiet)
    tasks = [replace(t, correction=corrections[t.panel_name, t.batch_name]) for t in tasks]
    return {(t.path.name, p.piece): record_key(t, p, t.sha256) for t in tasks for p in t.pieces}


def cost(*words: object) -> Cost:
    """Run a command and return what it took; stops where it failed."""
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as told:
        child = subprocess.Popen(command(*words), env=environment(), stdout=told, stderr=told)
        _, status, used = os.wait4(child.pid, 0)
        if os.waitstatus_to_exitcode(status):
            told.seek(0)
            raise SystemExit(told.read())
    return Cost(time.monotonic() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


STEPS = {
    "check": ("check",),
    "resume and tables": ("run", "--jobs", 1),
    "compare": ("compare", "--jobs", 1),
    "report": ("report", "--no-pictures", "--jobs", 1),
}
"""What is done with a study of which all sections are measured; `compare` and the report are of interest to whoever has so many."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sections", nargs="*", type=int, default=[1000, 3000])
    wanted = parser.parse_args().sections
    found: dict[int, dict[str, Cost]] = {}
    print("| sections | " + " | ".join(f"{name}, CPU s | MB" for name in STEPS) + " |\n| --- |" + " --- | --- |" * len(STEPS))
    for n in wanted:
        with tempfile.TemporaryDirectory() as folder:
            root = grown(Path(folder) / "study", n)
            found[n] = {name: cost(words[0], root, *words[1:]) for name, words in STEPS.items()}
        print(f"| {n} | " + " | ".join(f"{c.cpu:.1f} | {c.peak_mb:.0f}" for c in found[n].values()) + " |", flush=True)
    if len(wanted) > 1:
        for name in STEPS:
            powers = [np.polyfit(np.log(wanted), [np.log(getattr(found[n][name], of)) for n in wanted], 1)[0] for of in ("cpu", "peak_mb")]
            print(f"{name}: time grows with the sections to the power {powers[0]:.2f}, memory {powers[1]:.2f}")
    n = max(wanted)
    each = found[n]["resume and tables"].cpu / n
    for cores in (1, 32, 256):
        hours = (10_000 * PIXELS_CPU_S / cores + 10_000 * each) / 3600
        print(f"on paper, 10,000 sections of 15 CPU s on {cores} cores, bookkeeping on one: {hours:.1f} h")


if __name__ == "__main__":
    sys.exit(main())
