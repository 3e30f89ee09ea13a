"""The key of the blinding: codes for animals, groups and files, kept in results/key/ until the study is unblinded."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from sevhisto.columns import Column, Table
from sevhisto.io.files import write_json
from sevhisto.io.sheets import read_sheet
from sevhisto.io.store import write_frame
from sevhisto.io.study import Study
from sevhisto.types import Problem, SevhistoError

KEY = Table(
    "key.csv",
    "animal, group or file",
    (
        Column("kind", "text", "animal, group or file"),
        Column("name", "text", "true name"),
        Column("code", "text", "what is shown until unblinding"),
    ),
    key=("kind", "name"),
)
COLUMN_KINDS = {"animal": "animal", "protocol": "group", "group": "group", "file": "file"}
"""Columns that hold names, and the kind of their codes."""


@dataclass(frozen=True)
class Key:
    """True name to code, for each kind."""

    animals: dict[str, str]
    groups: dict[str, str]
    files: dict[str, str]

    def of(self, kind: str) -> dict[str, str]:
        """Return name to code of one kind: ``animal``, ``group`` or ``file``."""
        return {"animal": self.animals, "group": self.groups, "file": self.files}[kind]


def codes(study: Study) -> Key:
    """Return the study's key: it depends on the study's name and the names coded, not on their order or on time.

    Animals (those of control slides too) and files get the start of a base32 hash, lengthened where two would be equal; groups get letters
    in the order of their hashes, which says nothing of the groups. An empty name stays empty.
    """
    seed = study.config.study.name
    animals = {*study.animals["animal"], *study.slides["animal"]} - {""}
    groups = ({*study.animals["protocol"]} if "protocol" in study.animals else set()) | {*study.config.protocols}
    ordered = sorted(groups - {""}, key=lambda name: _hash(seed, "group", name))
    return Key(
        {"": "", **_coded("A-", seed, "animal", animals)},
        {"": "", **{name: _letters(i) for i, name in enumerate(ordered)}},
        {"": "", **_coded("S-", seed, "file", {*study.slides["file"]} - {""})},
    )


def _hash(seed: str, kind: str, name: str) -> str:
    text = json.dumps([seed, kind, name])  # no two triples give one text
    return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def _coded(prefix: str, seed: str, kind: str, names: Iterable[str], length: int = 4) -> dict[str, str]:
    ordered = sorted((_hash(seed, kind, name), name) for name in names)
    out = {}
    for i, (code, name) in enumerate(ordered):
        near = [other for other, _ in (*ordered[max(0, i - 1) : i], *ordered[i + 1 : i + 2])]  # no other starts more like it
        shared = max((_shared(code, other) for other in near), default=0)
        out[name] = prefix + code[: max(length, shared + 1)]
    return {name: out[name] for name in sorted(out)}


def _shared(a: str, b: str) -> int:
    """Return how many characters two codes share from their start."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y), len(a))


def _letters(i: int) -> str:
    return (_letters(i // 26 - 1) if i >= 26 else "") + chr(ord("A") + i % 26)


def apply(frame: pd.DataFrame, key: Key, columns: Mapping[str, str] = COLUMN_KINDS) -> pd.DataFrame:
    """Return a copy with names replaced by codes in those of `columns` (column: kind) that are there; an unknown name is an error."""
    return _mapped(frame, {column: key.of(kind) for column, kind in columns.items()}, "name")


def reveal(frame: pd.DataFrame, key: Key, columns: Mapping[str, str] = COLUMN_KINDS) -> pd.DataFrame:
    """Return a copy with codes replaced by names: the inverse of `apply`."""
    return _mapped(frame, {column: {c: n for n, c in key.of(kind).items()} for column, kind in columns.items()}, "code")


def _mapped(frame: pd.DataFrame, maps: dict[str, dict[str, str]], what: str) -> pd.DataFrame:
    out = frame.copy()
    for column, mapping in maps.items():
        if column in out:
            unknown = sorted({str(v) for v in out[column]} - set(mapping))
            if unknown:
                remedy = "the key belongs to another state of the study: run it again"
                raise SevhistoError(Problem(f"column {column}", f"{what} {unknown[0]!r} is not in the key", remedy))
            out[column] = pd.Series([mapping[str(v)] for v in out[column]], index=out.index, dtype=object)
    return out


def write_key(results_dir: Path, key: Key) -> Path:
    """Write results/key/key.csv, and return its path."""
    rows = [(kind, name, code) for kind in ("animal", "group", "file") for name, code in key.of(kind).items() if name]
    path = results_dir / "key" / "key.csv"
    write_frame(path, pd.DataFrame(rows, columns=KEY.names))
    return path


def read_key(results_dir: Path) -> Key:
    """Read results/key/key.csv; SevhistoError if it is not there or damaged."""
    path = results_dir / "key" / "key.csv"
    frame, problems = read_sheet(path, KEY)
    if problems:
        raise SevhistoError(problems)
    maps: dict[str, dict[str, str]] = {"animal": {"": ""}, "group": {"": ""}, "file": {"": ""}}
    for row, kind, name, code in frame[KEY.names].itertuples():
        if kind not in maps:
            what = f"unknown kind {kind!r}"
            raise SevhistoError(Problem(f"{path.name}, row {row}", what, "run the study again: it writes the key anew"))
        maps[kind][name] = code
    return Key(maps["animal"], maps["group"], maps["file"])


def unblind(results_dir: Path, frozen: dict[str, Any]) -> None:
    """Record that the key was opened: time (UTC) and what was fixed then.

    Parameters
    ----------
    results_dir : the study's results
    frozen : JSON-able hashes of contours, thresholds and exclusions

    Notes
    -----
    The first opening is what counts: a record that is there stays as it is.
    """
    if unblinded(results_dir) is None:
        write_json(results_dir / "key" / "unblinded.json", {**frozen, "time": datetime.now(UTC).isoformat(timespec="seconds")})


def unblinded(results_dir: Path) -> dict[str, Any] | None:
    """Return what `unblind` recorded, or None for a study whose key is closed; SevhistoError if the record is damaged."""
    path = results_dir / "key" / "unblinded.json"
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SevhistoError(Problem(str(path), f"cannot be read: {error}", "restore it from a backup: it says what was fixed")) from error
    if not isinstance(record, dict) or "time" not in record:
        raise SevhistoError(Problem(str(path), "does not say when the key was opened", "restore it from a backup"))
    return record
