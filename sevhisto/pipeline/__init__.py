"""Where the parts meet: the functions behind the commands, for scripts and windows alike."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sevhisto.pipeline.accepting import accept
    from sevhisto.pipeline.agreeing import AgreementSummary, agreement
    from sevhisto.pipeline.answering import CompareSummary, compare, report
    from sevhisto.pipeline.choosing import set_threshold
    from sevhisto.pipeline.demonstrating import DemoSummary, demo
    from sevhisto.pipeline.differing import diff
    from sevhisto.pipeline.excluding import exclude
    from sevhisto.pipeline.planning import PlanSummary, plan
    from sevhisto.pipeline.running import Progress, RunSummary, check, quiet, run
    from sevhisto.pipeline.training import TrainSummary, train

__all__ = [
    "AgreementSummary",
    "CompareSummary",
    "DemoSummary",
    "PlanSummary",
    "Progress",
    "RunSummary",
    "TrainSummary",
    "accept",
    "agreement",
    "check",
    "compare",
    "demo",
    "diff",
    "exclude",
    "plan",
    "quiet",
    "report",
    "run",
    "set_threshold",
    "train",
]

_HOMES = {
    "accept": "accepting",
    "set_threshold": "choosing",
    **dict.fromkeys(("AgreementSummary", "agreement"), "agreeing"),
    **dict.fromkeys(("CompareSummary", "compare", "report"), "answering"),
    **dict.fromkeys(("DemoSummary", "demo"), "demonstrating"),
    "diff": "differing",
    "exclude": "excluding",
    **dict.fromkeys(("TrainSummary", "train"), "training"),
    **dict.fromkeys(("PlanSummary", "plan"), "planning"),
}


def __getattr__(name: str) -> Any:
    # imported when asked for: a process that measures slides needs no statistics, and 100 MB less
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'running')}"), name)
