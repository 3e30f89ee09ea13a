"""Libraries that not everybody has installed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from sevhisto.types import Problem, SevhistoError


def needed(library: str, name: str) -> Any:
    """Return a library of the extra `export`; SevhistoError that says how to get it, where it is not installed."""
    try:
        return import_module(library)
    except ImportError as error:
        remedy = "pip install 'sevhisto[export]', or leave this format out"
        raise SevhistoError(Problem(f"export --to {name}", f"needs {library}, which is not installed", remedy)) from error
