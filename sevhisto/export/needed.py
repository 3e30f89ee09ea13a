"""Libraries that not everybody has installed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from sevhisto.types import Problem, SevhistoError


def needed(library: str) -> Any:
    """Return a library of the extra `export`; SevhistoError that says how to get it, where it is not installed."""
    try:
        return import_module(library)
    except ImportError as error:
        remedy = f"pip install {library} (or the extra 'export'); the other formats do without"
        raise SevhistoError(Problem(f"library {library}", "is not installed", remedy)) from error
