"""Where the parts meet: the functions behind the commands, for scripts and windows alike."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sevhisto.pipeline.answering import CompareSummary, compare, report
    from sevhisto.pipeline.demonstrating import DemoSummary, demo
    from sevhisto.pipeline.excluding import exclude
    from sevhisto.pipeline.planning import PlanSummary, plan
    from sevhisto.pipeline.running import Progress, RunSummary, check, quiet, run

__all__ = [
    "CompareSummary",
    "DemoSummary",
    "PlanSummary",
    "Progress",
    "RunSummary",
    "check",
    "compare",
    "demo",
    "exclude",
    "plan",
    "quiet",
    "report",
    "run",
]

_HOMES = {
    **dict.fromkeys(("CompareSummary", "compare", "report"), "answering"),
    **dict.fromkeys(("DemoSummary", "demo"), "demonstrating"),
    "exclude": "excluding",
    **dict.fromkeys(("PlanSummary", "plan"), "planning"),
}


def __getattr__(name: str) -> Any:
    # imported when asked for: a process that measures slides needs no statistics, and 100 MB less
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'running')}"), name)
