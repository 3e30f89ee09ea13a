"""How long the report of 288 sections takes, how large it is, and how soon a browser shows it.

python benchmarks/report.py [--out DIR] [--jobs N]

A small synthetic study is measured (a minute), then its slides are listed six times under other names, with their records, as in decide.py:
24 animals, 6 sections, 2 panels and the controls. Memory is the peak of one process and of the largest of its children.
First paint, response to the filter and printing are told by Chromium, where it is installed and playwright too (`pip install playwright`).
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
from decide import COPIES, make

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def list_again(small: Path, out: Path) -> None:
    """Write a study to `out` that lists the animals of `small` COPIES times; their slides are links, their records copies."""
    shutil.copytree(small / "results" / "records", out / "results" / "records")
    shutil.copy(small / "study.toml", out)
    (out / "slides").mkdir()
    slides = pd.read_csv(small / "slides.csv", dtype=str, keep_default_na=False)
    for path in (small / "slides").iterdir():
        os.link(path, out / "slides" / path.name)
    for name in ("slides.csv", "animals.csv", "motor.csv"):
        sheet = pd.read_csv(small / name, dtype=str, keep_default_na=False)
        ours = sheet[sheet["animal"].str.startswith("R")]
        parts = [sheet]
        for i in range(1, COPIES):
            copy = ours.assign(animal=ours["animal"] + f"copy{i}")
            if "file" in copy:
                copy["file"] = [f"copy{i}_{file}" for file in copy["file"]]
            parts.append(copy)
        pd.concat(parts, ignore_index=True).to_csv(out / name, index=False)
    for file in slides.loc[slides["animal"].str.startswith("R"), "file"].unique():
        for i in range(1, COPIES):
            os.link(small / "slides" / file, out / "slides" / f"copy{i}_{file}")


def timed(*words: str) -> None:
    """Run a command of sevhisto and print the time and memory that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "sevhisto.cli", *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    shown = " ".join(w for w in words if not w.startswith("/"))
    took = time.perf_counter() - start
    print(f"{shown:<40} {took:6.1f} s, {cpu:6.1f} CPU s, largest process {after.ru_maxrss / 1024:.0f} MB", flush=True)


def browse(page: Path) -> None:
    """Print how soon Chromium paints the page, answers the filter and prints it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        shown = browser.new_page()
        shown.goto(page.absolute().as_uri())
        paint = shown.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        whole = shown.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
        shown.fill("input[name=words]", "copy3")
        start = time.perf_counter()
        shown.fill("input[name=words]", "copy4")
        shown.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        answer = time.perf_counter() - start
        told = shown.locator(".count").inner_text()
        shown.fill("input[name=words]", "")
        start = time.perf_counter()
        pdf = shown.pdf(prefer_css_page_size=True)
        took = time.perf_counter() - start
        browser.close()
    print(f"{page.name}: {page.stat().st_size / 1e6:.1f} MB; first paint {paint / 1000:.2f} s, whole page {whole / 1000:.2f} s")
    print(f"filter answers in {answer:.2f} s ({told}); PDF {len(pdf) / 1e6:.1f} MB in {took:.1f} s")


def main() -> None:
    """Make the studies, write the reports, and open the larger one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out" / "decide", help="where the studies are kept")
    parser.add_argument("--jobs", type=int, default=1)
    args = parser.parse_args()
    make(args.out)
    large = (args.out / "listed").absolute()
    jobs = ["--jobs", str(args.jobs)]
    if not (large / "results" / "comparisons.csv").is_file():
        shutil.rmtree(large, ignore_errors=True)
        list_again(args.out, large)
        timed("run", str(large), *jobs)
        timed("compare", str(large), "--unblind", *jobs)
    page = large / "results" / "report.html"
    timed("report", str(large), "--no-pictures", *jobs)
    print(f"without pictures: {page.stat().st_size / 1e6:.2f} MB")
    timed("report", str(large), *jobs)
    if CHROMIUM is None:
        print("No Chromium here: nothing is told of the browser.")
    else:
        browse(page)


if __name__ == "__main__":
    main()
