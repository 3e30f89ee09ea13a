"""`sevhisto report`."""

from __future__ import annotations

from sevhisto.commands.options import Jobs, Memory, StudyFolder, processes
from sevhisto.commands.voice import found, next_step, say

EXAMPLES = ("sevhisto report my_study",)


def report(study: StudyFolder, jobs: Jobs = None, memory: Memory = None) -> None:
    """Write results/report.html: one file, offline, with overlays of every section."""
    from sevhisto.pipeline import report as write

    path = write(study, processes(jobs, memory))
    say(f"Wrote {path}")
    found(report=path)
    next_step(f"open {path} in a browser; for Prism, R or QuPath: sevhisto export {study} --to FORMAT")
