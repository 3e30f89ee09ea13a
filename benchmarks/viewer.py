"""How long a person waits in the viewer: 288 sections, and one section of 16384 x 12288 pixels in five channels. Needs a screen, or Xvfb.

xvfb-run -a python benchmarks/viewer.py [--out DIR] [--only many large]

The study of benchmarks/decide.py is measured (a minute) and its 48 sections are listed six times, each with a record of its own (another
study in DIR/small is copied as often as makes 288); the large section is the slide of benchmarks/speed.py. Both are made once. Times are of
the wall, from a window that is up, with records on disk.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import decide
import numpy as np
from speed_slides import make_slide, write_study

from sevhisto.io.study import load_study
from sevhisto.pipeline import run
from sevhisto.pipeline.deciding import decide as make_tables
from sevhisto.pipeline.naming import Names
from sevhisto.pipeline.reviewing import open_review
from sevhisto.pipeline.running import unaware
from sevhisto.pipeline.tables import write_results

OUT = Path(__file__).parent / "out" / "viewer"
LARGE = (12288, 16384)
STEPS, SECTIONS, N_MANY = 40, 100, 288
GOALS = {"first": 3.0, "next": 0.3, "step": 0.05, "growth": 20.0}
"""Asked: seconds to the first picture, to the next section, of a slider's step; MB that 100 sections may leave behind."""


def large_study(out: Path) -> Path:
    """Return a measured study of one section of 200 megapixels, made where it is missing."""
    root = out / "large"
    if not (root / "results" / "run.json").is_file():
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        slide = out / "A_16384x12288.ome.tif"
        if not slide.is_file():
            make_slide(slide, LARGE, "A")
        write_study(root, slide, "A")
        run(root, jobs=1)
    return root


def many_study(out: Path) -> Path:
    """Return a measured study of 288 sections: every animal of the small one six times, every section with a record of its own."""
    root, small = out / "many", out / "small"
    if (root / "results" / "animals.csv").is_file():
        return root
    decide.make(small)
    measured = load_study(small)
    n = int(measured.slides["role"].eq("sample").sum())
    study, outcomes = decide.many(measured, round(N_MANY / n))
    shutil.rmtree(root, ignore_errors=True)
    (root / "slides").mkdir(parents=True)
    files = []
    for row in study.slides.itertuples():
        copy = row.animal.partition("copy")[2]
        files.append(f"copy{copy}_{row.file}" if copy else row.file)
        if not (root / "slides" / files[-1]).exists():
            (root / "slides" / files[-1]).hardlink_to(study.slide_path(row.file).resolve())
    shutil.copy(small / "study.toml", root)
    slides = study.slides.assign(file=files, piece=study.slides["piece"].astype(str), flipped="")
    for name, sheet in (("slides", slides), ("animals", study.animals.assign(excluded="")), ("motor", study.motor)):
        sheet.to_csv(root / f"{name}.csv", index=False)
    own, whole = [], load_study(root)
    for row, outcome in zip(whole.slides.index, outcomes, strict=True):
        record = outcome.record
        assert record is not None
        place = root / "results" / "records" / f"{row:032x}.{record.name.partition('.')[2]}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.hardlink_to(record)
        own.append(replace(outcome, row=int(row), record=place))
    write_results(root / "results", make_tables(unaware(whole), own, Names.of(decide.codes(whole), False), [], {}), set())
    return root


def resident_mb() -> float:
    """Return the memory of this process."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Waiting:
    """A window, and the time until it has drawn what was asked for."""

    def __init__(self) -> None:
        import napari
        from napari.qt import get_qapp

        self.viewer: Any = napari.Viewer(show=True)
        self.app = get_qapp()
        self.draw()

    def draw(self) -> None:
        """Do all that waits, drawing too."""
        self.viewer.window._qt_viewer.canvas.native.update()
        for _ in range(3):
            self.app.processEvents()

    def timed(self, do: Callable[[], Any]) -> tuple[float, float]:
        """Return the seconds until something is done and drawn, of the wall and of the processor."""
        start, cpu = time.perf_counter(), time.process_time()
        do()
        self.draw()
        return time.perf_counter() - start, time.process_time() - cpu


def middle(times: list[tuple[float, float]]) -> str:
    """Return medians and the longest of the wall, in ms."""
    wall, cpu = (1000 * float(np.median([t[k] for t in times])) for k in (0, 1))
    return f"{wall:.0f}; {cpu:.0f} CPU; longest {1000 * max(t[0] for t in times):.0f}"


def watch(root: Path, name: str) -> Iterator[tuple[str, str, str]]:
    """Yield what a person waits for in a study, as it is timed."""
    from sevhisto_napari.review import ReviewDock

    window = Waiting()
    held: list[Any] = []

    def first() -> None:
        held.append(ReviewDock(window.viewer, root))
        window.viewer.window.add_dock_widget(held[0], name="Review")

    yield f"{name}: first picture, s", f"< {GOALS['first']:g}", "{:.1f}; {:.1f} CPU".format(*window.timed(first))
    dock, n = held[0], len(open_review(root).queue)
    yield _slider(window, dock, name)
    if n > 1:
        dock.tabs.setCurrentIndex(0)
        yield from _sections(window, dock, n, name)
    window.viewer.close()


def _sections(window: Waiting, dock: Any, n: int, name: str) -> list[tuple[str, str, str]]:
    times, memory = [], []
    for _ in range(min(SECTIONS + 20, n - 1)):
        times.append(window.timed(lambda: dock.step(1)))
        memory.append(resident_mb())
    later = times[20:]  # the first of each batch makes its contrast
    growth = f"{memory[-1] - memory[19]:+.0f} ({memory[-1]:.0f} in all)"
    return [
        (f"{name}: next section of {n}, ms (median)", f"< {1000 * GOALS['next']:.0f}", middle(later)),
        (f"{name}: memory after {len(times) - 20} more sections, MB", f"flat (< {GOALS['growth']:g})", growth),
    ]


def _slider(window: Waiting, dock: Any, name: str) -> tuple[str, str, str]:
    """Time steps of the slider of the threshold page, marker by marker."""
    dock.tabs.setCurrentWidget(dock.thresholds)
    window.draw()
    page = dock.thresholds
    slider, start = page.slider, page.slider.value()
    places = [slider.minimum() + (start - slider.minimum() + k * 3) % (slider.maximum() - slider.minimum()) for k in range(STEPS)]
    times = [window.timed(lambda at=at: slider.setValue(at)) for at in places]
    return f"{name}: step of the threshold's slider, ms (median)", f"< {1000 * GOALS['step']:.0f}", middle(times)


def main() -> None:
    """Make the studies, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT, help="where the studies are kept")
    parser.add_argument("--only", nargs="+", choices=("many", "large"), default=["many", "large"])
    parser.add_argument("--make", action="store_true", help="make the studies only")
    args = parser.parse_args()
    studies = {"many": many_study, "large": large_study}
    made = {name: studies[name](args.out) for name in args.only}
    if args.make:
        return
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n\n| figure | asked | measured |\n| --- | --- | --- |")
    for name, root in made.items():
        for row in watch(root, {"many": "288 sections", "large": "16384 x 12288 x 5"}[name]):
            print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
