"""How long do other programs take for the simplest part of the task: background, blur, threshold, objects, area and mean per channel?

Each runs in a process of its own, from start to end: reading, and starting Python or Java, count. What is not installed is skipped.

wall, CPU    seconds; CPU of all threads
peak MB      most memory held at once (RSS); Java takes what its limit (--java-mb) lets it take
MPix/CPU s   megapixels of one channel per CPU second

ImageJ alone opens no tiled and compressed TIFF, so the planes are written as plain TIFF for it first; that is not counted. It needs
Java and `apt install imagej`, or ij.jar named by the environment variable IJ_JAR; and without a display, `apt install xvfb`.

    .venv/bin/python benchmarks/peers/run.py FILE.ome.tif
    .venv/bin/python benchmarks/peers/run.py FILE.ome.tif --slow     # scikit-image's rolling ball too: 50 times slower
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import tifffile

HERE = Path(__file__).parent
JARS = (os.environ.get("IJ_JAR", ""), "/usr/share/java/ij.jar")
Result = dict[str, Any]


def timed(command: list[str]) -> tuple[Result, str]:
    """Run a command; return its wall and CPU seconds and peak memory, and what it printed. RuntimeError if it fails."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        start = time.monotonic()
        child = subprocess.Popen(command, stdout=out, stderr=err)
        _, status, used = os.wait4(child.pid, 0)  # this child's use, with that of its own children
        wall = time.monotonic() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if child.returncode:
            raise RuntimeError(f"{' '.join(command[:3])} ... ended with {child.returncode}: {err.read()[-500:]}")
        peak = used.ru_maxrss / (1024 if sys.platform != "darwin" else 2**20)
        return {"wall": round(wall, 2), "cpu": round(used.ru_utime + used.ru_stime, 2), "peak_mb": round(peak)}, out.read()


def scikit_image(file: Path, background: str) -> tuple[Result, list[Result]]:
    """Time the plain script."""
    facts, said = timed([sys.executable, str(HERE / "scikit_image_plain.py"), str(file), "--background", background])
    return facts, json.loads(said)


def imagej(jar: Path, planes: Path, channels: int, background: str, java_mb: int) -> tuple[Result, list[Result]]:
    """Time the macro; ImageJ opens no window for it, but does not start without a display."""
    arguments = f"{planes}|{channels}|{background}"
    display = [] if os.environ.get("DISPLAY") else ["xvfb-run", "-a", "-w", "0"]
    java = ["java", f"-Xmx{java_mb}m", "-cp", str(jar), "ij.ImageJ"]
    facts, said = timed([*display, *java, "-batch", str(HERE / "imagej.ijm"), arguments])
    lines = [line.split() for line in said.splitlines() if line.startswith("channel ")]
    if len(lines) != channels:
        raise RuntimeError(f"ImageJ measured {len(lines)} of {channels} channels: {said[-500:]}")
    return facts, [{"objects": int(w[3]), "positive_pct": float(w[5]), "mean": float(w[7])} for w in lines]


def peers(file: Path, slow: bool = False, java_mb: int = 4000) -> list[Result]:
    """Time every program that is installed on every channel of the file."""
    results = []
    with tifffile.TiffFile(file) as tiff:
        pages = tiff.series[0].levels[0].pages
        channels, (height, width) = len(pages), pages[0].shape[-2:]

    def add(program: str, background: str, facts: Result, found: list[Result]) -> None:
        per_cpu = round(channels * height * width / 1e6 / facts["cpu"], 2)
        results.append({"program": program, "background": background, **facts, "mpix_per_cpu_s": per_cpu, "channels": found})

    if importlib.util.find_spec("skimage"):
        for background in ("none", "gaussian", "opening", *(["rolling"] if slow else [])):
            add("scikit-image", background, *scikit_image(file, background))
    jar = next((Path(j) for j in JARS if j and Path(j).is_file()), None)
    display = os.environ.get("DISPLAY") or shutil.which("xvfb-run")
    if jar is None or shutil.which("java") is None or not display:
        print("ImageJ (or a display for it) is not installed, and left out: apt install imagej xvfb", file=sys.stderr)
        return results
    with tempfile.TemporaryDirectory() as folder:
        with tifffile.TiffFile(file) as tiff:
            for c, page in enumerate(tiff.series[0].levels[0].pages):
                tifffile.imwrite(Path(folder) / f"c{c}.tif", page.asarray(), photometric="minisblack")
        for background in ("none", "rolling"):
            add("ImageJ", background, *imagej(jar, Path(folder), channels, background, java_mb))
    return results


def main() -> None:
    """Print a table, and everything as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--slow", action="store_true")
    parser.add_argument("--java-mb", type=int, default=4000)
    args = parser.parse_args()
    results = peers(args.file, args.slow, args.java_mb)
    print("| program | background | wall s | CPU s | MPix/CPU s | peak MB | objects by channel | positive % by channel |")
    print("|---|---|---|---|---|---|---|---|")
    for r in results:
        objects = " ".join(str(c["objects"]) for c in r["channels"])
        positive = " ".join(f"{c['positive_pct']:.2f}" for c in r["channels"])
        cells = (r["program"], r["background"], r["wall"], r["cpu"], r["mpix_per_cpu_s"], r["peak_mb"], objects, positive)
        print("| " + " | ".join(map(str, cells)) + " |")
    print(json.dumps({"file": args.file.name, "peers": results}))


if __name__ == "__main__":
    main()
