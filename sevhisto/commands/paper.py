"""`sevhisto paper`."""

from __future__ import annotations

from sevhisto.commands.options import StudyFolder
from sevhisto.commands.voice import found, next_step, say, typed

EXAMPLES = ("sevhisto paper my_study",)


def paper(study: StudyFolder) -> None:
    """Write results/paper/: methods and results as text, checklists, every plot at journal widths (SVG, PDF, CSV), plates of sections."""
    from sevhisto.pipeline import paper as write

    written = write(study)
    say(f"Wrote {len(written)} files to {written[0].parent}." if written else "There is nothing to draw yet.")
    found(files=written)
    if written:
        next_step(f"read methods.md in {typed(written[0].parent)}: what the study files do not say stands there as [TO FILL: ...]")
