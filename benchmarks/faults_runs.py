"""Faults injected into runs: kills, torn files, full and read-only disks, failing writes, clocks, changed slides, rivals."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd
from faults_trial import Bench, Tally, begin, ended, kill, seen_wrong, tables
from tiny_study import environment, read, say

from sevhisto.io.sources import FirstSight
from sevhisto.types import SevhistoError

KINDS = ("group", "parent", "worker")


def tear(root: Path, rng: random.Random) -> None:
    """Cut, empty or flip the two newest files of the results: what a disk without power may do to what was written last."""
    files = sorted((p for p in (root / "results").rglob("*") if p.is_file()), key=lambda p: p.stat().st_mtime_ns)[-2:]
    for path in files:
        data = bytearray(path.read_bytes())
        how = rng.choice(("cut", "zero", "flip"))
        if data and how == "flip":
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        elif data:
            at = rng.randrange(len(data))
            data[at:] = b"" if how == "cut" else bytes(len(data) - at)
        path.write_bytes(data)


def kills(bench: Bench, n: int, torn: bool) -> Tally:
    """Kill runs at random moments, each one to three times before it may end, until `n` kills have hit."""
    tally = Tally("kills with torn files" if torn else "kills (group, parent, worker)")
    while tally.injected < n:
        root, silent, note, hits = bench.fresh(old=tally.trials % 2 == 1), 0, "", 0
        for _ in range(min(bench.rng.randint(1, 3), n - tally.injected)):
            child = begin(root)
            with suppress(subprocess.TimeoutExpired):
                child.wait(bench.rng.uniform(0, 1.05 * bench.seconds))
            hit, left = kill(child, KINDS[tally.trials % 3], bench.rng)
            hits += hit
            note = note or (f"{left} processes left" if left else "")
            silent += seen_wrong(bench, root)
            if torn and (root / "results").is_dir():
                tear(root, bench.rng)
                note = note or follow_remedy(root)
        ended(bench, root, tally, silent, note, hits)
    return tally


def follow_remedy(root: Path) -> str:
    """Delete the list of first sight where it was torn, as the program's own words ask for; return what else is wrong with them."""
    try:
        FirstSight.of(root / "results")
        return ""
    except SevhistoError:
        done = say("run", root, "--jobs", 1)
    (root / "results" / "key" / "sources.json").unlink()
    told = done.returncode == 1 and "sources.json: is damaged" in done.stderr
    return "" if told else f"no word about a torn file: {done.stderr[-200:]}"


@contextmanager
def disk(folder: Path, kb: int) -> Iterator[Callable[[str], None]]:
    """Mount a small disk on a folder; what is yielded mounts it again with other options."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kb}k", "tmpfs", folder], check=True)
    try:
        yield lambda options: subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True) and None
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def clear(done: subprocess.CompletedProcess[str]) -> str:
    """Return what is wrong with the way a run failed: it must end with status 1, say what cannot be written, and show no traceback."""
    if done.returncode == 0:
        return ""
    if done.returncode != 1 or "cannot be written" not in done.stderr or "Traceback" in done.stderr:
        return f"status {done.returncode}: {done.stderr[-300:]}"
    return ""


def disks(bench: Bench, n: int, read_only: bool) -> Tally:
    """Fill the disk of the results, or make it read-only, before a run; give it back, and run again."""
    tally = Tally("read-only" if read_only else "disk full")
    need = sum(-(-p.stat().st_size // 4096) * 4 for p in (bench.folder / "old").rglob("*") if p.is_file())  # kB, in whole pages
    for _ in range(n):
        root = bench.fresh()
        results = root / "results"
        with disk(results, need + 300 if read_only else need + bench.rng.randrange(20, 600)) as remount:
            shutil.copytree(bench.folder / "old", results, dirs_exist_ok=True)
            for record in bench.rng.sample(sorted((results / "records").glob("*.npz")), 4):
                record.unlink()
            if read_only:
                remount("ro")
            done = say("run", root, "--jobs", 2)
            note = clear(done) or ("" if done.returncode or not read_only else "no error on a read-only disk")
            note = note or ("the old tables changed" if done.returncode and tables(root) != bench.old else "")
            remount("rw,size=200m" if read_only else "size=200m")
            kept = Path(tempfile.mkdtemp(dir=bench.folder)) / "results"
            shutil.copytree(results, kept)
        shutil.rmtree(results)
        kept.rename(results)
        ended(bench, root, tally, note=note)
    return tally


FAILING = """
import errno, os, sys
from pathlib import Path
import tempfile
n, once, count = int(sys.argv[2]), sys.argv[3] == "once", 0
def failing(real):
    def call(*args, **kwargs):
        global count
        count += 1
        if count == n or (count > n and not once):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*args, **kwargs)
    return call
