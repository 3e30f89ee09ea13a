"""`sevhisto selftest`: does this machine read and measure as it should?"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sevhisto.io.canary import FILES, try_one
from sevhisto.io.store import read_table
from sevhisto.phantom import StudySpec, load_truth, make_study
from sevhisto.pipeline.demonstrating import accuracy
from sevhisto.pipeline.running import run
from sevhisto.schema import SECTIONS

ALLOWED_POINTS = 2.0
"""Largest error of a positive fraction of the synthetic study: twice the largest where it was set."""
_SPEC = StudySpec(n_per_arm=1, n_sections=1, um_per_px=1.5, n_batches=1, seed=3)


@dataclass(frozen=True)
class Told:
    """One thing that was tried: `state` is ``ok``, ``wrong`` or ``absent`` (not installed)."""

    what: str
    state: str
    said: str


def selftest(codecs_only: bool = False) -> Iterator[Told]:
    """Yield what each codec and each measurement gives on this machine, as it is known; writes to a temporary folder only."""
    for name in FILES:
        yield Told(f"codec {name}", *try_one(name))
    if not codecs_only:
        with tempfile.TemporaryDirectory(prefix="sevhisto-selftest-") as folder:
            yield from _measured(Path(folder) / "study")


def _measured(root: Path) -> Iterator[Told]:
    make_study(root, _SPEC)
    path = root / "study.toml"
    path.write_text(re.sub(r"(?m)^\[study\]$", "[study]\nblind = false", path.read_text("utf-8"), count=1), "utf-8")
    done = run(root, jobs=1)
    yield Told("sections measured", "wrong" if done.failed else "ok", f"{done.ok + done.flagged} of {done.ok + done.flagged + done.failed}")
    table = accuracy(read_table(root / "results" / "sections.csv", SECTIONS), load_truth(root))
    for r in table[table["zone"].isin(["core", "all"])].to_dict("records"):
        state = "ok" if abs(r["error_points"]) <= ALLOWED_POINTS else "wrong"
        said = f"measured {r['measured_pct']:.2f} %, true {r['true_pct']:.2f} % (allowed: {ALLOWED_POINTS:g} points)"
        yield Told(f"{r['marker']}, {r['zone']}", state, said)
