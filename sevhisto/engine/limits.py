"""How much one task may use, and how many processes fit."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sevhisto.types import Problem, StudyError

WORKER_MB = 600
"""Most memory that a process needs to measure a section; see "Speed and memory" in benchmarks/RESULTS.md."""
PARENT_MB = 300
"""What the process that hands out the work needs beside its workers."""
LEAST_LIMIT_MB = 2 * WORKER_MB
"""Smallest limit of a process: systems also count what is set apart and never used, and a limit is for what is far out of the common."""


@dataclass(frozen=True)
class Limits:
    """What one task may use; None is without limit.

    Attributes
    ----------
    memory_mb : memory of the process that runs it (Linux only: other systems do not keep a process to it)
    seconds : wall time
    """

    memory_mb: float | None = None
    seconds: float | None = None


def default_jobs() -> int:
    """Return the number of processes used where none is asked for: one per available core."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def available_mb(meminfo: Path = Path("/proc/meminfo")) -> float | None:
    """Return the memory that new processes can have without swapping, or None where the system (not Linux) does not tell."""
    kb = _kilobytes(meminfo, "MemAvailable:")
    return None if kb is None else kb / 1024


def _kilobytes(path: Path, name: str) -> int | None:
    try:
        lines = path.read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), None)


def jobs_for(jobs: int, memory_mb: float) -> int:
    """Return how many of `jobs` processes fit in `memory_mb`; StudyError where the memory is not enough for one."""
    if memory_mb < WORKER_MB:
        what = f"{memory_mb:.0f} MB is not enough: one process needs {WORKER_MB} MB"
        raise StudyError(Problem("--memory", what, f"allow {WORKER_MB / 1000:g} GB or more"))
    return max(1, min(jobs, int((memory_mb - PARENT_MB) // WORKER_MB)))


def share_mb(jobs: int, memory_mb: float) -> float:
    """Return what each of `jobs` processes may use of `memory_mb`: what the parent leaves, and never less than LEAST_LIMIT_MB."""
    return max(float(LEAST_LIMIT_MB), (memory_mb - PARENT_MB) / jobs)


def keep_to(memory_mb: float | None) -> None:
    """Keep this process to a limit of memory: past it, MemoryError. Does nothing on systems without such a limit."""
    status = Path("/proc/self/status")
    data, resident = _kilobytes(status, "VmData:"), _kilobytes(status, "VmRSS:")
    if memory_mb is None or data is None or resident is None:
        return
    import resource  # there on Linux, as /proc is

    unused = max(0, data - resident) * 1024  # set apart for threads and never touched
    _kept_to.append(memory_mb)
    most = int(memory_mb * 2**20) + unused
    resource.setrlimit(resource.RLIMIT_DATA, (most, resource.getrlimit(resource.RLIMIT_DATA)[1]))


_kept_to: list[float] = []


def memory_remedy() -> str:
    """Return what to do where a task runs out of memory, with what this process may use; empty where it has no limit."""
    return f"one process may use {_kept_to[-1]:.0f} MB (fewer --jobs, or more --memory)" if _kept_to else ""
