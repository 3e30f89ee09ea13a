"""Where the parts meet: the functions behind the commands, for scripts and windows alike."""

from typing import TYPE_CHECKING

from sevhisto.lazy import attributes

if TYPE_CHECKING:
    from sevhisto.pipeline.accepting import accept
    from sevhisto.pipeline.agreeing import AgreementSummary, agreement
    from sevhisto.pipeline.answering import CompareSummary, compare
    from sevhisto.pipeline.choosing import set_threshold
    from sevhisto.pipeline.demonstrating import DemoSummary, demo
    from sevhisto.pipeline.differing import diff
    from sevhisto.pipeline.excluding import exclude
    from sevhisto.pipeline.exporting import ExportSummary, export, export_formats
    from sevhisto.pipeline.papering import paper
    from sevhisto.pipeline.planning import PlanSummary, plan
    from sevhisto.pipeline.reporting import report
    from sevhisto.pipeline.running import RunSummary, check, quiet, run
    from sevhisto.pipeline.selftesting import selftest
    from sevhisto.pipeline.stages import Progress
    from sevhisto.pipeline.training import TrainSummary, train

__all__ = [
    "AgreementSummary",
    "CompareSummary",
    "DemoSummary",
    "ExportSummary",
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
    "export",
    "export_formats",
    "paper",
    "plan",
    "quiet",
    "report",
    "run",
    "selftest",
    "set_threshold",
    "train",
]

__getattr__ = attributes(  # a process that measures slides needs no statistics, and 100 MB less
    __name__,
    {
        "accept": "accepting",
        "set_threshold": "choosing",
        **dict.fromkeys(("AgreementSummary", "agreement"), "agreeing"),
        **dict.fromkeys(("CompareSummary", "compare"), "answering"),
        **dict.fromkeys(("DemoSummary", "demo"), "demonstrating"),
        "paper": "papering",
        "report": "reporting",
        "Progress": "stages",
        "diff": "differing",
        "exclude": "excluding",
        **dict.fromkeys(("ExportSummary", "export", "export_formats"), "exporting"),
        "selftest": "selftesting",
        **dict.fromkeys(("TrainSummary", "train"), "training"),
        **dict.fromkeys(("PlanSummary", "plan"), "planning"),
        **dict.fromkeys(("RunSummary", "check", "quiet", "run"), "running"),
    },
)
