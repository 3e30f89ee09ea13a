"""Inject faults into what sevhisto reads and runs, and count what becomes of them.

    python benchmarks/faults.py                          all parts, at full size
    python benchmarks/faults.py bytes cases --share 0.1  some parts, a tenth of the faults
    python benchmarks/faults.py fuzz --minutes 10        longer fuzzing

A part is a function in `PARTS` of one of `MODULES`; it takes `Options` and yields `Row`. Exit status 1 where anything was silent, lost,
changed or crashed.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from faults_row import Options, Part, Row

MODULES = ("faults_inputs", "faults_engine")
SHARED = Path(__file__).parents[1].parent / "shared"
HEAD = ("part", "what", "injected", "survived", "lost", "changed", "silent", "crashed", "note")


def parts() -> dict[str, Part]:
    """Return every part by name, in the order of the modules."""
    found: dict[str, Part] = {}
    for name in MODULES:
        if importlib.util.find_spec(name) is not None:
            found |= getattr(importlib.import_module(name), "PARTS", {})
    return found


def line(row: Row) -> str:
    """Return a row as Markdown."""
    return "| " + " | ".join(str(getattr(row, name)) for name in HEAD) + " |"


def main() -> int:
    """Run the parts that are asked for, and print the table."""
    known = parts()
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("parts", nargs="*", help=f"of {', '.join(known)}; all if none is given")
    ask.add_argument("--share", type=float, default=1.0, help="of the number of faults that are injected")
    ask.add_argument("--minutes", type=float, default=10.0, help="of fuzzing, for each target")
    ask.add_argument("--targets", nargs="+", default=(), help="of fuzzing: study, preflight, geojson, roi; all if none is given")
    ask.add_argument("--seed", type=int, default=1)
    ask.add_argument("--data", type=Path, default=SHARED / "data", help="folder of real slides")
    ask.add_argument("--bad-inputs", type=Path, default=SHARED / "bad_inputs", help="folder of gen_bad_tiffs.py")
    given = ask.parse_args()
    unknown = set(given.parts) - set(known)
    if unknown:
        ask.error(f"unknown part {sorted(unknown)[0]!r}; known: {', '.join(known)}")
    scratch = Path(tempfile.mkdtemp(prefix="sevhisto-faults-"))
    options = Options(scratch, given.share, given.minutes, tuple(given.targets), given.seed, given.data, given.bad_inputs)
    rows: list[Row] = []
    try:
        print("| " + " | ".join(HEAD) + " |\n" + "|---" * len(HEAD) + "|", flush=True)
        for name in given.parts or known:
            started = time.monotonic()
            for row in known[name](replace(options, scratch=scratch / name)):
                rows.append(row)
                print(line(row), flush=True)
            print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return int(any(r.lost or r.changed or r.silent or r.crashed or r.survived < r.injected for r in rows))


if __name__ == "__main__":
    sys.exit(main())
