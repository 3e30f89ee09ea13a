"""Loops that Python is too slow for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numba

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """Return a function that is compiled when it is first called, kept on the disk, and does not hold other threads up.

    Its arithmetic is strict, so that it gives the same bits everywhere.
    """
    made: F = numba.njit(cache=True, nogil=True)(function)
    return made
