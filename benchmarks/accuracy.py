"""Does the program see what is there? Every accuracy script of this folder, one after the other, and one table of what is asked.

What a script prints goes to benchmarks/out/<script>.txt, its pictures beside it; a script that already ran at this revision of the
program is not run again, unless it is named with --only. Look at the pictures: many wrong numbers are obvious in one.

    .venv/bin/python benchmarks/accuracy.py                       # everything: about two hours of one CPU
    .venv/bin/python benchmarks/accuracy.py --quick               # fewer seeds: ten minutes
    .venv/bin/python benchmarks/accuracy.py --only tissue nuclei
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
from asked import OUT, handed_in, show

HERE = Path(__file__).parent
SCRIPTS = ("nuclei", "ecm", "tissue", "lesion", "background", "classifier", "shading", "cells", "sections", "quality")
"""Without `accuracy_`; the quick ones first."""
WITH_QUICK = ("lesion", "sections", "background", "quality", "shading")


def revision() -> str:
    """Return the commit of the checkout; empty where it is changed, so that nothing stands for it."""
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=HERE, capture_output=True, text=True).stdout
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True).stdout.strip()
    return "" if changed else head


def run(name: str, quick: bool) -> bool:
    """Run one script; return whether it ended well."""
    start = time.monotonic()
    arguments = ["--quick"] if quick and name in WITH_QUICK else []
    print(f"{name} ... ", end="", flush=True)
    with (OUT / f"accuracy_{name}.txt").open("w", encoding="utf-8") as out:
        done = subprocess.run([sys.executable, str(HERE / f"accuracy_{name}.py"), *arguments], stdout=out, stderr=subprocess.STDOUT)
    print(f"{time.monotonic() - start:.0f} s" if done.returncode == 0 else f"failed: see {OUT / f'accuracy_{name}.txt'}")
    return done.returncode == 0


def main() -> None:
    """Run what is wanted and print the table."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--only", nargs="+", choices=SCRIPTS, default=[])
    ask.add_argument("--quick", action="store_true")
    o = ask.parse_args()
    OUT.mkdir(exist_ok=True)
    now = f"{revision()} {'quick' if o.quick else 'full'}"
    tables, failed = [], []
    for name in o.only or SCRIPTS:
        stamp = OUT / f"accuracy_{name}.revision"
        if name in o.only or now.startswith(" ") or not stamp.exists() or stamp.read_text("utf-8") != now:
            stamp.unlink(missing_ok=True)
            if not run(name, o.quick):
                failed.append(name)
                continue
            stamp.write_text(now, "utf-8")
        tables.append(handed_in(f"accuracy_{name}"))
    if tables:
        show("asked and measured", pd.concat(tables))
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
