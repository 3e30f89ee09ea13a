"""What a setting is: typed, bounded, with its unit and one sentence."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Strict: an unknown or ill-typed key is an error, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def setting(default: Any, doc: str, unit: str = "", **bounds: Any) -> Any:
    """Return a field with a default, its sentence, its unit and its bounds."""
    return Field(default=default, description=doc, json_schema_extra={"unit": unit}, **bounds)
