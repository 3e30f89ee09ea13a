"""The settings of a study one by one, as a window shows and changes them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from sevhisto.config import StudyConfig, parse_config
from sevhisto.io.files import write_bytes_atomic
from sevhisto.io.study import load_study
from sevhisto.io.toml_text import toml_value, with_value
from sevhisto.types import Problem, StudyError

Place = tuple[str, str]
"""Section of study.toml and name of a setting in it."""
_LIMITS = {"exclusiveMinimum": "> {:g}", "minimum": ">= {:g}", "exclusiveMaximum": "< {:g}", "maximum": "<= {:g}"}


@dataclass(frozen=True)
class SettingFacts:
    """What there is to know of a setting, from its model in `sevhisto.config`.

    Attributes
    ----------
    kind : ``yes/no``, ``choice``, ``number``, ``text`` or ``list``
    choices : words to choose from, of a choice
    default : None where there is none, or where it is nothing
    bounds : in words, such as ``> 0, <= 20``
    help : one sentence
    """

    section: str
    name: str
    kind: str
    unit: str
    default: Any
    bounds: str
    help: str
    choices: tuple[str, ...] = ()
    required: bool = False

    @property
    def place(self) -> Place:
        """Section and name."""
        return self.section, self.name


def setting_facts() -> list[SettingFacts]:
    """Return every setting that stands once in study.toml, in the order of the file; no tables by name (panels)."""
    found = []
    for section, field in StudyConfig.model_fields.items():
        model = field.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            schema = model.model_json_schema()
            needed = schema.get("required", [])
            found += [_facts(section, name, told, name in needed) for name, told in schema["properties"].items()]
    return found


def _facts(section: str, name: str, told: dict[str, Any], required: bool) -> SettingFacts:
    inner = next((t for t in told.get("anyOf", []) if t["type"] != "null"), told)
    kind = {"boolean": "yes/no", "number": "number", "integer": "number", "array": "list"}.get(inner["type"], "text")
    bounds = ", ".join(words.format(inner[limit]) for limit, words in _LIMITS.items() if limit in inner)
    choices = tuple(inner.get("enum", ()))
    kind = "choice" if choices else kind
    return SettingFacts(
        section, name, kind, told.get("unit", ""), told.get("default"), bounds, told.get("description", ""), choices, required
    )


def section_titles() -> dict[str, str]:
    """Return what each section of `setting_facts` is about."""
    models = {name: field.annotation for name, field in StudyConfig.model_fields.items()}
    return {s: (models[s].__doc__ or "").partition(": ")[2] for s in dict.fromkeys(f.section for f in setting_facts())}


def given_settings(root: Path) -> dict[Place, Any]:
    """Return the settings that study.toml gives; those that it leaves to their defaults are missing. StudyError where it is wrong."""
    load_study(root)
    data = _data(root)
    return {f.place: data[f.section][f.name] for f in setting_facts() if f.name in data.get(f.section, {})}


def read_value(facts: SettingFacts, text: str) -> Any:
    """Return the value that a person typed; None for nothing, which means the default. StudyError where it cannot be one."""
    text = text.strip()
    if not text:
        return None
    if facts.kind in ("text", "choice"):
        return text
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        example = toml_value(facts.default) if facts.default is not None else "1.5"
        raise StudyError(Problem(f"{facts.section}.{facts.name}", f"{text!r} is no {facts.kind}", f"write it as {example}")) from None


def shown_value(facts: SettingFacts, value: Any) -> str:
    """Return a value as `read_value` reads it."""
    return "" if value is None else value if facts.kind in ("text", "choice") else toml_value(value)


def save_settings(root: Path, changes: Mapping[Place, Any]) -> None:
    """Write settings into study.toml, None takes one out; comments and all that is not changed stay as they are.

    StudyError with everything that is wrong, SevhistoError where the file cannot be changed: then nothing was written.
    """
    path = root / "study.toml"
    raw = path.read_bytes()
    text = raw.decode("utf-8-sig")
    for (section, name), value in changes.items():
        text = with_value(text, (section,), name, value)
    parse_config(tomllib.loads(text.replace("\r\n", "\n")))
    data = text.encode()
    write_bytes_atomic(path, b"\xef\xbb\xbf" + data if raw.startswith(b"\xef\xbb\xbf") else data)


def _data(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "study.toml").read_bytes().decode("utf-8-sig").replace("\r\n", "\n"))
