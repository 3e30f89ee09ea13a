"""Slurm jobs that work for a scheduler here: submitted, begun anew when they end, cancelled when the run does.

dask-jobqueue makes the script of a job. It does not submit it: it would neither say that `sbatch` refused one, nor replace one that ended.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sevhisto.engine.cluster import LOOPBACK, needs_distributed
from sevhisto.types import Problem, SevhistoError, StudyError

log = logging.getLogger(__name__)

LOOK_EVERY_S = 2.0
ASK_EVERY_S = 30.0
"""Between two questions to Slurm, which its controller can bear."""
ANSWER_S = 120.0
"""How long a command of Slurm may take."""


@contextmanager
def slurm_jobs(n: int, host: str, tls: bool, **settings: Any) -> Iterator[tuple[str, str]]:
    """Have n Slurm jobs work, as long as the body goes on, for a scheduler that runs here; all are cancelled in the end.

    A job that ends (wall time, preemption, a node) is replaced, unless no worker of it ever came. Where all ended like that the body is
    stopped, by a SIGTERM that must raise KeyboardInterrupt in it, and SevhistoError says what Slurm and the log of a job say.

    Yields
    ------
    address : of the scheduler
    script : of a job
    """
    with _slurm_cluster(host, tls, **settings) as cluster:
        script = str(cluster.job_script()).replace("--name dummy-name", "--name $SLURM_JOB_ID")
        jobs, over = _Jobs(cluster, script, n), threading.Event()
        watching = threading.Thread(target=jobs.watch, args=(over,), daemon=True)
        try:
            jobs.fill()
            if not jobs.numbers:
                raise SevhistoError(
                    Problem("--slurm", f"no job could be submitted: {jobs.refused}", "see docs/cluster.md, A Slurm cluster")
                )
            watching.start()
            yield str(cluster.scheduler_address), script
        except KeyboardInterrupt:
            if jobs.hopeless is not None:
                raise SevhistoError(jobs.hopeless) from None
            raise
        finally:
            over.set()
            if watching.is_alive():
                watching.join()
            jobs.cancel()


class _Jobs:
    """The jobs of one script, by the numbers that Slurm gave them."""

    def __init__(self, cluster: Any, script: str, wanted: int) -> None:
        self.cluster, self.script, self.wanted = cluster, script, wanted
        self.numbers: list[str] = []
        self.refused = ""
        self.hopeless: Problem | None = None
        self._worked: set[str] = set()

    def fill(self) -> None:
        """Submit as many jobs as are wanted beside those that are there; what Slurm refuses is told once."""
        before, self.refused = self.refused, ""
        while len(self.numbers) < self.wanted and not self.refused:
            try:
                self.numbers.append(_ask("sbatch", "--parsable", given=self.script).strip().partition(";")[0])
            except OSError as error:
                self.refused = str(error)
        if self.numbers and self.refused not in ("", before):
            log.warning("--slurm: only %d of %d jobs are there: %s", len(self.numbers), self.wanted, self.refused)

    def watch(self, over: threading.Event) -> None:
        """Replace jobs that ended, until it is over."""
        asked = time.monotonic()
        while not over.wait(LOOK_EVERY_S):
            for worker in list(self.cluster.scheduler_info["workers"].values()):
                self._worked.add(str(worker["name"]).partition("-")[0])  # the workers of a job are JOB-0, JOB-1, ...
            if time.monotonic() - asked < ASK_EVERY_S:
                continue
            asked = time.monotonic()
            try:
                queued = set(_ask("squeue", "--me", "--noheader", "--format=%A").split())
            except OSError:
                continue  # Slurm does not answer now: jobs go on without it
            self._replace([number for number in self.numbers if number not in queued])
            if self.hopeless is not None:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)  # behind `&`, SIGINT is not heard
                return

    def _replace(self, ended: list[str]) -> None:
        for number in ended:
            worked, (state, last) = number in self._worked, _end_of(number)
            if worked:
                log.warning("--slurm: job %s ended (%s); another takes its place", number, state)
            else:
                log.warning("--slurm: job %s ended (%s) before a worker came, and is not replaced; it said: %s", number, state, last)
            self.numbers.remove(number)
            self.wanted -= not worked
            if self.wanted <= 0:
                remedy = "do jobs reach --host, have the interface and this Python? see their logs (docs/cluster.md, A Slurm cluster)"
                what = f"every job ended before a worker came; the last, {number} ({state}), said: {last}"
                self.hopeless = Problem("--slurm", what, remedy)
        self.fill()

    def cancel(self) -> None:
        """Cancel all that are there."""
        if not self.numbers:
            return
        try:
            _ask("scancel", *self.numbers)
        except OSError as error:
            log.warning("--slurm: cancel the jobs yourself: `scancel %s` (%s)", " ".join(self.numbers), error)


def _end_of(number: str) -> tuple[str, str]:
    """Return the state of a job that ended, and the last line of its logs with the file's name, as far as Slurm still knows them."""
    try:
        told = dict(word.partition("=")[::2] for word in _ask("scontrol", "--oneliner", "show", "job", number).split())
    except OSError:
        return "Slurm forgot how", "nothing"
    logs = [told.get(name, "").replace("%J", number).replace("%j", number) for name in ("StdErr", "StdOut")]  # Slurm leaves %J as it is
    for log_file in logs:
        with suppress(OSError, IndexError):
            return told.get("JobState", ""), f"{log_file}: {Path(log_file).read_text('utf-8', 'replace').strip().splitlines()[-1]}"
    return told.get("JobState", ""), f"nothing in {' or '.join(logs)}"


