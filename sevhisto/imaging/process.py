"""The process that measures: its threads, and how the C library keeps memory for it."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import cv2

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_KEPT_BYTES, _LARGEST_BYTES = 2**28, 2**30


def prepare_worker() -> None:
    """Make ready a process that is one of many: OpenCV with one thread; memory that is freed is used again.

    By itself glibc returns every large array to the system when it is freed, and the system clears the pages of the next one: a seventh
    of the time of a section.
    """
    cv2.setNumThreads(1)
    mallopt = _of_glibc("mallopt")
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST_BYTES)
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)


def give_back_memory() -> None:
    """Return freed memory to the system where the C library can."""
    trim = _of_glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _of_glibc(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
