"""Text that other programs read as text: no formula, no tag, no control character, no path."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def printable(text: object) -> str:
    """Return text without the control characters that XML and spreadsheets refuse; each becomes ``?``."""
    return _CONTROL.sub("?", str(text))


def inert(text: object) -> str:
    """Return text that no spreadsheet takes for a formula: an apostrophe stands before one that starts like it (numbers stay)."""
    plain = printable(text)
    return f"'{plain}" if plain.startswith(_FORMULA) and not _NUMBER.fullmatch(plain) else plain


def inert_frame(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose texts, headers too, no spreadsheet takes for formulas; numbers stay as they are."""
    out = frame.map(lambda v: inert(v) if isinstance(v, str) else v)
    out.columns = pd.Index([inert(name) for name in frame.columns])
    return out


def number_text(value: float) -> str:
    """Return the shortest text that reads back as the same number; empty for NaN."""
    return "" if value != value else repr(float(value) + 0.0).removesuffix(".0")


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a CSV (UTF-8): numbers to the last digit, text inert, NaN empty."""
    path.parent.mkdir(parents=True, exist_ok=True)
    out = pd.DataFrame({i: _cell_texts(frame.iloc[:, i]) for i in range(frame.shape[1])})
    out.to_csv(path, index=False, header=[inert(n) for n in frame.columns], lineterminator="\n", encoding="utf-8")


def _cell_texts(column: pd.Series[Any]) -> list[str]:
    if pd.api.types.is_float_dtype(column):
        return [number_text(v) for v in column]
    return [inert(v) for v in column]


def file_names(names: Iterable[str], suffix: str = "") -> dict[str, str]:
    """Return a file name for each name, letters, digits, ``-``, ``_`` and ``.`` only, no two alike on any system."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        base = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._")[:100] or "x"
        base = f"_{base}" if _RESERVED.fullmatch(base) else base
        unique, n = base, 1
        while f"{unique}{suffix}".casefold() in taken:
            n += 1
            unique = f"{base}_{n}"
        taken.add(f"{unique}{suffix}".casefold())
        found[name] = f"{unique}{suffix}"
    return found


def slide_path(folder: Path, name: str, ending: str) -> Path:
    """Return where a file for a slide lies: as under corrections/, its folders kept, none of them outside `folder`."""
    parts = [p for p in name.replace("\\", "/").split("/") if p not in ("", ".", "..")]
    path = folder.joinpath(*parts[:-1], f"{parts[-1]}{ending}")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
