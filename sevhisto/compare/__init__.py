"""Animal tables to results: endpoints, contrasts, motor outcome, matrix against recovery."""

from typing import TYPE_CHECKING

from sevhisto.lazy import attributes

if TYPE_CHECKING:
    from sevhisto.compare.contrasts import compare
    from sevhisto.compare.effects import Effect, benjamini_hochberg, contrast, holm
    from sevhisto.compare.endpoints import choose_endpoints, wide
    from sevhisto.compare.motor import summarise_motor
    from sevhisto.compare.protocols import default_contrasts, design_notes, dose_problems, study_contrasts
    from sevhisto.compare.relations import relate

__all__ = [
    "Effect",
    "benjamini_hochberg",
    "choose_endpoints",
    "compare",
    "contrast",
    "default_contrasts",
    "design_notes",
    "dose_problems",
    "holm",
    "relate",
    "study_contrasts",
    "summarise_motor",
    "wide",
]

__getattr__ = attributes(  # a run needs endpoints and protocols only, and not the second that libraries of statistics take to import
    __name__,
    {
        "compare": "contrasts",
        **dict.fromkeys(("Effect", "benjamini_hochberg", "contrast", "holm"), "effects"),
        **dict.fromkeys(("choose_endpoints", "wide"), "endpoints"),
        "summarise_motor": "motor",
        **dict.fromkeys(("default_contrasts", "design_notes", "dose_problems", "study_contrasts"), "protocols"),
        "relate": "relations",
    },
)