def _ask(*words: str, given: str = "") -> str:
    """Return what a command of Slurm says; OSError with its complaint where it does not do what it should."""
    try:
        done = subprocess.run(  # noqa: S603
            words, input=given, capture_output=True, text=True, timeout=ANSWER_S, check=False, start_new_session=True
        )  # in a session of its own: Ctrl-C is for the run, which then cancels its jobs
    except FileNotFoundError:
        raise OSError(f"there is no {words[0]} on this computer") from None
    except subprocess.TimeoutExpired:
        raise OSError(f"{words[0]} did not answer for {ANSWER_S:.0f} s") from None
    if done.returncode:
        raise OSError(" ".join(done.stderr.split()) or f"{words[0]} ended with {done.returncode}")
    return done.stdout


def _slurm_cluster(host: str, tls: bool, **settings: Any) -> Any:
    """Return a `dask_jobqueue.SLURMCluster` without jobs: its scheduler runs here, listens at `host`, and shows no dashboard.

    What a job asks for (cores, memory, partition, account, walltime) stands in dask-jobqueue's own file, ``~/.config/dask/jobqueue.yaml``,
    or in `settings`. StudyError where it does not, or where others could reach a scheduler that is not encrypted.
    """
    distributed = needs_distributed("--slurm")
    ear = signal.getsignal(signal.SIGINT)
    try:
        from dask_jobqueue.slurm import SLURMCluster
    except ImportError:
        raise SevhistoError(Problem("--slurm", "needs the package dask-jobqueue", "pip install 'sevhisto[cluster]'")) from None
    signal.signal(signal.SIGINT, ear)  # importing it makes Ctrl-C a quiet end with status 0, as of a run that is done
    if host != LOOPBACK and not tls:
        what = "without --tls, whoever reaches the scheduler can run programs as you"
        raise StudyError(Problem(f"--host {host}", what, "make certificates (docs/cluster.md), then add --tls FOLDER"))
    import dask

    missing = [
        name for name in ("cores", "memory") if settings.get(name) is None and dask.config.get(f"jobqueue.slurm.{name}", None) is None
    ]
    if missing:
        remedy = "write it into ~/.config/dask/jobqueue.yaml (docs/cluster.md)"
        raise StudyError(Problem("--slurm", f"what a job asks for is not told: {', '.join(missing)}", remedy))
    security = distributed.Security() if tls else None
    # there is always a page for machines that ask whether the scheduler lives: on a port of its own, for this computer only
    options = {"host": host, "dashboard": False, "dashboard_address": f"{LOOPBACK}:0"}
    of_worker = ["--no-dashboard", "--dashboard-address", f"{LOOPBACK}:0"]
    return SLURMCluster(scheduler_options=options, security=security, worker_extra_args=of_worker, **settings)
