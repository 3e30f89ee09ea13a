"""How long do the scripts of another folder take on one of our sections: a plain scikit-image script and an ImageJ macro that labs use?

They are those that the project's goals were set with: `plain.py FILE GEOMETRY --bg gauss` and `imagej_lab.ijm` (called with the start of
the planes' names, radius, channels, repeats and background). Each runs in a process of its own, from start to end; sevhisto measures the
same file before and after them. What is not installed, or not in the folder, is left out.

    .venv/bin/python benchmarks/peers/given.py ../shared/peers            # a quarter of an hour, 12 GB
    .venv/bin/python benchmarks/peers/given.py ../shared/peers --small    # the section of 4096 x 3072 pixels
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import tifffile

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from run import JARS, timed
from speed import OUT, SIZES, Bench, one_pass, size, table


def main() -> None:
    """Time the scripts and print a table."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("scripts", type=Path)
    ask.add_argument("--small", action="store_true")
    o = ask.parse_args()
    shape = SIZES[1 if o.small else 3]
    bench = Bench([shape], shape, "A", 1, False)
    slide = bench.slide(shape)
    ours = [one_pass(slide, "A")]
    rows = []
    with tempfile.TemporaryDirectory(dir=OUT) as name:
        folder = Path(name)
        angle, (h, w) = np.linspace(0, 2 * np.pi, 60), shape
        outline = np.stack([w / 2 + w / 8 * np.cos(angle), h / 3 + h / 8 * np.sin(angle)], 1)  # x, y: a lesion for its zones
        np.savez(folder / "geometry.npz", lesion_poly=outline)
        if (o.scripts / "plain.py").is_file():
            command = [
                sys.executable,
                str(o.scripts / "plain.py"),
                str(slide),
                str(folder / "geometry.npz"),
                "--out",
                str(folder / "plain"),
            ]
            rows.append(("plain.py, Gaussian background", timed([*command, "--bg", "gauss"])[0]))
        jar = next((j for j in JARS if j and Path(j).is_file()), None)
        if jar and (o.scripts / "imagej_lab.ijm").is_file():
            for c, plane in enumerate(tifffile.imread(slide, level=0)):
                tifffile.imwrite(folder / f"p_c{c}.tif", plane)
            for background in ("roll", "none"):
                arguments = f"{folder / 'p'},50,0-1-2-3-4,1,{background}"
                java = ["xvfb-run", "-a", "-w", "0", "java", "-Xmx8g", "-cp", jar, "ij.ImageJ"]
                rows.append((f"imagej_lab.ijm, {background}", timed([*java, "-batch", str(o.scripts / "imagej_lab.ijm"), arguments])[0]))
    ours.append(one_pass(slide, "A"))
    mean = sum(f["cpu"] for f in ours) / len(ours)
    found = [("sevhisto", f"{mean:.1f}", f"{ours[0]['wall']:.0f}", f"{ours[0]['peak']:.0f}", "1")]
    found += [(who, f"{f['cpu']:.1f}", f"{f['wall']:.0f}", str(f["peak_mb"]), f"{f['cpu'] / mean:.1f}") for who, f in rows]
    table([f"all channels of {size(shape)}", "CPU s", "wall s", "peak MB", "times sevhisto's CPU s"], found)


if __name__ == "__main__":
    main()
