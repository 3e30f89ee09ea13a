"""One row of the table of faults, and the options that every part gets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """What became of the faults of one kind.

    Attributes
    ----------
    injected, survived : faults; survived is a clear error, or the right result
    lost, changed : rows of results that were lost, or that differ from those without faults
    silent : wrong numbers without a word
    crashed : uncaught exceptions, processes that died, hangs
    """

    part: str
    what: str
    injected: int
    survived: int
    lost: int = 0
    changed: int = 0
    silent: int = 0
    crashed: int = 0
    note: str = ""


@dataclass(frozen=True)
class Options:
    """`scratch` is an empty folder; `share` scales the number of faults; `minutes` is the time of each fuzz target.

    `targets` names those of the fuzz targets that are wanted; all where it is empty.
    """

    scratch: Path
    share: float = 1.0
    minutes: float = 1.0
    targets: tuple[str, ...] = ()
    seed: int = 1
    data: Path | None = None
    bad_inputs: Path | None = None

    def n(self, asked: int) -> int:
        """Return how many of `asked` faults to inject."""
        return max(1, round(asked * self.share))


Part = Callable[[Options], Iterable[Row]]
