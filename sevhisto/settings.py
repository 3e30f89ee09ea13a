"""What a setting is: typed, bounded, with its unit and one sentence."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Settings(BaseModel):
    """Strict: an unknown or ill-typed key is an error, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, data: Any) -> Any:
        for name, value in data.items() if isinstance(data, dict) else ():
            field = cls.model_fields.get(str(name))
            if isinstance(value, bool) and field is not None and "bool" not in str(field.annotation):
                raise ValueError(f"{name} is {str(value).lower()}, which is neither a number nor text")
        return data


def setting(default: Any, doc: str, unit: str = "", **bounds: Any) -> Any:
    """Return a field with a default, its sentence, its unit and its bounds."""
    return Field(default=default, description=doc, json_schema_extra={"unit": unit}, **bounds)
