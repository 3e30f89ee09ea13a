"""Faults injected into runs: kills, torn files, full and read-only disks, failing writes, clocks, changed slides, rivals, poison, clusters.

Prints a table: injected, survived (clear error or right result, and the same bytes in the end), lost and changed rows, silent (a wrong
number without a word: any of these is a failure). Every trial starts from the same small study and ends with a clean run of it.

    python benchmarks/faults_engine.py                          a share that takes minutes
    python benchmarks/faults_engine.py --kills 200 --torn 100 --each 40 --slides 40      all that is asked for; hours
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from tiny_study import command, copies, environment, read, say, write_tiny

OWN = ("run.json", "key.csv", "sources.json", ".run.lock")  # hold times, or names; the tables are what must be the same
POISON = Path(__file__).with_name("poison")
KINDS = ("group", "parent", "worker")


@dataclass
class Tally:
    """One row of the table; `notes` say what was wrong."""

    fault: str
    injected: int = 0
    survived: int = 0
    lost: int = 0
    changed: int = 0
    silent: int = 0
    notes: list[str] = field(default_factory=list)

    def add(self, lost: int, changed: int, silent: int, note: str = "") -> None:
        """Count one trial."""
        self.injected += 1
        self.survived += not (lost or changed or silent or note)
        self.lost, self.changed, self.silent = self.lost + lost, self.changed + changed, self.silent + silent
        if note:
            self.notes.append(note)


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
    """Return 1 where a reader would take a mix of runs for one: tables that run.json vouches for must be all old, or all new."""
    if not (root / "results" / "run.json").is_file():
        return 0
    return int(tables(root) not in (bench.golden, bench.old))


def ended(bench: Bench, root: Path, tally: Tally, silent: int = 0, note: str = "") -> None:
    """Run once more without faults, and count how the tables differ from those of a run that nothing happened to."""
    done = say("run", root, "--jobs", 2)
    if done.returncode:
        note = note or f"the clean run ended with {done.returncode}: {done.stderr[-300:]}"
    now = tables(root)
    lost = sum(max(0, len(data.splitlines()) - len(now.get(n, b"").splitlines())) for n, data in bench.golden.items() if n.endswith(".csv"))
    changed = sum(now.get(n) != data for n, data in bench.golden.items())
    leftovers = [p.name for p in (root / "results").rglob("*") if p.name.endswith(".tmp") or p.name == ".run.lock"]
    tally.add(lost, changed, silent, note or (f"left behind: {leftovers}" if leftovers else ""))
    shutil.rmtree(root.parent)


# ---------------------------------------------------------------- processes


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


def kill(child: subprocess.Popen[str], kind: str, rng: random.Random) -> int:
    """Kill a run, its parent process only, or one worker; return how many processes are left two seconds after a run that ended."""
    if child.poll() is None:
        with suppress(ProcessLookupError):
            if kind == "group":
                os.killpg(child.pid, signal.SIGKILL)
            elif kind == "parent":
                child.kill()
            else:
                workers = [p for p in of_session(child.pid) if p != child.pid and b"spawn_main" in Path(f"/proc/{p}/cmdline").read_bytes()]
                if workers:
                    os.kill(rng.choice(workers), rng.choice((signal.SIGKILL, signal.SIGSEGV)))
    child.communicate()
    until = time.monotonic() + 2
    while of_session(child.pid) and time.monotonic() < until:
        time.sleep(0.05)
    return len(of_session(child.pid))


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
    """Kill a run one to three times at random moments, then let it end."""
    tally = Tally("kills with torn files" if torn else "kills (group, parent, worker)")
    for i in range(n):
        root, silent, note = bench.fresh(old=i % 2 == 1), 0, ""
        for _ in range(bench.rng.randint(1, 3)):
            child = begin(root)
            with suppress(subprocess.TimeoutExpired):
                child.wait(bench.rng.uniform(0, 1.05 * bench.seconds))
            left = kill(child, KINDS[i % 3], bench.rng)
            note = note or (f"{left} processes left" if left else "")
            silent += seen_wrong(bench, root)
            if torn and (root / "results").is_dir():
                tear(root, bench.rng)
                note = note or follow_remedy(root)
        ended(bench, root, tally, silent, note)
    return tally


def follow_remedy(root: Path) -> str:
    """Delete the list of first sight where it was torn, as the program's own words ask for; return what else is wrong with them."""
    path = root / "results" / "key" / "sources.json"
    with suppress(FileNotFoundError):
        try:
            json.loads(path.read_text("utf-8"))
            return ""
        except ValueError:
            pass
        done = say("run", root, "--jobs", 1)
        path.unlink()
        return (
            "" if done.returncode == 1 and "sources.json: is damaged" in done.stderr else f"no word about a torn file: {done.stderr[-200:]}"
        )
    return ""


