"""What is wrong with settings, in words that a user can act on."""

from __future__ import annotations

import json
import re
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from sevhisto.registry import did_you_mean
from sevhisto.types import Problem

_SLIPS = (
    (r"[“”„«»‘’]", "type straight quotes, in a text editor: word processors write curly ones"),
    (r"^\s*\[+[^\]\"']*[^\].\"'\s]\s+[^\].\"'\s]", 'a name with a space stands in quotes: [protocols."EV low"]'),
    (r"=\s*[-+]?\d+,\d", "a number has a point: 0.5, not 0,5"),
    (r"=\s*(#|$)", "give a value behind the =, or take the line out"),
    (r"=\s*[^\W\d]", 'text stands in quotes: "PBS"'),
)
"""What people type into study.toml, and the remedy."""
_CLOSED = "text stands in quotes, brackets are closed, a name is given once"


def not_toml(file: str, text: str, said: str) -> Problem:
    """Return why a file cannot be read, with its line; `said` : the parser's own words, which end with the line where they tell one."""
    told = re.search(r"line (\d+)", said)
    if told is None:
        return Problem(file, f"is not valid TOML: {said}", _CLOSED)
    line = text.split("\n")[int(told[1]) - 1].strip()[:80]
    remedy = next((r for pattern, r in _SLIPS if re.search(pattern, line)), _CLOSED)
    return Problem(f"{file}, line {told[1]}", f"is not valid TOML: {line} ({re.sub(r' [(]at line.*', '', said)})", remedy)


def problem_of(error: Any, model: type[BaseModel], where: str) -> Problem:
    """Return a mistake in settings as pydantic tells it (one of its `errors()`), with its place and a remedy."""
    place = ".".join(str(part + 1 if isinstance(part, int) else part) for part in error["loc"]) or "(whole file)"  # lists count from 1
    if error["type"] == "extra_forbidden":
        known = _known_keys(model, error["loc"][:-1])
        return Problem(f"{where}: {place}", "unknown setting", did_you_mean(str(error["loc"][-1]), known))
    if error["type"] == "missing":
        return Problem(f"{where}: {place}", "is missing", _wanted(model, error["loc"]))
    if error["type"] == "literal_error":
        allowed, given = re.findall(r"'([^']*)'", error["ctx"]["expected"]), str(error["input"])
        near = next((a for a in allowed if a.casefold() == given.casefold()), given)
        return Problem(f"{where}: {place}", f"is {given!r}, which is none of {', '.join(allowed)}", did_you_mean(near, allowed))
    message = str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "should be")
    given = "" if isinstance(error.get("input"), (dict, list, BaseModel)) else f" (given: {error.get('input')!r})"
    return Problem(f"{where}: {place}", f"{message}{given}", "correct this value")


def _wanted(model: Any, path: tuple[Any, ...]) -> str:
    """Return what to add where a setting is missing: its sentence, and what it can be."""
    parent = _model_at(model, path[:-1])
    field = parent.model_fields.get(path[-1]) if parent is not None else None
    if field is None:
        return "add it"
    choices = [json.dumps(c) for c in get_args(field.annotation)] if get_origin(field.annotation) is Literal else []
    return f"add it: {field.description or 'a table'}{': ' if choices else ''}{' or '.join(choices)}"


def _known_keys(model: Any, path: tuple[Any, ...]) -> list[str]:
    found = _model_at(model, path)
    return [] if found is None else list(found.model_fields)


def _model_at(model: Any, path: tuple[Any, ...]) -> Any:
    """Return the settings model at a place in study.toml, or None."""
    for part in path:
        if part in model.model_fields:  # else a name or number inside a dict or list of the same model
            model = _inner_model(model.model_fields[part].annotation)
            if model is None:
                return None
    return model


def _inner_model(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for arg in getattr(annotation, "__args__", ()):
        found = _inner_model(arg)
        if found is not None:
            return found
    return None
