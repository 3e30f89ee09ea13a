"""A command in a process of its own, for a window that must not freeze: what it tells arrives as events, and it ends with its window.

The process is started as ``python -m sevhisto.pipeline.job_process``, gets its task as one line of JSON on standard input, and writes one
line of JSON for each event on standard output. When standard input closes, because the job was cancelled or the window is gone, it stops:
every file that it writes is there whole or not at all, so a run goes on from there.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import queue
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from sevhisto.types import Problem, SevhistoError

STOPPED = 130
GRACE_S = 5.0
TOLD_LINES = 5
COMMANDS = {
    **{name: f"sevhisto.pipeline:{name}" for name in ("check", "run", "compare", "report", "export", "train")},
    "answer": "sevhisto.pipeline.teaching:answer",
}
"""Commands that can be run so; a result is told as far as JSON can hold it."""
WITH_PROGRESS = ("run", "compare", "export", "train", "answer")
PATHS = ("out",)
"""Arguments that are paths."""


@dataclass(frozen=True)
class Event:
    """One thing that a job tells.

    Attributes
    ----------
    kind : ``progress``, and last of all ``done``, ``failed`` or ``stopped``
    facts : of progress: what, done, total, failed, skipped; of ``done``: what the command gave
    problems : why it failed
    """

    kind: str
    facts: dict[str, Any] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def fitting_jobs() -> int:
    """Return how many processes fit into this machine while a window is open: one core is left to it."""
    from sevhisto.engine import WORKER_MB, available_mb, default_jobs, jobs_for

    wanted = max(1, default_jobs() - 1)
    free = available_mb()
    return wanted if free is None else jobs_for(wanted, max(free, WORKER_MB))


class Job:
    """A command that runs in the background.

    Parameters
    ----------
    command : one of COMMANDS
    root : the study's folder
    more : further arguments of the command, as JSON holds them
    """

    def __init__(self, command: str, root: Path, **more: Any) -> None:
        self._told: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._cancelled = self._ended = False
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sevhisto.pipeline.job_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"command": command, "root": str(root), "more": more}, default=str).encode() + b"\n")
        self._process.stdin.flush()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def running(self) -> bool:
        """Whether its last event has not been told yet."""
        return not self._ended

    def events(self) -> list[Event]:
        """Return what it told since the last call; never waits."""
        found = []
        while not self._told.empty():
            found.append(self._told.get())
        self._ended |= any(e.kind != "progress" for e in found)
        return found

    def cancel(self) -> None:
        """Stop it; what is measured so far stays. Its last event is ``stopped``."""
        self._cancelled = True
        self._hang_up()

    def _hang_up(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()

    def close(self) -> None:
        """Stop it and wait until it has ended."""
        self.cancel()
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._listener.join(GRACE_S)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        last = None
        for line in self._process.stdout:
            told = json.loads(line)
            event = Event(told["kind"], told["facts"], tuple(Problem(*p) for p in told["problems"]))
            if event.kind == "progress":
                self._told.put(event)
            else:
                last = event
        status = self._process.wait()
        self._process.stdout.close()
        self._hang_up()
        if last is None:
            last = Event("stopped") if self._cancelled else Event("failed", {}, (self._died(status),))
        self._errors.close()
        self._told.put(last)

    def _died(self, status: int) -> Problem:
        self._errors.seek(0)
        said = self._errors.read().decode("utf-8", "replace").strip().splitlines()[-TOLD_LINES:]
        return Problem("the background process", f"ended by itself (status {status}): {' | '.join(said) or 'it said nothing'}", "try again")


# ---------------------------------------------------------------- in the process


def _plain(result: Any) -> dict[str, Any]:
    """Return what a command gave, without what JSON cannot hold (tables, models)."""
    if isinstance(result, tuple):  # of check
        problems, notes = result
        return {"problems": [(p.where, p.what, p.remedy) for p in problems], "notes": notes}
    facts: dict[str, Any] = {"path": str(result)} if isinstance(result, Path) else dict(vars(result))
    if "folders" in facts:  # of export
        facts["folders"] = tuple(map(str, facts["folders"].values()))
    return {name: value for name, value in facts.items() if isinstance(value, str | int | float | bool | tuple | Path)}


def _work(told: dict[str, Any], say: Callable[..., None]) -> Event:
    module, _, name = COMMANDS[told["command"]].partition(":")
    more = {key: Path(value) if key in PATHS else value for key, value in told["more"].items()}
    if told["command"] in WITH_PROGRESS:
        more["progress"] = lambda what, done, total, failed=0, skipped=0: say(
            Event("progress", {"what": what, "done": done, "total": total, "failed": failed, "skipped": skipped})
        )
    try:
        return Event("done", _plain(getattr(import_module(module), name)(Path(told["root"]), **more)))
    except SevhistoError as error:
        return Event("failed", {}, tuple(error.problems))


def under_codes(root: Path, event: Event) -> Event:
    """Return what is told with codes for the names of animals, groups and files, while the study is blind: a window shows none."""
    from sevhisto.io.key import codes
    from sevhisto.io.study import load_study
    from sevhisto.pipeline.naming import Names
    from sevhisto.pipeline.running import is_open

    try:
        study = load_study(root)
        if is_open(study):
            return event
    except SevhistoError:  # without sheets there is no key, and who mends them reads them
        return event
    key = codes(study)
    names = Names.of(key, False)

    def coded(told: Any) -> Any:
        if isinstance(told, str):
            return key.hide(names.clean(told))
        return [coded(part) for part in told] if isinstance(told, list | tuple) else told

    facts = {name: told if name in ("results", "path") else coded(told) for name, told in event.facts.items()}
    return Event(event.kind, facts, tuple(Problem(*coded((p.where, p.what, p.remedy))) for p in event.problems))


def _stop_with_input() -> None:
    while os.read(0, 1024):  # not sys.stdin, whose lock would be held when the process ends
        pass
    for child in multiprocessing.active_children():
        child.terminate()
    os._exit(STOPPED)


def main() -> None:
    """Do what standard input asks for."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no event
    lock = threading.Lock()

    def say(event: Event) -> None:
        facts = {**asdict(event), "problems": [(p.where, p.what, p.remedy) for p in event.problems]}
        with lock:
            events.write(json.dumps(facts, default=str) + "\n")
            events.flush()

    line = b""
    while not line.endswith(b"\n"):
        line += os.read(0, 1)
    told = json.loads(line)
    threading.Thread(target=_stop_with_input, daemon=True).start()  # before the imports, which take seconds on a slow disk
    try:
        say(under_codes(Path(told["root"]), _work(told, say)))
    except Exception:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)  # without waiting for the thread that reads


if __name__ == "__main__":
    main()