from sevhisto.pipeline import run
from sevhisto.types import OutputError
os.fsync, tempfile.mkstemp, os.replace, os.ftruncate = map(failing, (os.fsync, tempfile.mkstemp, os.replace, os.ftruncate))
try:
    run(Path(sys.argv[1]), jobs=1)
except OutputError as error:
    print(error, file=sys.stderr)
    sys.exit(1)
print(count)
"""


def failing_writes(bench: Bench, step: int) -> Tally:
    """Let the n-th call that writes fail, once or from then on, for every `step`-th n: four sections to measure, tables to replace."""
    tally = Tally("n-th write failing")
    for nth in range(1, 10_000, step):
        for how in ("once", "always"):
            root = bench.fresh(old=True)
            words = [sys.executable, "-c", FAILING, str(root), str(nth), how]
            done = subprocess.run(words, env=environment(), capture_output=True, text=True, check=False)
            if done.returncode == 0 and int(done.stdout or 0) < nth:
                shutil.rmtree(root.parent)
                return tally  # the run was done before its n-th write
            ended(bench, root, tally, seen_wrong(bench, root), clear(done))
    return tally


def clocks(bench: Bench, n: int) -> Tally:
    """Kill a run, set the times of all files years away, and run again: nothing old may be used, nothing be measured anew."""
    tally = Tally("clock jumps")
    for i in range(n):
        root = bench.fresh(old=i % 2 == 1)
        child = begin(root)
        with suppress(subprocess.TimeoutExpired):
            child.wait(bench.rng.uniform(0.3, 1) * bench.seconds)
        kill(child, "group", bench.rng)
        for path in [p for p in root.rglob("*") if p.is_file()]:
            when = time.time() + bench.rng.uniform(-12, 12) * 365 * 86400
            os.utime(path, (when, when))
        there = len(list((root / "results" / "records").glob("*.npz")))
        done = say("run", root, "--jobs", 2)
        measured = int(done.stdout.partition(" measured now")[0].split()[-1]) if not done.returncode else -1
        total = len(list((bench.folder / "old" / "records").glob("*.npz")))
        note = "" if measured == total - min(there, total) else f"{measured} measured, where {there} of {total} were there"
        ended(bench, root, tally, note=note)
    return tally


def changes(bench: Bench, n: int) -> Tally:
    """Flip a byte of a slide while the run goes on, same size and time; no number may come from it. Put it back, and run again."""
    tally = Tally("source changed mid-run")
    files = sorted(read(bench.folder / "study" / "slides.csv")["file"].unique())
    for _ in range(n):
        root = bench.fresh()
        path = root / "slides" / bench.rng.choice(files)
        child = begin(root)
        time.sleep(bench.rng.uniform(0, bench.seconds))
        before, state = path.read_bytes(), path.stat()
        data = bytearray(before)
        data[bench.rng.randrange(len(data))] ^= 1 << bench.rng.randrange(8)
        path.write_bytes(data)
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
        _, said = child.communicate()
        note = "Traceback" if "Traceback" in said else ""
        silent = wrong_rows(bench, root)
        path.write_bytes(before)
        key = root / "results" / "key" / "sources.json"
        if key.is_file():  # first seen after the change: the person says that the one put back is meant
            say("check", root, "--accept", path.name)
        ended(bench, root, tally, silent, note)
    return tally


def wrong_rows(bench: Bench, root: Path) -> int:
    """Return how many sections have another record than without the fault, and no failure: their pixels were others."""
    if not (root / "results" / "run.json").is_file():
        return 0
    now, then = (pd.read_csv(io.BytesIO(t["records.csv"]), dtype=str, keep_default_na=False) for t in (tables(root), bench.golden))
    both = now.merge(then, on=["animal", "section", "panel"], suffixes=("", "_then"))
    known = {s["sha256"] for s in json.loads((bench.folder / "old" / "key" / "sources.json").read_text("utf-8"))["files"].values()}
    seen = {s["sha256"] for s in json.loads((root / "results" / "key" / "sources.json").read_text("utf-8"))["files"].values()}
    if not seen <= known:
        return 0  # changed before it was ever seen: what was measured is what was there
    return int(((both["record"] != both["record_then"]) & (both["record"] != "")).sum())


def rivals(bench: Bench, n: int) -> Tally:
    """Start three runs at once on one folder: those that do not hold it must say who does."""
    tally = Tally("3 runs at once")
    for _ in range(n):
        root = bench.fresh()
        runs = [begin(root) for _ in range(3)]
        told = [(r.communicate()[1], r.returncode) for r in runs]
        refused = [said for said, status in told if status == 1]
        right = all("another run holds it: process" in said for said in refused) and any(status == 0 for _, status in told)
        ended(bench, root, tally, note="" if right else f"{[(s[-200:], c) for s, c in told]}")
    return tally
