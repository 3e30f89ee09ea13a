"""Runs on a real Slurm and on a server that speaks S3, both on this machine alone, with faults: the tables must be those of a local run.

    python benchmarks/cluster_real.py slurm tls     needs Slurm and munge (Debian: apt-get install slurm-wlm munge), openssl
    python benchmarks/cluster_real.py s3            needs the Python packages s3fs and moto[server]

Without names, all parts; a part that lacks what it needs says so, and exit status 2. Status 1 where a table differs or a job is left.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster_s3 import Store, lacking_s3
from cluster_slurm import Slurm, certificates, lacking_slurm
from faults import HEAD, line
from faults_trial import Tally, tables
from tiny_study import command, copies, environment, say, write_tiny

WAIT_S = 600
STOPPED = 130


@dataclass
class Trials:
    """A study, and what a local run of it gave."""

    folder: Path
    golden: dict[str, bytes]
    records: dict[str, bytes]
    only: list[str]

    def asked(self, fault: str) -> bool:
        """Return whether a fault of Slurm is among those that were asked for."""
        return not self.only or any(word in fault for word in self.only)

    def fresh(self) -> Path:
        """Return a new copy of the study, never run."""
        root = Path(tempfile.mkdtemp(dir=self.folder)) / "study"
        shutil.copytree(self.folder / "study", root)
        return root

    def differs(self, root: Path) -> str:
        """Return what is not as after the local run, tables and records byte by byte."""
        wrong = [name for name, data in self.golden.items() if tables(root).get(name) != data]
        return (f"differ: {wrong}; " if wrong else "") + ("" if records_of(root) == self.records else "records differ; ")


def records_of(root: Path) -> dict[str, bytes]:
    """Return the records of a study by name."""
    return {p.name: p.read_bytes() for p in (root / "results" / "records").glob("*.npz")}


def prepare(folder: Path, slides: int, only: list[str]) -> Trials:
    """Write the study and run it here."""
    root = write_tiny(folder / "study")
    for _ in copies(root, slides // 4 - 1):
        pass
    done = say("run", root, "--jobs", 2)
    if done.returncode:
        raise SystemExit(f"the study cannot be run: {done.stderr[-500:]}")
    trials = Trials(folder, tables(root), records_of(root), only)
    shutil.rmtree(root / "results")
    return trials


class Run:
    """A run that is looked at while it goes on."""

    def __init__(self, root: Path, *words: object, **env: str) -> None:
        self.root, self.log = root, root.parent / f"{time.monotonic_ns()}.log"
        with self.log.open("wb") as told:
            self.child = subprocess.Popen(
                command("run", root, *words), env=environment(**env), stdout=told, stderr=told, cwd=root.parent, start_new_session=True
            )

    def until(self, n: int, count: Callable[[], int] | None = None) -> None:
        """Wait until there are n records."""
        count = count or (lambda: len(records_of(self.root)))
        until = time.monotonic() + WAIT_S
        while self.child.poll() is None and count() < n and time.monotonic() < until:
            time.sleep(0.1)
        if self.child.poll() is not None:
            raise RuntimeError(f"ended with {self.child.returncode} before the fault: {self.said()[-500:]}")

    def end(self) -> int:
        """Wait for its end; return its status."""
        try:
            return self.child.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.child.pid, signal.SIGKILL)
            return self.child.wait()

    def said(self) -> str:
        """Return what it said."""
        return self.log.read_text("utf-8")

    def told(self) -> str:
        """Return its warnings and problems, in one line."""
        lines = [text.strip() for text in self.said().splitlines() if "--slurm:" in text or "--records" in text or "workers" in text]
        return " | ".join(text for text in lines if not text.startswith("/"))


def slurm_part(trials: Trials, folder: Path) -> Iterator[Tally]:
    """Jobs cancelled, requeued, ended by their wall time; Slurm away; the run stopped, killed; jobs whose workers never come."""
    with Slurm(folder) as slurm:

        def trial(fault: str, act: Callable[[Run], object] | None, ends: int, says: str) -> Tally:
            """Do something to a run when a quarter is measured; where that ends it, with status `ends`, run again when no job is left."""
            tally, root = Tally(fault), trials.fresh()
            env = slurm.settings()
            first = Run(root, "--slurm", 2, **env)
            if act is not None:
                first.until(len(trials.records) // 4)
                act(first)
            status = first.end()
            print(f"    {fault}: status {status}; {first.told()}", flush=True)
            wrong = f"status {status}; " if status != ends else ""
            wrong += f"did not say {says}; " if says not in first.said() else ""
            if ends:
                left, kept = slurm.until_no_job(), len(records_of(root))
                print(f"    {fault}: {kept} of {len(trials.records)} were measured; no job was left after {left:.0f} s", flush=True)
                last = Run(root, "--slurm", 2, **env)
                wrong += f"status {status} at last; " if (status := last.end()) else ""
                wrong += "" if f"{len(trials.records) - kept} measured now" in last.said() else "measured again; "
            wrong += trials.differs(root)
            left = slurm.until_no_job()
            wrong += f"{left:.0f} s until no job was left; " if left > 15 else ""
            tally.add(0, int("differ" in wrong), 0, wrong)
            shutil.rmtree(root.parent)
            return tally

        faults: tuple[tuple[str, Callable[[Run], object] | None, int, str], ...] = (
            ("nothing happens", None, 0, ""),
            ("a job of two is cancelled (`scancel`)", lambda run: slurm.say("scancel", slurm.jobs()[0]), 0, "CANCELLED"),
            ("all jobs are cancelled", lambda run: slurm.say("scancel", *slurm.jobs()), 0, "CANCELLED"),
            ("all jobs are requeued", lambda run: slurm.say("scontrol", "requeue", ",".join(slurm.jobs())), 0, "going on"),
            ("all jobs hang, and reach their wall time", lambda run: slurm.time_out(), 0, "TIMEOUT"),
            ("the Slurm controller is killed, begun again after 20 s", lambda run: slurm.without_controller(20), 0, ""),
            ("Ctrl-C", lambda run: run.child.send_signal(signal.SIGINT), STOPPED, ""),
            ("SIGTERM", lambda run: run.child.send_signal(signal.SIGTERM), STOPPED, ""),
            ("SIGKILL of the run", lambda run: run.child.kill(), -signal.SIGKILL, ""),
        )
        for fault, act, ends, says in faults:
            if trials.asked(fault):
                yield trial(fault, act, ends, says)
        for fault, more, words in (
            ("a partition that is none", {"queue": "none"}, "no job could be submitted"),
            ("jobs that end at once", {"job-script-prologue": ["echo no such module; exit 1"]}, "every job ended before a worker came"),
        ):
            if not trials.asked(fault):
                continue
            root = trials.fresh()
            run = Run(root, "--slurm", 2, **slurm.settings(**more))
            status, said = run.end(), run.said()
            print(f"    {fault}: {run.told()}", flush=True)
            tally = Tally(fault)
            tally.add(0, 0, 0, "" if status == 1 and words in said and not slurm.jobs() else f"status {status}: {said[-400:]}")
            yield tally


def tls_part(trials: Trials, folder: Path) -> Iterator[Tally]:
    """Certificates made with the commands of docs/cluster.md: Slurm with them, and an address that others reach."""
    with Slurm(folder) as slurm:
        keys = certificates(folder / "keys")
        root, tally = trials.fresh(), Tally("Slurm with certificates, at an address that others reach")
        run = Run(root, "--slurm", 2, "--host", slurm.address, "--tls", keys, **slurm.settings())
        status = run.end()
        wrong = trials.differs(root) + (f"status {status}: {run.said()[-300:]}" if status else "")
        wrong += "" if f"tls://{slurm.address}" in run.said() else "not encrypted; "
        tally.add(0, int("differ" in wrong), 0, wrong)
        yield tally


def s3_part(trials: Trials, folder: Path) -> Iterator[Tally]:
    """Records in S3: a run killed; the service away for a while, or for good, or without what it had; wrong keys; no bucket."""
    rng = random.Random(1)
    with Store(folder) as store:

        def ended(tally: Tally, root: Path, status: int, wrong: str = "") -> Tally:
            wrong += trials.differs(root) + (f"status {status}; " if status else "")
            wrong += "" if store.records(root) == trials.records else "objects differ; "
            tally.add(0, int("differ" in wrong), 0, wrong)
            shutil.rmtree(root.parent)
            return tally

        def begun(root: Path) -> Run:
            return Run(root, "--jobs", 2, "--records", store.url(root), **store.env)

        root = trials.fresh()
        yield ended(Tally("nothing happens"), root, begun(root).end())

        root, tally = trials.fresh(), Tally("the run is killed, results/ deleted, run again")
        run = begun(root)
        run.until(len(trials.records) // 3, lambda: store.count(root))
        os.killpg(run.child.pid, signal.SIGKILL)
        run.end()
        shutil.rmtree(root / "results")
        kept, run = store.count(root), begun(root)
        status = run.end()
        again = f"{len(trials.records) - kept} measured now" not in run.said()
        yield ended(tally, root, status, f"measured again: {run.said()[-300:]}" if again else "")

        for seconds, fault in ((8, "the service is away for 8 s"), (60, "the service is away until the run ends; run again")):
            root, tally = trials.fresh(), Tally(fault)
            run = begun(root)
            run.until(rng.randrange(5, len(trials.records) // 2))
            with store.away():
                time.sleep(seconds) if seconds < 30 else run.end()
            status = run.end()
            print(f"    {fault}: status {status}: {run.told()}", flush=True)
            wrong = "" if (status == 0) == (seconds < 30) else f"status {status}: {run.said()[-300:]}"
            yield ended(tally, root, begun(root).end() if seconds >= 30 else status, wrong)

        for fault in ("the service is killed, and begun again with other keys and nothing in it", "what was stored is deleted in mid-run"):
            root, tally = trials.fresh(), Tally(fault)
            run = begun(root)
            run.until(len(trials.records) // 3)
            store.replace() if "killed" in fault else store.delete(root)
            status = run.end()
            print(f"    {fault}: status {status}: {run.told()}", flush=True)
            yield ended(tally, root, begun(root).end())

        for fault, env, url, words in (
            ("wrong keys", {"AWS_SECRET_ACCESS_KEY": "wrong"}, None, "PermissionError"),
            ("keys that may only read", store.reader, None, "PermissionError"),
            ("no keys", {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, None, "NoCredentials"),
            ("a bucket that is not there", {}, "s3://nobody/study", "bucket"),
            ("a service that is not there", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, None, "Connect"),
        ):
            root, tally = trials.fresh(), Tally(fault)
            done = say("run", root, "--jobs", 2, "--records", url or store.url(root), **{**store.env, **env})
            print(f"    {fault}: {' '.join(done.stderr.split())[-400:]}", flush=True)
            right = done.returncode == 1 and words.lower() in done.stderr.lower() and "Traceback" not in done.stderr
            tally.add(0, 0, 0, "" if right else f"status {done.returncode}: {done.stderr[-300:]}")
            yield tally


PARTS = {"slurm": (slurm_part, lacking_slurm), "tls": (tls_part, lacking_slurm), "s3": (s3_part, lacking_s3)}


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a folder for everything."""
    folder = Path(tempfile.mkdtemp(prefix="sevhisto-cluster-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Run the parts that are asked for, and print the table."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all if none is given")
    ask.add_argument("--slides", type=int, default=24, help="of the study")
    ask.add_argument("--only", nargs="+", default=[], help="words of the faults of Slurm to try; all if none is given")
    given = ask.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also behind `&`, so that runs begun here hear it
    asked = given.parts or list(PARTS)
    unknown = set(asked) - set(PARTS)
    if unknown:
        ask.error(f"unknown part {sorted(unknown)[0]!r}; known: {', '.join(PARTS)}")
    lacking = {name: missing for name in asked if (missing := PARTS[name][1]())}
    for name, missing in lacking.items():
        print(f"{name}: left out; it needs {missing}", file=sys.stderr)
    status = 2 if lacking else 0
    with scratch() as folder:
        rows = []
        trials = prepare(folder, given.slides, given.only) if len(lacking) < len(asked) else None
        print("| " + " | ".join(HEAD) + " |\n" + "|---" * len(HEAD) + "|", flush=True)
        for name in asked:
            if name in lacking or trials is None:
                continue
            for tally in PARTS[name][0](trials, folder / name):
                rows.append(tally.row(name))
                print(line(rows[-1]), flush=True)
        return int(any(r.survived < r.injected for r in rows)) or status


if __name__ == "__main__":
    sys.exit(main())
