"""Faults of what is read: random bytes in slides, hostile TIFFs, wrong studies, and fuzzing. See faults.py."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faults_bytes
import faults_cases
import faults_fuzz
import faults_hostile as faults_hostile
import pandas as pd
import pydicom as pydicom  # so that a case does not pay for its import
import roifile as roifile  # so that a case does not pay for its import
from faults_row import Options, Part, Row

import sevhisto.io.dicom
import sevhisto.io.openslide_reader
import sevhisto.io.slideio_reader  # noqa: F401
from sevhisto.io.canary import problems_of
from sevhisto.io.check import check_files
from sevhisto.io.slides import open_slide
from sevhisto.io.study import load_study
from sevhisto.types import SevhistoError

SECONDS, MEGABYTES = 0.2, 200


def apart(work: Callable[[], Any], limit_s: float = 60) -> tuple[Any, float, float]:
    """Do `work` in a process of its own. Return what it returned (or how it died), seconds of CPU, and megabytes that it needed."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        signal.alarm(int(limit_s))
        before, started = _megabytes(), time.process_time()
        try:
            found = work()
        except BaseException as error:  # what the benchmark is there to see
            found = f"UNCAUGHT {type(error).__name__}: {error}"
        told = [found, time.process_time() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before]
        os.write(writing, json.dumps(told).encode()[:60_000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(child, 0)
    return tuple(json.loads(data)) if data else (f"UNCAUGHT the process died ({status})", float("nan"), float("nan"))


def _megabytes() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


# ---------------------------------------------------------------- the 75 TIFFs


def tiffs(options: Options) -> Iterator[Row]:
    """The 75 hostile TIFFs, opened and read whole; flags are those that measuring sets, or a refusal that says why."""
    if options.bad_inputs is None or not options.bad_inputs.is_dir():
        return
    options.scratch.mkdir(parents=True)
    subprocess.run([sys.executable, options.bad_inputs / "gen_bad_tiffs.py", options.scratch], check=True, capture_output=True)
    expected = json.loads((options.bad_inputs / "expected_tiffs.json").read_text("utf-8"))
    problems_of("tiff")  # as every process that reads slides does first: no file pays for loading compiled code
    counts = dict.fromkeys(("right", "silent", "crashed", "slow"), 0)
    notes, worst = [], [0.0, 0.0]
    for name, wanted in expected.items():
        found, seconds, megabytes = apart(lambda name=name: _outcome(options.scratch / name))
        if found.isdecimal():
            found = _measured(options.scratch / name, int(found))
        if found.startswith("UNCAUGHT"):
            counts["crashed"] += 1
        elif found == wanted or (found == "refused" and wanted != "accept"):
            counts["right"] += 1
        elif found == "accept":
            counts["silent"] += 1
        if found != wanted and not (found == "refused" and wanted in ("flag", "reject")):
            notes.append(f"{name.split('_')[0]} {found}, expected {wanted}")
        if found == "refused":
            worst = [max(worst[0], seconds), max(worst[1], megabytes)]
            counts["slow"] += seconds > SECONDS or megabytes > MEGABYTES
    said = f"refusing took {worst[0]:.3f} s and {worst[1]:.0f} MB at most, {counts['slow']} over {SECONDS} s or {MEGABYTES} MB"
    yield Row("tiffs", "hostile TIFFs", len(expected), counts["right"], silent=counts["silent"], crashed=counts["crashed"],
              note="; ".join([said, *notes]))  # fmt: skip


def _outcome(path: Path) -> str:
    """Return ``refused``, or how many channels were read."""
    try:
        with open_slide(path) as slide:
            slide.read(range(len(slide.channels)), 0, slide.shape[0], 0, slide.shape[1])
            _ = slide.um_per_px  # one that slides.csv must supply is a refusal until it does
            return str(len(slide.channels))
    except SevhistoError:
        return "refused"


COMMON_FLAGS = {"contour_unreviewed", "offset_from_samples", "offset_assumed_zero", "no_nuclear_channel", "no_lesion"}
COMMON_FLAGS |= {"touches_edge", "whole_field"}
"""Flags that a good picture of 512 x 512 pixels without controls gets too."""


def _measured(path: Path, n: int) -> str:
    """Measure the file as the only slide of a study of fluorescence: return ``accept``, or ``flag`` where the row says more, or why not."""
    root = path.parent / f"study_{path.name}"
    (root / "slides").mkdir(parents=True)
    shutil.copy(path, root / "slides" / path.name)
    roles = ["landmark", "macrophage", "other"]
    channels = "".join(f'{{ channel = {i + 1}, marker = "M{i}", role = "{roles[min(i, 2)]}" }}, ' for i in range(n))
    head, _, rest = faults_cases.TOML.partition("[panels.A]")
    toml = f"{head}[panels.A]\nchannels = [{channels}]\n{rest[rest.index('[protocols') :]}"
    (root / "study.toml").write_text(toml, "utf-8")
    sheet = f"file,animal,section,panel,batch,role,position_um\n{path.name},R01,1,A,1,sample,0\n"
    (root / "slides.csv").write_text(sheet, "utf-8")
    (root / "animals.csv").write_text("animal,protocol,sex,dpi\nR01,vehicle,f,28\n", "utf-8")
    done = subprocess.run([sys.executable, "-m", "sevhisto.cli", "run", root, "--jobs", "1"], capture_output=True, text=True, timeout=120)
    if "Traceback" in done.stderr:
        return f"UNCAUGHT {done.stderr[-300:]}"
    status = pd.read_csv(root / "results" / "status.csv", dtype=str, keep_default_na=False).iloc[0]
    return "flag" if status["status"] == "failed" or set(status["flags"].split(";")) - COMMON_FLAGS - {""} else "accept"


# ---------------------------------------------------------------- wrong studies


def cases(options: Options) -> Iterator[Row]:
    """A hundred wrong or odd studies, each as expected, and how long and how much memory a refusal takes."""
    good = faults_cases.good_study(options.scratch / "good")
    assert not check_files(load_study(good))
    kinds = {"s": "sheets", "p": "paths and files", "c": "settings", "d": "outlines", "z": "archives", "h": "hostile DICOM and VSI"}
    for letter, what in kinds.items():
        chosen = {name: case for name, case in faults_cases.CASES.items() if name.startswith(letter)}
        right, silent, crashed, slow, worst, notes = 0, 0, 0, 0, [0.0, 0.0], []
        for i, (name, (change, expected)) in enumerate(chosen.items()):
            root = Path(shutil.copytree(good, options.scratch / f"{letter}{i}", symlinks=True))
            change(root)
            (told, ok), seconds, megabytes = _apart_case(root, expected)
            right += ok
            crashed += told.startswith("UNCAUGHT")
            silent += not ok and told == "accepted"
            if told == "refused":
                worst = [max(worst[0], seconds), max(worst[1], megabytes)]
                if seconds > SECONDS or megabytes > MEGABYTES:
                    slow, notes = slow + 1, [*notes, f"{name}: {seconds:.2f} s, {megabytes:.0f} MB"]
            if not ok:
                notes.append(f"{name}: {told[:200]}")
            shutil.rmtree(root)
        said = f"refusing took {worst[0]:.3f} s and {worst[1]:.0f} MB at most, {slow} over {SECONDS} s or {MEGABYTES} MB"
        yield Row("cases", what, len(chosen), right, silent=silent, crashed=crashed, note="; ".join([said, *notes]))


def _apart_case(root: Path, expected: Any) -> tuple[tuple[str, bool], float, float]:
    def work() -> list[Any]:
        try:
            study = load_study(root)
            problems = check_files(study)
        except SevhistoError as error:
            problems = error.problems
        told = " / ".join(f"{p.where}: {p.what} {p.remedy}" for p in problems)
        if isinstance(expected, str):
            return ["refused" if problems else "accepted", expected in told, told[:500]]
        return ["refused" if problems else "accepted", not problems and bool(expected(study)), told[:500]]

    found, seconds, megabytes = apart(work)
    if isinstance(found, str):
        return (found, False), seconds, megabytes
    return (found[0] if found[1] or found[0] == "accepted" else f"{found[0]} otherwise: {found[2]}", bool(found[1])), seconds, megabytes


PARTS: dict[str, Part] = {"bytes": faults_bytes.bytes_of_slides, "tiffs": tiffs, "cases": cases, "fuzz": faults_fuzz.fuzz}
