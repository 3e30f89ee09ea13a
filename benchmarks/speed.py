"""How long does one section take, and does memory grow with it?

Synthetic five-channel sections (uint16, 0.5 um/px, tiled, zlib, pyramidal OME-TIFF) of 4096 x 3072, 8192 x 6144 and 16384 x 12288 pixels
are made once and kept in benchmarks/out/speed/ (the largest takes 9 GB of memory and two CPU minutes). Each is then a study of one
slide, and measured by the function that `sevhisto run` sends to its workers, in a process of its own with one thread:

offset       background of the batch, from the overview of its slides, once a batch
measure      the section from file to record: checksum, overview, masks, the pass, writing
decode       for comparison: the same blocks read by the same reader in another process, and nothing done with them
peak         most memory held by the measuring process (RSS), and what of it was there before it opened the file
exponent     of the memory that was added, against the section's area: 0 where memory does not depend on the section, 1 where it is
             proportional to it

CPU seconds are those of the measuring process; wall time depends on what else the machine does.

    .venv/bin/python benchmarks/speed.py                # all three sizes, panel A
    .venv/bin/python benchmarks/speed.py --panel B      # with two channels of fibres
    .venv/bin/python benchmarks/speed.py --quick        # the two smaller ones
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

OUT = Path(__file__).parent / "out" / "speed"
SIZES = ((3072, 4096), (6144, 8192), (12288, 16384))
UM = 0.5
SEED = 9101
BLOCK = 1024


def rss_mb() -> float:
    """Return the memory that this process holds now."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def peak_mb() -> float:
    """Return the most memory that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextmanager
def timed(into: dict[str, float], name: str) -> Iterator[None]:
    """Record wall and CPU seconds of a block of work."""
    wall, cpu = time.monotonic(), time.process_time()
    yield
    into[f"{name}_wall"], into[f"{name}_cpu"] = time.monotonic() - wall, time.process_time() - cpu


def make_slide(path: Path, shape: tuple[int, int], panel: str) -> None:
    """Write one section of exactly this shape (height, width)."""
    from sevhisto.phantom import SectionSpec, make_section, optics, write_slide
    from sevhisto.phantom.spec import stream
    from sevhisto.phantom.study import PANELS
    from sevhisto.phantom.study_files import CHANNEL_OF

    height, width = (UM * n for n in shape)
    spec = SectionSpec(markers=PANELS[panel], um_per_px=UM, cord_um=(0.95 * width, 0.95 * height), margin_um=0.0)
    section = make_section(spec, SEED, keep_truth_images=False)
    image = np.empty((len(spec.markers), *shape), np.uint16)
    h, w = (min(a, b) for a, b in zip(shape, section.image.shape[1:], strict=True))
    y, x = (shape[0] - h) // 2, (shape[1] - w) // 2
    for k, marker in enumerate(spec.markers):
        image[k] = optics.bare_glass(spec, image[k].size, stream(SEED, "glass", marker)).reshape(shape)
        image[k, y : y + h, x : x + w] = section.image[k, :h, :w]
    section.truth.layers.clear()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name("part.ome.tif")
    write_slide(part, [replace(section, image=image)], padding_um=0, channel_names=[CHANNEL_OF[m] for m in spec.markers])
    part.rename(path)


def write_study(folder: Path, slide: Path, panel: str) -> None:
    """Write a study of this one slide."""
    from sevhisto.phantom import StudySpec
    from sevhisto.phantom.study_files import study_toml

    (folder / "slides").mkdir()
    (folder / "slides" / slide.name).hardlink_to(slide)
    (folder / "study.toml").write_text(study_toml(StudySpec()), "utf-8")
    (folder / "slides.csv").write_text(
        f"file,animal,section,piece,panel,batch,role,position_um\n{slide.name},R1,s1,1,{panel},batch1,sample,10000\n", "utf-8"
    )
    (folder / "animals.csv").write_text("animal,protocol\nR1,vehicle\n", "utf-8")
    (folder / "motor.csv").write_text("animal,day,score\n", "utf-8")


def measure(slide: Path, panel: str) -> dict[str, Any]:
    """Measure the slide in this process; return times, memory and what came out."""
    from sevhisto.io.store import load_record
    from sevhisto.io.study import load_study
    from sevhisto.pipeline.measuring import batch_correction, measure_slide
    from sevhisto.pipeline.running import slide_tasks

    cv2.setNumThreads(1)
    facts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=OUT) as folder:
        root = Path(folder)
        write_study(root, slide, panel)
        (task,) = slide_tasks(load_study(root))
        facts["rss_before"] = rss_mb()
        with timed(facts, "offset"):
            correction, notes = batch_correction([task])
        facts["peak_offset"] = peak_mb()
        with timed(facts, "measure"):
            (outcome,) = measure_slide(replace(task, correction=correction))
        facts["peak"] = peak_mb()
        if outcome.record is None or notes:
            raise SystemExit(f"{slide.name}: {outcome.reason} {notes}")
        record = load_record(outcome.record)
        facts |= {
            "record_mb": outcome.record.stat().st_size / 2**20,
            "cells": len(record.cells["y_um"]),
            "has_core": record.meta["has_core"],
        }
    return facts


def decode(slide: Path, panel: str) -> dict[str, Any]:
    """Read every block of the slide in this process, and do nothing with it."""
    from sevhisto.io.slides import open_slide

    facts: dict[str, Any] = {"rss_before": rss_mb()}
    with timed(facts, "decode"), open_slide(slide, 1, None) as source:
        h, w = source.shape
        channels = list(range(len(source.channels)))
        for y in range(0, h, BLOCK):
            for x in range(0, w, BLOCK):
                source.read(channels, y, min(y + BLOCK, h), x, min(x + BLOCK, w))
    return facts | {"peak": peak_mb()}


def trace(slide: Path, panel: str) -> dict[str, Any]:
    """Measure the slide and return the memory held over time, ten times a second (MB)."""
    held: list[float] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            held.append(round(rss_mb(), 1))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    facts = measure(slide, panel)
    done.set()
    watcher.join()
    return facts | {"trace": held}


def in_process(what: str, slide: Path, panel: str) -> dict[str, Any]:
    """Run one of the functions above in a process of its own."""
    command = [sys.executable, str(Path(__file__).resolve()), "--worker", what, str(slide), "--panel", panel]
    told = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    facts: dict[str, Any] = json.loads(told.splitlines()[-1])
    return facts


def row(shape: tuple[int, int], panel: str) -> dict[str, Any]:
    """Make the slide where it is missing, measure it, and read it."""
    slide = OUT / f"{panel}_{shape[1]}x{shape[0]}.ome.tif"
    facts: dict[str, Any] = {"shape": shape, "mpix": shape[0] * shape[1] / 1e6}
    if not slide.is_file():
        made = in_process("make", slide, panel)
        size = slide.stat().st_size / 2**20
        print(f"made {slide.name}: {made['make_cpu']:.0f} CPU s, {made['peak'] / 1024:.1f} GB of memory, {size:.0f} MB", flush=True)
    facts |= in_process("measure", slide, panel)
    read = in_process("decode", slide, panel)
    return facts | {"decode_cpu": read["decode_cpu"], "decode_wall": read["decode_wall"], "decode_peak": read["peak"]}


def exponent(rows: list[dict[str, Any]], key: str) -> str:
    """Return the slope of the logarithm of added memory against that of area, between the two largest and over all sizes."""
    area = np.log([r["mpix"] for r in rows])
    added = np.log([max(r[key] - r["rss_before"], 1.0) for r in rows])
    last = (added[-1] - added[-2]) / (area[-1] - area[-2])
    return f"{np.polyfit(area, added, 1)[0]:.2f} over all sizes, {last:.2f} from the second largest to the largest"


def main() -> None:
    """Measure every size and print the table."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--panel", choices=("A", "B"), default="A")
    ask.add_argument("--quick", action="store_true", help="leave the largest section out")
    ask.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    o = ask.parse_args()
    if o.worker:
        what, slide = o.worker[0], Path(o.worker[1])
        if what == "make":
            facts: dict[str, Any] = {}
            with timed(facts, "make"):
                w, h = (int(n) for n in slide.name.split("_")[1].split(".")[0].split("x"))
                make_slide(slide, (h, w), o.panel)
            facts["peak"] = peak_mb()
        else:
            facts = {"measure": measure, "decode": decode, "trace": trace}[what](slide, o.panel)
        print(json.dumps(facts))
        return
    rows = []
    for shape in SIZES[: 2 if o.quick else 3]:
        rows.append(row(shape, o.panel))
    head = ["section", "MPix", "measure, wall s", "CPU s", "MPix of one channel per CPU s", "decode CPU s", "offset CPU s"]
    head += ["peak MB", "before MB", "decode peak MB", "cells", "record MB"]
    print(f"\nPanel {o.panel}, 5 channels, {UM:g} um/px\n\n| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for r in rows:
        rate = 5 * r["mpix"] / r["measure_cpu"]
        cells = [
            f"{r['shape'][1]} x {r['shape'][0]}",
            f"{r['mpix']:.0f}",
            f"{r['measure_wall']:.1f}",
            f"{r['measure_cpu']:.1f}",
            f"{rate:.1f}",
        ]
        cells += [
            f"{r['decode_cpu']:.1f}",
            f"{r['offset_cpu']:.1f}",
            f"{r['peak']:.0f}",
            f"{r['rss_before']:.0f}",
            f"{r['decode_peak']:.0f}",
        ]
        print("| " + " | ".join([*cells, str(r["cells"]), f"{r['record_mb']:.2f}"]) + " |")
    print(f"\nexponent of added memory against area: {exponent(rows, 'peak')}")
    ratio = (rows[-1]["peak"] - rows[0]["peak"]) / (rows[-1]["mpix"] - rows[0]["mpix"])
    print(f"memory added per MPix (per channel) of section: {ratio:.2f} MB; all five channels as float32 would be {5 * 4e6 / 2**20:.1f} MB")


if __name__ == "__main__":
    main()
