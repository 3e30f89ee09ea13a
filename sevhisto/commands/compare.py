"""`sevhisto compare`."""

from __future__ import annotations

from textwrap import wrap
from typing import Annotated

import typer

from sevhisto.commands.options import Jobs, Memory, StudyFolder, processes
from sevhisto.commands.progress import progress_bars
from sevhisto.commands.voice import answer_in_short, found, next_step, note, say, typed, voice, width

EXAMPLES = ("sevhisto compare my_study", "sevhisto compare my_study --unblind")


def compare(
    study: StudyFolder,
    unblind: Annotated[
        bool, typer.Option("--unblind", help="Open the key: contours, thresholds and exclusions are hashed and recorded first.")
    ] = False,
    jobs: Jobs = None,
    memory: Memory = None,
) -> None:
    """Compare the groups, per animal, and relate matrix to motor recovery. Groups stay codes until --unblind.

    Every result is made again with other thresholds, lesion borders and zone edges, and without flagged sections, each batch, each animal.
    """
    from sevhisto.pipeline import compare as make
    from sevhisto.report.brief import brief
    from sevhisto.report.words import comparison_sentence

    n = processes(jobs, memory)
    with progress_bars(n) as progress:
        done = make(study, unblind, n, progress)
    role = done.comparisons["role"]
    primary, others = done.comparisons[role == "primary"], done.comparisons[role != "primary"]
    sentences = [comparison_sentence({str(k): v for k, v in row.items()}) for row in primary.to_dict("records")]
    lines = [*brief(primary, width()), ""]
    if voice.verbose:
        lines += [line for text in sentences for line in (*wrap(text, width()), "")]
        lines += ["Secondary outcomes", *brief(others, width()), ""]
    answer_in_short(lines, sentences)
    for text in done.notes:
        note(text)
    written = f"comparisons.csv ({len(done.comparisons)} rows), relations.csv ({len(done.relations)} rows) and specifications.csv"
    say(f"Wrote {written} to {done.results}.")
    found(results=done.results, blinded=done.blinded, primary=primary)
    closed = "   (groups are codes; add --unblind to compare to open the key)" if done.blinded else ""
    next_step(f"sevhisto report {typed(study)}{closed}; sevhisto export {typed(study)} --to prism --to r")
