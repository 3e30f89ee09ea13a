"""`sevhisto review`."""

from __future__ import annotations

from sevhisto.commands.options import StudyFolder

EXAMPLES = ("sevhisto review my_study",)


def review(study: StudyFolder) -> None:
    """Look at the sections one after the other in napari, the worst first. N and P go on and back."""
    from sevhisto_napari.window import open_window

    open_window(study)
