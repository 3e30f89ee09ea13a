"""What is wrong with settings, in words."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from sevhisto.registry import did_you_mean
from sevhisto.types import Problem


def problem_of(error: Any, where: str, model: type[BaseModel]) -> Problem:
    """Return what is wrong with one setting, its place and a remedy, from what pydantic says of it."""
    place = ".".join(str(part + 1 if isinstance(part, int) else part) for part in error["loc"]) or "(whole file)"  # lists count from 1
    if error["type"] == "extra_forbidden":
        known = _known_keys(error["loc"][:-1], model)
        return Problem(f"{where}: {place}", "unknown setting", did_you_mean(str(error["loc"][-1]), known))
    if error["type"] == "missing":
        return Problem(f"{where}: {place}", "is missing", "add it")
    message = str(error["msg"]).removeprefix("Value error, ")
    given = "" if isinstance(error.get("input"), (dict, list, BaseModel)) else f" (given: {error.get('input')!r})"
    return Problem(f"{where}: {place}", f"{message}{given}", "correct this value")


def _known_keys(path: tuple[Any, ...], model: Any) -> list[str]:
    for part in path:
        if part in model.model_fields:  # else a name or number inside a dict or list of the same model
            model = _inner_model(model.model_fields[part].annotation)
            if model is None:
                return []
    return list(model.model_fields)


def _inner_model(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for arg in getattr(annotation, "__args__", ()):
        found = _inner_model(arg)
        if found is not None:
            return found
    return None
