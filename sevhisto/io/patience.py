"""Networks that drop: what to try again, and how long to wait before."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

WAITS_S = (2.0, 10.0, 30.0)
"""Before each further attempt: a share that drops is mostly back within a minute."""

_NAMES = ("EIO", "ESTALE", "EREMOTEIO", "ETIMEDOUT", "ENETDOWN", "ENETUNREACH", "ENETRESET", "EHOSTDOWN", "EHOSTUNREACH", "ECONNRESET")
_PASSING = {number for name in _NAMES if (number := getattr(errno, name, None)) is not None}


def may_pass(error: BaseException | None) -> bool:
    """Return whether an error, or what caused it, is one of a disk or network that was away and may be back."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _PASSING:
            return True
        error = error.__cause__ or error.__context__
    return False


def attempts(waits_s: Sequence[float] | None = None) -> Iterator[bool]:
    """Yield, for each attempt, whether it is the last one; wait before each but the first, for `waits_s` (s; `WAITS_S` where None)."""
    left = list(WAITS_S if waits_s is None else waits_s)
    yield not left
    while left:
        time.sleep(left.pop(0))
        yield not left


def patiently(call: Callable[[], T]) -> T:
    """Return what a call returns, made again after an error that may pass; the error of the last attempt is raised."""
    for last in attempts():
        try:
            return call()
        except Exception as error:
            if last or not may_pass(error):
                raise
    raise AssertionError("the last attempt returns or raises")
