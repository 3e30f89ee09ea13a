"""How long `sevhisto --help` and `--version` take, each the median of several processes.

python benchmarks/startup.py [--runs N]
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import numpy as np

ASKED_S = 0.4


def seconds(words: list[str]) -> tuple[float, float]:
    """Return wall and CPU time of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "sevhisto.cli", *words], capture_output=True, check=True)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    """Time both, and hold the help against what is asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    seconds(["--help"])  # the first one writes compiled modules
    medians = {}
    for words in (["--help"], ["run", "--help"], ["--version"]):
        walls, cpus = zip(*(seconds(words) for _ in range(runs)), strict=True)
        median, cpu = float(np.median(walls)), float(np.median(cpus))
        medians[" ".join(words)] = median
        print(f"sevhisto {' '.join(words):<11} {median:.3f} s ({min(walls):.3f} to {max(walls):.3f}), CPU {cpu:.3f} s")
    print(f"asked for --help: {ASKED_S} s")
    return 0 if medians["--help"] < ASKED_S else 1


if __name__ == "__main__":
    sys.exit(main())