# ---------------------------------------------------------------- disks, writes, clocks, slides, rivals


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
    need = sum(p.stat().st_size for p in (bench.folder / "old").rglob("*") if p.is_file()) // 1024
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


def failing_writes(bench: Bench, n: int) -> Tally:
    """Let the n-th call that writes fail, once or from then on, for every n: four sections to measure, tables to replace."""
    tally = Tally("n-th write failing")
    nth, step = 1, 1
    while nth < 10_000:
        root = bench.fresh(old=True)
        words = [sys.executable, "-c", FAILING, str(root), str(nth), "once" if nth % 2 else "always"]
        done = subprocess.run(words, env=environment(), capture_output=True, text=True, check=False)
        if done.returncode == 0 and nth > 1 and int(done.stdout or 0) < nth:
            shutil.rmtree(root.parent)
            break  # the run was done before its n-th write
        note = clear(done)
        silent = seen_wrong(bench, root)
        if nth == 1:
            step = max(1, 100 // n)
        ended(bench, root, tally, silent, note)
        nth += step
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
    import io

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


# ---------------------------------------------------------------- poison, and clusters


def poisons(bench: Bench, kinds: tuple[str, ...], where: Callable[[dict[str, str]], object], name: str, slides: int) -> Tally:
    """Run many slides of which one does harm: it must be a failed row, and every other record as without it."""
    tally = Tally(name)
    root = bench.fresh()
    for _ in copies(root, slides // 4 - 1):
        pass
    if say("run", root, "--jobs", 2).returncode:
        raise SystemExit("the study without poison fails")
    whole = records_of(root)
    shutil.rmtree(root / "results")
    victim = sorted(f for f in read(root / "slides.csv")["file"].unique() if f[0].isdigit())[2]
    for kind in kinds:
        env = {"POISON": f"{victim}={kind}", "PYTHONPATH": str(POISON)}
        with where(env) as words:
            done = say("run", root, *words, "--time-limit", max(0.25, bench.seconds / 60), **env)
        now = records_of(root)
        status = pd.read_csv(root / "results" / "status.csv", dtype=str, keep_default_na=False)
        failed = status[status["status"] == "failed"]
        note = (
            ""
            if done.returncode == 3 and len(failed) == 3 and len(set(failed["file"])) == 1
            else f"status {done.returncode}, {len(failed)} rows"
        )
        tally.add(len(whole) - len(now) - 3, len(set(now) - set(whole)), 0, note)
        print(f"    {kind}: {failed['reason'].iloc[0] if len(failed) else done.stderr[-300:]}", flush=True)
        shutil.rmtree(root / "results")
    shutil.rmtree(root.parent)
    return tally


def records_of(root: Path) -> list[str]:
    """Return the names of a study's records: key and checksum of the bytes."""
    return sorted(p.name for p in (root / "results" / "records").glob("*.npz"))


@contextmanager
def locally(env: dict[str, str]) -> Iterator[tuple[object, ...]]:
    """Run in local processes, of which each may use 1.2 GB."""
    yield "--jobs", 2, "--memory", 2.7


@contextmanager
def on_cluster(env: dict[str, str], workers: int = 2) -> Iterator[tuple[object, ...]]:
    """Run on a scheduler and workers, processes of their own on this machine, which allow 1.2 GB a task."""
    with Cluster(env) as cluster:
        for _ in range(workers):
            cluster.join()
        yield "--scheduler", cluster.address


class Cluster:
    """A scheduler and workers as processes on loopback, that can be killed and begun anew."""

    def __init__(self, env: dict[str, str] | None = None, port: int = 28786) -> None:
        self.env, self.port = environment(**(env or {})), port
        self.address = f"tcp://127.0.0.1:{port}"
        self.workers: list[subprocess.Popen[bytes]] = []

    def _dask(self, *words: object) -> subprocess.Popen[bytes]:
        line = [sys.executable, "-m", "distributed.cli." + str(words[0]), *map(str, words[1:])]
        return subprocess.Popen(line, env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in [*self.workers, self.scheduler]:
            self.end(process)

    def start(self) -> None:
        """Start the scheduler."""
        self.scheduler = self._dask(
            "dask_scheduler", "--host", "127.0.0.1", "--port", self.port, "--no-dashboard", "--dashboard-address", "127.0.0.1:0"
        )

    def join(self) -> None:
        """Add a worker with one thread."""
        options = (
            "--host",
            "127.0.0.1",
            "--nthreads",
            1,
            "--memory-limit",
            "1.2GiB",
            "--no-dashboard",
            "--dashboard-address",
            "127.0.0.1:0",
            "--local-directory",
            tempfile.gettempdir(),
        )
        self.workers.append(self._dask("dask_worker", self.address, *options, "--no-nanny"))

    @staticmethod
    def end(process: subprocess.Popen[bytes]) -> None:
        """Kill a process and all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def cluster_faults(bench: Bench, slides: int, every_s: float) -> Tally:
    """Kill a Dask worker every few seconds, let another join late, kill the scheduler once: the tables must be those of a local run."""
    tally = Tally("Dask: workers lost, joined; scheduler killed")
    root = bench.fresh()
    for _ in copies(root, slides // 4 - 1):
        pass
    say("run", root, "--jobs", 2)
    whole = tables(root)
    shutil.rmtree(root / "results")
    with Cluster() as cluster:
        for _ in range(3):
            cluster.join()
        child = subprocess.Popen(command("run", root, "--scheduler", cluster.address), env=environment(), stderr=subprocess.PIPE, text=True)
        deaths = 0
        while child.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                child.wait(bench.rng.uniform(0.7, 1.3) * every_s)
                break
            deaths += 1
            cluster.end(cluster.workers.pop(0))
            if deaths == 2:
                cluster.end(cluster.scheduler)
                for worker in cluster.workers:
                    cluster.end(worker)
                cluster.workers.clear()
                cluster.start()
                cluster.join()
            cluster.join()
        _, said = child.communicate()
    now = tables(root)
    tally.injected = deaths
    same = child.returncode == 0 and now == whole
    tally.survived, tally.changed = (deaths if same else 0), sum(now.get(n) != d for n, d in whole.items())
    if not same:
        tally.notes.append(f"status {child.returncode}: {said[-500:]}")
    shutil.rmtree(root.parent)
    return tally


# ---------------------------------------------------------------- the table


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


def main() -> int:
    """Print the table; status 1 where anything was lost, changed or silent."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=9, help="without torn files")
    parser.add_argument("--torn", type=int, default=6, help="kills with torn files")
    parser.add_argument("--each", type=int, default=3, help="of the other kinds")
    parser.add_argument("--slides", type=int, default=12, help="among which there is a poisonous one, and that a cluster measures")
    parser.add_argument("--every", type=float, default=8, help="seconds between deaths of Dask workers: more than one takes to start")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="words of a fault's name")
    chosen = parser.parse_args()
    poison = ("SIGSEGV", "SIGKILL", "hang", "8GB")
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    kinds: dict[str, Callable[[Bench], Tally]] = {
        "kills": lambda b: kills(b, chosen.kills, torn=False),
        "torn": lambda b: kills(b, chosen.torn, torn=True),
        "full": lambda b: disks(b, chosen.each, read_only=False),
        "read-only": lambda b: disks(b, chosen.each, read_only=True),
        "writes": lambda b: failing_writes(b, chosen.each),
        "clocks": lambda b: clocks(b, chosen.each),
        "changed": lambda b: changes(b, chosen.each),
        "rivals": lambda b: rivals(b, chosen.each),
        "poison-local": lambda b: poisons(b, poison, locally, f"poison among {chosen.slides} slides, local", chosen.slides),
        "poison-dask": lambda b: poisons(b, poison, on_cluster, f"poison among {chosen.slides} slides, Dask", chosen.slides),
        "dask": lambda b: cluster_faults(b, chosen.slides, chosen.every),
    }
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        bench = prepare(Path(folder), chosen.seed)
        print(f"a run takes {bench.seconds:.1f} s here")
        print("| fault | injected | survived | lost | changed | silent |\n| --- | --- | --- | --- | --- | --- |", flush=True)
        for name, trial in kinds.items():
            if chosen.only and name not in chosen.only.split(","):
                continue
            if name in ("full", "read-only") and not root:
                print(f"| {name} | not run: mounting a small disk needs root | | | | |")
                continue
            t = trial(bench)
            bad += t.injected - t.survived
            print(f"| {t.fault} | {t.injected} | {t.survived} | {t.lost} | {t.changed} | {t.silent} |", flush=True)
            for note in t.notes:
                print(f"    {note}", flush=True)
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
