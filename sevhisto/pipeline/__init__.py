"""Where the parts meet: the functions behind the commands, for scripts and windows alike."""

from sevhisto.pipeline.answering import CompareSummary, compare, report
from sevhisto.pipeline.demo import DemoSummary, demo
from sevhisto.pipeline.running import Progress, RunSummary, check, quiet, run

__all__ = ["CompareSummary", "DemoSummary", "Progress", "RunSummary", "check", "compare", "demo", "quiet", "report", "run"]
