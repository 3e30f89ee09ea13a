"""What benchmarks/speed.py runs in processes of their own: like real workers, they import the measuring of slides and nothing else.

A process answers with a line when it has imported what it needs, waits for one, does the work that it was sent, and sends what it found.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import pickle
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

Facts = dict[str, Any]
BLOCK = 1024  # a multiple of the tile sides in use, so that each tile is decoded once


class Worker:
    """A process that will run one function of this file, or of ``module``, and is ready for it once made."""

    def __init__(self, function: str, *arguments: object, module: str = "speed_worker", folder: Path | None = None) -> None:
        environment = {**os.environ, **({"NUMBA_CACHE_DIR": str(folder)} if folder else {})}
        command = [sys.executable, str(Path(__file__).resolve())]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        assert self.process.stdin
        assert self.process.stdout
        self._to, self._from = self.process.stdin, self.process.stdout
        self.started = time.monotonic()
        pickle.dump((module, function, arguments), self._to)
        self._to.flush()
        self._from.readline()

    def start(self) -> None:
        """Let it begin."""
        self._to.write(b"go\n")
        self._to.flush()

    def answer(self) -> Any:
        """Return what the function returned."""
        try:
            return pickle.load(self._from)
        except EOFError:
            raise SystemExit("a measuring process failed; see above") from None
        finally:
            self._to.close()
            self.process.wait()


def alone(function: str, *arguments: object, module: str = "speed_worker", folder: Path | None = None) -> Any:
    """Run a function in a process of its own and return what it returned."""
    worker = Worker(function, *arguments, module=module, folder=folder)
    worker.start()
    return worker.answer()


def at_once(calls: Sequence[tuple[Any, ...]]) -> tuple[float, list[Any]]:
    """Run calls (function, arguments ...) at the same time; return the wall time from the first start to the last end, and the answers."""
    workers = [Worker(*call) for call in calls]
    start = time.monotonic()
    for worker in workers:
        worker.start()
    answers = [worker.answer() for worker in workers]
    return time.monotonic() - start, answers


def rss_mb() -> float:
    """Return the memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def peak_mb() -> float:
    """Return the most memory that this process ever held."""
    # ru_maxrss would do, but on Linux a new process inherits that of its parent
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    held = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    return int(held[0]) / 1024 if held else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextlib.contextmanager
def timed(into: Facts) -> Iterator[None]:
    """Add wall and CPU seconds of a block of work."""
    wall, cpu = time.monotonic(), time.process_time()
    yield
    into["wall"] = into.get("wall", 0.0) + time.monotonic() - wall
    into["cpu"] = into.get("cpu", 0.0) + time.process_time() - cpu


def measure(*tasks: Any) -> Facts:
    """Measure slides one after the other; return times, memory and where the records are."""
    from sevhisto.imaging.process import prepare_worker
    from sevhisto.pipeline.measuring import measure_slide

    prepare_worker()
    facts: Facts = {"before": rss_mb(), "records": []}
    with timed(facts):
        for task in tasks:
            for outcome in measure_slide(task):
                if outcome.record is None:
                    raise SystemExit(f"{task.path.name}: {outcome.reason}")
                facts["records"].append(outcome.record)
    return facts | {"peak": peak_mb()}


def measure_repeated(task: Any) -> Facts:
    """Measure a slide of repeated tiles."""
    beside("speed_slides").register()
    return measure(task)


def correction(task: Any) -> Facts:
    """Return the correction of a batch of this one slide, and how long it took to find."""
    from sevhisto.pipeline.batches import batch_correction

    facts: Facts = {}
    with timed(facts):
        found, notes = batch_correction([task])
    if notes:
        raise SystemExit("; ".join(notes))
    return facts | {"correction": found, "peak": peak_mb()}


def decode(slide: Path) -> Facts:
    """Read every tile of every channel once, and do nothing with it."""
    from sevhisto.io.slides import open_slide

    facts: Facts = {"before": rss_mb()}
    with timed(facts), open_slide(slide, 1, None) as source:
        h, w = source.shape
        channels = list(range(len(source.channels)))
        for y in range(0, h, BLOCK):
            for x in range(0, w, BLOCK):
                source.read(channels, y, min(y + BLOCK, h), x, min(x + BLOCK, w))
    return facts | {"peak": peak_mb()}


def overview(slide: Path, um: float) -> Facts:
    """Open a slide and look at it for the first time; `import_wall` is what loading the readers took before."""
    facts: Facts = {}
    start = time.monotonic()
    import cv2

    from sevhisto.io.slides import open_slide

    cv2.setNumThreads(1)
    facts["import_wall"] = time.monotonic() - start
    with timed(facts), open_slide(slide, 1, None) as source:
        image, step = source.overview(um)
    return facts | {"shape": image.shape, "step": step}


def burn(rounds: int) -> Facts:
    """Do a fixed number of sums in a small array: nothing but the processor is used."""
    import numpy as np

    facts: Facts = {}
    values = np.linspace(0, 1, 20_000)
    with timed(facts):
        for _ in range(rounds):
            values = np.sqrt(values * values + 1e-9)
    return facts


def beside(module: str) -> Any:
    """Import a file of this folder, which is not where this process looks for modules."""
    spec = importlib.util.spec_from_file_location(module, Path(__file__).with_name(f"{module}.py"))
    assert spec
    assert spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def main() -> None:
    """Do what is asked for on standard input."""
    answer_to, sys.stdout = sys.stdout.buffer, sys.stderr
    sys.path.pop(0)  # numba looks for a module named coverage, and would import the one in this folder: 50 MB
    module, name, arguments = pickle.load(sys.stdin.buffer)
    function: Callable[..., Any] = globals()[name] if module == "speed_worker" else getattr(beside(module), name)
    if name.startswith("measure"):
        importlib.import_module("sevhisto.engine")
        importlib.import_module("sevhisto.pipeline.measuring")
    answer_to.write(b"ready\n")
    answer_to.flush()
    sys.stdin.buffer.readline()
    pickle.dump(function(*arguments), answer_to)
    answer_to.flush()


if __name__ == "__main__":
    main()
