"""A trial of a fault: the small study it starts from, the runs that it hits, and how its end differs from one that nothing happened to."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from faults_row import Row
from tiny_study import command, environment, say, write_tiny

from sevhisto.pipeline.facts import last_facts
from sevhisto.types import SevhistoError


@dataclass
class Tally:
    """One row of the table; `notes` say what was wrong, `trials` how often a study was run to its end."""

    fault: str
    injected: int = 0
    trials: int = 0
    survived: int = 0
    lost: int = 0
    changed: int = 0
    silent: int = 0
    notes: list[str] = field(default_factory=list)

    def add(self, lost: int, changed: int, silent: int, note: str = "", faults: int = 1) -> None:
        """Count one trial, with the faults that hit it."""
        self.injected, self.trials = self.injected + faults, self.trials + 1
        self.survived += 0 if lost or changed or silent or note else faults
        self.lost, self.changed, self.silent = self.lost + lost, self.changed + changed, self.silent + silent
        if note:
            self.notes.append(note)

    def row(self, part: str) -> Row:
        """Return the line of the table; what went wrong without being lost, changed or silent counts as crashed."""
        crashed = max(0, self.injected - self.survived - self.lost - self.changed - self.silent)
        told = ([f"in {self.trials} runs"] if self.trials not in (0, self.injected) else []) + self.notes
        return Row(part, self.fault, self.injected, self.survived, self.lost, self.changed, self.silent, crashed, "; ".join(told))


@dataclass
class Bench:
    """The study, what a run of it must give, and where trials are made."""

    folder: Path
    golden: dict[str, bytes]
    old: dict[str, bytes]
    seconds: float
    rng: random.Random

    def fresh(self, old: bool = False) -> Path:
        """Return a new copy of the study: never run, or (`old`) with the records and tables of a run with another threshold."""
        root = Path(tempfile.mkdtemp(dir=self.folder)) / "study"
        shutil.copytree(self.folder / "study", root)
        if old:
            shutil.copytree(self.folder / "old", root / "results")
            for record in self.rng.sample(sorted((root / "results" / "records").glob("*.npz")), 4):
                record.unlink()
        return root


def tables(root: Path) -> dict[str, bytes]:
    """Return the tables of a study by name."""
    results = root / "results"
    return {p.name: p.read_bytes() for p in sorted(results.glob("*")) if p.suffix in (".csv", ".parquet")} if results.is_dir() else {}


def seen_wrong(bench: Bench, root: Path) -> int:
    """Return 1 where `compare` would take a mix of runs, or a torn table, for a run: what run.json vouches for is all old, or all new."""
    try:
        last_facts(root / "results")
    except SevhistoError:
        return 0
    return int(tables(root) not in (bench.golden, bench.old))


def ended(bench: Bench, root: Path, tally: Tally, silent: int = 0, note: str = "", faults: int = 1) -> None:
    """Run once more without faults, and count how the tables differ from those of a run that nothing happened to."""
    done = say("run", root, "--jobs", 2)
    if done.returncode:
        note = note or f"the clean run ended with {done.returncode}: {done.stderr[-300:]}"
    now = tables(root)
    lost = sum(max(0, len(data.splitlines()) - len(now.get(n, b"").splitlines())) for n, data in bench.golden.items() if n.endswith(".csv"))
    changed = sum(now.get(n) != data for n, data in bench.golden.items())
    leftovers = [p.name for p in (root / "results").rglob("*") if p.name.endswith(".tmp") or p.name == ".run.lock"]
    tally.add(lost, changed, silent, note or (f"left behind: {leftovers}" if leftovers else ""), faults)
    shutil.rmtree(root.parent)


def begin(root: Path, *more: object, **env: str) -> subprocess.Popen[str]:
    """Start a run in a session of its own."""
    words = command("run", root, "--jobs", 2, *more)
    return subprocess.Popen(
        words, env=environment(**env), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def of_session(session: int) -> list[int]:
    """Return the live processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(int(stat.parent.name))
    return found


def kill(child: subprocess.Popen[str], kind: str, rng: random.Random) -> tuple[bool, int]:
    """Kill a run, its parent process only, or one worker.

    Returns
    -------
    hit : whether something was killed: a run may have ended before, or have no worker at the moment
    left : processes two seconds after the run ended
    """
    hit = False
    if child.poll() is None:
        with suppress(ProcessLookupError, FileNotFoundError):
            if kind == "group":
                os.killpg(child.pid, signal.SIGKILL)
                hit = True
            elif kind == "parent":
                child.kill()
                hit = True
            else:
                workers = [p for p in of_session(child.pid) if p != child.pid and b"spawn_main" in Path(f"/proc/{p}/cmdline").read_bytes()]
                if workers:
                    os.kill(rng.choice(workers), rng.choice((signal.SIGKILL, signal.SIGSEGV)))
                    hit = True
    child.communicate()
    until = time.monotonic() + 2
    while of_session(child.pid) and time.monotonic() < until:
        time.sleep(0.05)
    return hit, len(of_session(child.pid))


def prepare(folder: Path, seed: int) -> Bench:
    """Write the study, and run it twice: with another threshold for the old tables, then as it is for the right ones."""
    study = write_tiny(folder / "study")
    text = (study / "study.toml").read_text("utf-8")
    (study / "study.toml").write_text(text + "\n[thresholds]\npercentile = 97.0\n" if "[thresholds]" not in text else text, "utf-8")
    if say("run", study, "--jobs", 2).returncode:
        raise SystemExit("the study cannot be run")
    shutil.copytree(study / "results", folder / "old")
    old = tables(study)
    (study / "study.toml").write_text(text, "utf-8")
    say("run", study, "--jobs", 2)
    golden = tables(study)
    if golden == old:
        raise SystemExit("the old tables must differ from the new ones")
    shutil.rmtree(study / "results")
    started = time.monotonic()
    say("run", study, "--jobs", 2)
    seconds = time.monotonic() - started
    shutil.rmtree(study / "results")
    return Bench(folder, golden, old, seconds, random.Random(seed))
