"""How long does a section take, does memory grow with it, and how does that compare?

Synthetic five-channel sections (uint16, 0.5 um/px, tiled, zlib, pyramidal OME-TIFF) of 2048 x 1536 to 16384 x 12288 pixels are made once
and kept in benchmarks/out/speed/ (the largest takes 9 GB of memory and two CPU minutes). They are measured by the function that
`sevhisto run` sends to its workers, in processes that import what workers import, with one thread. CPU seconds are those of the
measuring process (median of the repeats); wall time depends on what else the machine does. Compiled code is kept on disk: a first
pass over the smallest slide, told as "cold", fills a cache of its own, and another warms the cache that all others use.

pass        the largest section, from file to record (checksum, overview, masks, pass, cells, fibres, writing), against decoding it
scaling     time and memory from 16 million channel pixels to a thousand million, and on a simulated slide of repeated tiles
processes   two processes on two sections against one process on both, and the same for pure computing
overview    the first look at a slide in a fresh process; the file is in the system's memory
regions     regions of microscope files, against the reader of the maker or the best known one; only where ../shared/data/vendor is
peers       other programs on the simplest part of the task, by benchmarks/peers/run.py

    .venv/bin/python benchmarks/speed.py                      # everything
    .venv/bin/python benchmarks/speed.py --only pass regions
    .venv/bin/python benchmarks/speed.py --quick              # without the largest section
    .venv/bin/python benchmarks/speed.py --huge               # simulate 100,000 x 80,000 px: a quarter of an hour
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from speed_regions import VENDORS
from speed_slides import UM, write_repeated, write_study
from speed_worker import Facts, alone, at_once

HERE = Path(__file__).parent
OUT = HERE / "out" / "speed"
VENDOR_FILES = HERE.parents[1] / "shared" / "data" / "vendor"
SIZES = ((1536, 2048), (3072, 4096), (6144, 8192), (12288, 16384))
SIMULATED, SIMULATED_QUICK, SIMULATED_HUGE = (24_576, 32_768), (12_288, 16_384), (80_000, 100_000)
MASKS, BURN_ROUNDS = ("thumbnail", "thumbnail_rgb"), 100_000
GOALS = {"cpu": 15.0, "decode": 5.0, "peak": 600.0, "record": 3.0, "exponent": 1.05, "two": 1.6, "overview": 1.0, "region": 1.5}
PEER_GOALS = {("ImageJ", "rolling"): 9.0, ("ImageJ", "none"): 3.0, ("scikit-image", None): 40.0}


@dataclass
class Bench:
    """What is measured, and the lines that were found for the last table."""

    sizes: Sequence[tuple[int, int]]
    simulated: tuple[int, int]
    panel: str
    repeats: int
    peers_on_largest: bool
    rows: list[tuple[str, str, str, str]] = field(default_factory=list)
    passes: dict[tuple[int, int], Facts] = field(default_factory=dict)

    def tell(self, figure: str, asked: str, found: str, met: bool | None) -> None:
        """Add a line to the last table."""
        self.rows.append((figure, asked, found, "" if met is None else "met" if met else "**not met**"))

    def slide(self, shape: tuple[int, int]) -> Path:
        """Return the slide of this shape, made where it is missing."""
        path = OUT / f"{self.panel}_{shape[1]}x{shape[0]}.ome.tif"
        if not path.is_file():
            alone("make_slide", path, shape, self.panel, module="speed_slides")
            print(f"made {path.name}: {path.stat().st_size / 2**20:.0f} MB", flush=True)
        return path


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table."""
    print("\n| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for row in rows:
        print("| " + " | ".join(str(v) for v in row) + " |")
    sys.stdout.flush()


def size(shape: Sequence[int]) -> str:
    """Return width x height."""
    return f"{shape[1]} x {shape[0]}"


def record_parts(path: Path) -> dict[str, float]:
    """Return the MB on disk of a record: all, its cells, its thumbnails, and the rest."""
    with zipfile.ZipFile(path) as parts, parts.open("head.npy") as stream:
        stored = {i.filename.removesuffix(".npy"): i.compress_size / 2**20 for i in parts.infolist()}
        head = json.loads(np.lib.format.read_array(stream).tobytes())
    cells = sum(mb for name, mb in stored.items() if name.startswith("cells"))
    pictures = sum(stored[f"masks{i}"] for i, name in enumerate(head["masks"]) if name in MASKS)
    return {"all": sum(stored.values()), "cells": cells, "pictures": pictures, "rest": sum(stored.values()) - cells - pictures}


def one_pass(slide: Path, panel: str, folder: Path | None = None, instead: Path | None = None) -> Facts:
    """Measure a slide, or a slide of repeated tiles `instead`, in a process of its own; its background was estimated in another."""
    with tempfile.TemporaryDirectory(dir=OUT) as root:
        (task,) = write_study(Path(root), slide, panel)
        offset = alone("correction", task, folder=folder)
        task = replace(task, correction=offset["correction"], path=instead or task.path)
        facts: Facts = alone("measure_repeated" if instead else "measure", task, folder=folder)
        (record,) = facts["records"]
        with np.load(record) as arrays:
            cells = len(arrays["cells0"]) if "cells0" in arrays else 0
        return facts | {"offset_cpu": offset["cpu"], "record": record_parts(record), "cells": cells}


def middle(bench: Bench, shape: tuple[int, int], repeats: int) -> Facts:
    """Measure and decode a slide in turn; return medians of the times, and the largest memory."""
    if shape not in bench.passes:
        slide = bench.slide(shape)
        turns = [(one_pass(slide, bench.panel), alone("decode", slide)) for _ in range(repeats)]
        facts = dict(turns[-1][0])
        facts |= {k: statistics.median(t[0][k] for t in turns) for k in ("cpu", "wall")}
        facts |= {"all_cpu": sorted(t[0]["cpu"] for t in turns), "peak": max(t[0]["peak"] for t in turns)}
        facts |= {"decode_cpu": statistics.median(t[1]["cpu"] for t in turns), "decode_peak": turns[-1][1]["peak"]}
        facts["times_decoding"] = statistics.median(t[0]["cpu"] / t[1]["cpu"] for t in turns)
        bench.passes[shape] = facts | {"mpix": 5 * shape[0] * shape[1] / 1e6}
    return bench.passes[shape]


def warm(bench: Bench) -> None:
    """Measure the smallest slide with nothing compiled, and then as all others are measured."""
    slide = bench.slide(SIZES[0])
    with tempfile.TemporaryDirectory() as folder:
        cold = one_pass(slide, bench.panel, Path(folder))
    one_pass(slide, bench.panel)
    again = one_pass(slide, bench.panel)
    found = f"{cold['cpu'] + cold['offset_cpu']:.1f}; {again['cpu'] + again['offset_cpu']:.1f} afterwards"
    bench.tell(f"first run on a machine (compiling), {size(SIZES[0])}, CPU s", "", found, None)


def whole_pass(bench: Bench) -> None:
    """The largest section, against decoding it."""
    shape = bench.sizes[-1]
    f = middle(bench, shape, bench.repeats)
    spread = f"{f['all_cpu'][0]:.1f} to {f['all_cpu'][-1]:.1f} in {len(f['all_cpu'])} runs"
    goal = shape == SIZES[-1]
    found = f"{f['cpu']:.1f} ({spread}; {f['mpix'] / f['cpu']:.0f} MPix a second; wall {f['wall']:.1f})"
    bench.tell(f"whole pass, {size(shape)} x 5, CPU s", "<= 15", found, f["cpu"] <= GOALS["cpu"] if goal else None)
    bench.tell("background of the batch, once for all slides, CPU s", "", f"{f['offset_cpu']:.1f}", None)
    ratio = f["times_decoding"]
    bench.tell(
        "against decoding its tiles alone", "<= 5 times", f"{ratio:.1f} times ({f['decode_cpu']:.1f} CPU s)", ratio <= GOALS["decode"]
    )
    found = f"{f['peak']:.0f} ({f['before']:.0f} before it opened the file; decoding alone {f['decode_peak']:.0f})"
    bench.tell("peak memory of the worker, MB", "<= 600", found, f["peak"] <= GOALS["peak"])
    r = f["record"]
    found = f"{r['rest']:.2f} (with {f['cells']} cells {r['cells']:.2f} and thumbnails {r['pictures']:.2f}: {r['all']:.2f})"
    bench.tell("record on disk besides cells and thumbnails, MB", "<= 3", found, r["rest"] <= GOALS["record"])


def scaling_row(name: str, f: Facts, decoding: str) -> list[str]:
    """Return a line of the table of sizes."""
    rate, record = f["mpix"] / f["cpu"], f["record"]["all"]
    memory = [f"{f['peak']:.0f}", f"{f['before']:.0f}"]
    return [name, f"{f['mpix']:.0f}", f"{f['cpu']:.2f}", f"{rate:.0f}", decoding, *memory, str(f["cells"]), f"{record:.2f}"]


def scaling(bench: Bench) -> None:
    """From small to large, and one slide of repeated tiles."""
    facts = [middle(bench, s, bench.repeats if s == bench.sizes[-1] else 2) for s in bench.sizes]
    head = ["section", "channel MPix", "CPU s", "MPix per CPU s", "decode CPU s", "peak MB", "before MB", "cells", "record MB"]
    decoding = [f"{f['decode_cpu']:.2f}" for f in facts]
    simulated = bench.simulated
    with tempfile.TemporaryDirectory(dir=OUT) as folder:
        path = Path(folder) / "repeated.tiles"
        write_repeated(path, bench.slide(bench.sizes[-1]), simulated)
        far = one_pass(bench.slide(SIZES[0]), bench.panel, instead=path)
    mpix = 5 * simulated[0] * simulated[1] / 1e6
    far["mpix"] = mpix
    names = [*[size(s) for s in bench.sizes], f"{size(simulated)}, simulated"]
    rows = [scaling_row(n, f, d) for n, f, d in zip(names, [*facts, far], [*decoding, "none"], strict=True)]
    table(head, rows)
    area, time = np.log([f["mpix"] for f in facts]), np.log([f["cpu"] for f in facts])
    whole, last = np.polyfit(area, time, 1)[0], (time[-1] - time[-2]) / (area[-1] - area[-2])
    found = f"{whole:.2f}; {last:.2f} between the two largest"
    span = f"{facts[0]['mpix']:.0f} to {facts[-1]['mpix']:.0f} MPix"
    bench.tell(f"exponent of CPU time, {span}", "<= 1.05", found, max(whole, last) <= GOALS["exponent"])
    found = ", ".join(f"{f['peak']:.0f}" for f in facts) + f"; simulated {size(simulated)}: {far['peak']:.0f}"
    bench.tell(f"peak memory, MB, {span}", "flat, <= 600", found, max(f["peak"] for f in [*facts, far]) <= GOALS["peak"])
    beyond = np.log(far["cpu"] / facts[-1]["cpu"]) / np.log(mpix / facts[-1]["mpix"]) if mpix > facts[-1]["mpix"] else None
    found = f"{far['cpu']:.1f}" + (f"; exponent from the largest section {beyond:.2f}" if beyond else "") + " (its tiles need no decoding)"
    bench.tell(f"simulated {size(simulated)} x 5, CPU s", "<= 1.05", found, None if beyond is None else bool(beyond <= GOALS["exponent"]))


def processes(bench: Bench) -> None:
    """Two processes against one, twice, with pure computing in between."""
    slide = bench.slide(bench.sizes[-1])
    gain: list[float] = []
    control: list[float] = []
    cpu: list[float] = []
    for _ in range(2):
        with tempfile.TemporaryDirectory(dir=OUT) as root:
            tasks = write_study(Path(root), slide, bench.panel, copies=2)
            found = alone("correction", tasks[0])["correction"]
            a, b = (replace(t, correction=found) for t in tasks)
            one, (alone_facts,) = at_once([("measure", a, b)])
            burnt, _ = at_once([("burn", 2 * BURN_ROUNDS)])
            for task in (a, b):
                for record in task.records.glob("*.npz"):
                    record.unlink()
            two, both = at_once([("measure", a), ("measure", b)])
            burnt_two, _ = at_once([("burn", BURN_ROUNDS), ("burn", BURN_ROUNDS)])
        gain.append(one / two)
        control.append(burnt / burnt_two)
        cpu.append(sum(f["cpu"] for f in both) / alone_facts["cpu"])
    middle_gain = statistics.median(gain)
    found_text = f"{middle_gain:.2f} times ({', '.join(f'{g:.2f}' for g in gain)}); "
    found_text += f"pure computing {', '.join(f'{c:.2f}' for c in control)}"
    found_text += f"; CPU seconds grow {min(cpu):.2f} times; {len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}"
    bench.tell(
        f"2 processes on 2 sections of {size(bench.sizes[-1])} against 1",
        ">= 1.6 times",
        found_text,
        statistics.median(gain) >= GOALS["two"],
    )


def first_overview(bench: Bench) -> None:
    """The first look at each slide."""
    for shape in bench.sizes:
        runs = [alone("overview", bench.slide(shape), 4.0) for _ in range(3)]
        best = min(runs, key=lambda r: r["wall"])
        found = f"{best['wall']:.2f} (CPU {best['cpu']:.2f}; loading the readers before {best['import_wall']:.2f})"
        bench.tell(f"first overview (4 um), {size(shape)} x 5, wall s", "< 1", found, best["wall"] < GOALS["overview"])


def regions(bench: Bench) -> None:
    """Regions of every vendor file, and of a slide of ours."""
    vendor = sorted(p for p in VENDOR_FILES.iterdir() if p.suffix in VENDORS) if VENDOR_FILES.is_dir() else []
    if not vendor:
        print(f"no microscope files in {VENDOR_FILES}: only a slide of ours is read")
    found = alone("regions", [*vendor, bench.slide(bench.sizes[-1])], module="speed_regions")
    rows = []
    for r in found:
        if "note" in r:
            rows.append([r["file"], r["vendor"], "", "", "", "", "", r["note"]])
            continue
        shape = " x ".join(map(str, r["shape"])) + (f", {r['depth']} deep" if r["depth"] > 1 else "")
        times = [f"{r[k]:.2f}" for k in ("ours", "theirs", "ratio", "ratio_opened")]
        rows.append([r["file"], r["vendor"], shape, *times, "yes" if r["same"] else "NO"])
    table(["file", "against", "region", "ms", "theirs, ms", "ratio", "ratio with opening the file", "same pixels"], rows)
    for r in found:
        if "note" not in r:
            text = f"{r['ratio']:.2f} times; {r['ratio_opened']:.2f} with opening the file" + ("" if r["same"] else ", OTHER PIXELS")
            bench.tell(f"region of {r['file']} against {r['vendor']}", "<= 1.5 times", text, r["ratio"] <= GOALS["region"] and r["same"])
        else:
            bench.tell(f"region of {r['file']}", "<= 1.5 times", r["note"], None)


def peers(bench: Bench) -> None:
    """Other programs, by MPix per CPU second, and sevhisto on the same file."""
    program = HERE / "peers" / "run.py"
    shape = bench.sizes[-1] if bench.peers_on_largest else SIZES[1]
    results: list[dict[str, Any]] = []
    if program.is_file():
        done = subprocess.run([sys.executable, str(program), str(bench.slide(shape))], stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode == 0:
            results = json.loads(done.stdout.splitlines()[-1])["peers"]
    ours = middle(bench, shape, 2)
    same_file, at_best = ours["cpu"], middle(bench, bench.sizes[-1], bench.repeats)
    for who, background in (("ImageJ", "rolling"), ("ImageJ", "none"), ("scikit-image", None)):
        goal = PEER_GOALS[who, background]
        found = [r for r in results if r["program"] == who and background in (None, r["background"])]
        if not found:
            bench.tell(f"against {who}, background {background or 'any'}", f">= {goal:.0f} times", "not installed", None)
        for r in found:
            speed = at_best["mpix"] / at_best["cpu"]
            times, grown = r["cpu"] / same_file, speed * r["cpu"] / ours["mpix"]
            text = f"{times:.1f} times on {size(shape)} ({r['cpu']:.1f} CPU s, {r['peak_mb']} MB)"
            if shape != bench.sizes[-1]:
                text += f"; {grown:.1f} times by MPix a second, sevhisto on {size(bench.sizes[-1])}"
            name = f"against {who}, background {r['background']}, all channels"
            bench.tell(name, f">= {goal:.0f} times", text, times >= goal)


PARTS: dict[str, Callable[[Bench], None]] = {
    "pass": whole_pass,
    "scaling": scaling,
    "processes": processes,
    "overview": first_overview,
    "regions": regions,
    "peers": peers,
}


def main() -> None:
    """Measure what is asked for and print the tables."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--only", nargs="+", choices=tuple(PARTS), default=list(PARTS))
    ask.add_argument("--panel", choices=("A", "B"), default="A", help="B has two channels of fibres")
    ask.add_argument("--quick", action="store_true", help="leave the largest section out")
    ask.add_argument("--huge", action="store_true", help="simulate 100,000 x 80,000 pixels, not 32,768 x 24,576")
    ask.add_argument("--repeats", type=int, default=3, help="passes over the largest section")
    ask.add_argument("--peers-on-largest", action="store_true", help="other programs on the largest section too: ten minutes and more")
    o = ask.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    simulated = SIMULATED_HUGE if o.huge else SIMULATED_QUICK if o.quick else SIMULATED
    bench = Bench(SIZES[: 3 if o.quick else 4], simulated, o.panel, o.repeats, o.peers_on_largest)
    if {"pass", "scaling", "processes", "peers"} & set(o.only):
        warm(bench)
    for name in PARTS:
        if name in o.only:
            print(f"... {name}", file=sys.stderr, flush=True)
            PARTS[name](bench)
    print(f"\nPanel {o.panel}, 5 channels, {UM:g} um/px, one thread; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    table(["figure", "asked", "measured", ""], bench.rows)


if __name__ == "__main__":
    main()
