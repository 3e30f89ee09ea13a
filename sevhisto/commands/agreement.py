"""`sevhisto agreement`."""

from __future__ import annotations

import math
from typing import Annotated, Optional

import typer

from sevhisto.commands.options import Jobs, StudyFolder
from sevhisto.commands.progress import progress_bars
from sevhisto.commands.voice import answer, found, next_step, note, say, typed

EXAMPLES = (
    "sevhisto agreement my_study --first auto --second corrections",
    "sevhisto agreement my_study --first corrections --second corrections_anna --more auto",
)

READING = "`auto` (the program's outlines), a folder of drawn outlines or of label images, or a CSV table of counts."


def agreement(
    study: StudyFolder,
    first: Annotated[str, typer.Option("--first", metavar="READING", help=READING)],
    second: Annotated[str, typer.Option("--second", metavar="READING", help="What it is compared with.")],
    more: Annotated[Optional[list[str]], typer.Option("--more", metavar="READING", help="A further reading; may be repeated.")] = None,  # noqa: UP045
    jobs: Jobs = None,
) -> None:
    """Say how far readings of the same sections agree: Dice, ICC and Bland-Altman, with a figure, in results/agreement/."""
    from sevhisto.pipeline import agreement as compare

    with progress_bars(jobs or 1) as progress:
        done = compare(study, [first, second, *(more or [])], jobs, progress)
    for r in done.summary.to_dict("records"):
        icc = "no ICC" if math.isnan(r["icc_a1"]) else f"ICC(A,1) {r['icc_a1']:.3f} ({r['icc_a1_from']:.3f} to {r['icc_a1_to']:.3f})"
        limits = "" if math.isnan(r["bias"]) else f", bias {r['bias']:.4g} (limits {r['limit_low']:.4g} to {r['limit_high']:.4g})"
        dice = "" if math.isnan(r["mean_dice"]) else f", Dice {r['mean_dice']:.3f}"
        f1 = "" if math.isnan(r["mean_f1"]) else f", F1 {r['mean_f1']:.3f}"
        answer(f"{r['kind']}, {r['measure']}, {r['readings']}: n {r['n']} of {r['n_animals']} animals, {icc}{limits}{dice}{f1}")
    apart = int((done.sections["reason"] != "").sum())
    if apart:
        note(f"{apart} pairs could not be compared; agreement.csv says why.")
    found(folder=done.folder, summary=done.summary)
    next_step(f"open agreement.svg in {typed(done.folder)}")
    say(f"Wrote agreement.csv, agreement_summary.csv, agreement.svg and agreement.png to {done.folder}.")
