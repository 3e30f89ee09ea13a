"""How long the slide viewer's tiles take, how much memory, and how large they are.

python benchmarks/slides.py [--largest]

A synthetic five-channel section of 8192 x 6144 pixels at 0.5 um (the one of speed.py, made where it is missing) is tiled at 1 um and at
full resolution, in a process of its own with one thread; a simulated slide of 16384 x 12288 (repeated tiles, no decoding) shows whether
memory grows with it; `--largest` takes the real one of that size. The contrast is much like that of the report: percentiles 1 and 99.8.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
OUT = HERE / "out" / "speed"
PANEL = "A"
SIZE, LARGEST = (6144, 8192), (12288, 16384)


def tile(path: Path, finest_um: float) -> dict[str, Any]:
    """Make the tiles of a whole slide, and return time, peak of memory, bytes and files."""
    sys.path.insert(0, str(HERE))  # a process of speed_worker looks elsewhere
    from speed_slides import UM, register, write_study

    from sevhisto.io.slides import open_slide
    from sevhisto.io.sources import look_at
    from sevhisto.pipeline.slide_tiles import SectionJob, make_tiles, read_seal
    from sevhisto.report.overlay import channel_colours
    from sevhisto.report.tiles import reduction
    from sevhisto.types import Correction, SectionView

    register()
    with tempfile.TemporaryDirectory(dir=OUT) as made:
        folder = Path(made)
        task = write_study(folder, path, PANEL)[0] if path.suffix != ".tiles" else _as_study(folder, path)
        markers = task.panel.stained.markers
        n = len(markers)
        task = replace(task, correction=Correction(np.zeros(n), np.eye(n), ("",) * n), sha256=look_at(task.path).sha256)
        with open_slide(task.path, 1, None) as slide:
            shape, middle = slide.shape, slide.overview(16.0)[0]
        contrast = {m: tuple(np.percentile(plane, (1, 99.8))) for m, plane in zip(markers, middle, strict=True)}
        view = SectionView({"corner_px": [0, 0], "shape_px": shape, "sha256": task.sha256}, markers, {}, {})
        colours = channel_colours(markers, {c.marker: c.role for c in task.panel.channels})
        job = SectionJob(task, Path(), folder / "tiles" / "one", reduction(UM, finest_um), contrast, colours, None, None, {})  # type: ignore[arg-type]
        at_rest = _peak_mb()
        before, start = time.process_time(), time.perf_counter()
        make_tiles(job, view)
        cpu, wall = time.process_time() - before, time.perf_counter() - start
        assert read_seal(job.folder) is not None
        sizes = [p.stat().st_size for p in job.folder.rglob("*.jpg")]
        pixels = int(np.prod([-(-v // job.factor) for v in shape]))
    return {
        "cpu": cpu,
        "wall": wall,
        "peak": _peak_mb(),
        "at_rest": at_rest,
        "bytes": sum(sizes),
        "files": len(sizes),
        "pixels": pixels * n,
    }


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)


def _as_study(folder: Path, path: Path) -> Any:
    from speed_slides import write_study

    tasks = write_study(folder, path, PANEL)
    shutil.copy(path.with_suffix(".npz"), tasks[0].path.with_suffix(".npz"))
    return tasks[0]


def main() -> None:
    """Print the table."""
    from speed_slides import UM, write_repeated
    from speed_worker import alone

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", action="store_true", help="tile the real slide of 16384 x 12288 too (9 GB to make it)")
    args = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    slides = {shape: OUT / f"{PANEL}_{shape[1]}x{shape[0]}.ome.tif" for shape in (SIZE, *([LARGEST] if args.largest else []))}
    for shape, path in slides.items():
        if not path.is_file():
            alone("make_slide", path, shape, PANEL, module="speed_slides")
    simulated = OUT / "slides_16384x12288.tiles"
    write_repeated(simulated, slides[SIZE], LARGEST)
    print(
        "| slide | um/px | CPU s | wall s | peak MB | before it began | MB on disk | files | bytes per pixel and channel |\n|"
        + " --- |" * 9
    )
    for path in (*slides.values(), simulated):
        for finest_um in (1.0, 0.0):
            f = alone("tile", path, finest_um, module="slides")
            disk = f"{f['bytes'] / 1e6:.1f} | {f['files']} | {f['bytes'] / f['pixels']:.3f}"
            print(
                f"| {path.name} | {finest_um or UM:g} | {f['cpu']:.1f} | {f['wall']:.1f} | {f['peak']:.0f} | {f['at_rest']:.0f} | {disk} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
