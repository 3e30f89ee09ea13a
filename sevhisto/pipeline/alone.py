"""What must not happen to a study's results while something else writes them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from sevhisto.io.lock import held
from sevhisto.io.study import load_study

P = ParamSpec("P")
R = TypeVar("R")


def alone(function: Callable[Concatenate[Path, P], R]) -> Callable[Concatenate[Path, P], R]:
    """Let a function of a study's folder work only while no run, and no other such function, does; StudyError where one does."""

    @wraps(function)
    def call(root: Path, /, *args: P.args, **kwargs: P.kwargs) -> R:
        results = load_study(root).results_dir
        if not results.is_dir():  # it says itself what is missing
            return function(root, *args, **kwargs)
        with held(results):
            return function(root, *args, **kwargs)

    return call
