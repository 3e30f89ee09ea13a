"""Where the parts meet: the functions behind the commands, for scripts and windows alike."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sevhisto.pipeline.answering import CompareSummary, compare, report
    from sevhisto.pipeline.demonstrating import DemoSummary, demo
    from sevhisto.pipeline.excluding import exclude
    from sevhisto.pipeline.running import Progress, RunSummary, check, quiet, run
    from sevhisto.pipeline.training import TrainSummary, train

__all__ = ["CompareSummary", "DemoSummary", "Progress", "RunSummary", "TrainSummary", "check", "compare", "demo", "exclude"]
__all__ += ["quiet", "report", "run", "train"]

_HOMES = {
    **dict.fromkeys(("CompareSummary", "compare", "report"), "answering"),
    **dict.fromkeys(("DemoSummary", "demo"), "demonstrating"),
    "exclude": "excluding",
    **dict.fromkeys(("TrainSummary", "train"), "training"),
}


def __getattr__(name: str) -> Any:
    # imported when asked for: a process that measures slides needs no statistics, and 100 MB less
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'running')}"), name)
