"""The key of the blinding: codes for animals, groups and files, kept in results/key/ until the study is unblinded."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from sevhisto.columns import Column, Table
from sevhisto.io.files import read_sealed, write_sealed
from sevhisto.io.sheets import read_sheet
from sevhisto.io.store import write_frame
from sevhisto.io.study import Study, image_stem
from sevhisto.types import Problem, SevhistoError

T = TypeVar("T", str, tuple[str, str])
_SEPARATOR = " / "
KEY = Table(
    "key.csv",
    "animal, group or file",
    (
        Column("kind", "text", "animal, group, file; section (after its animal) or batch, where it holds a name"),
        Column("name", "text", "true name"),
        Column("code", "text", "what is shown until unblinding"),
    ),
    key=("kind", "name"),
)
COLUMN_KINDS = {"animal": "animal", "protocol": "group", "group": "group", "file": "file"}
"""Columns that hold names, and the kind of their codes."""
TELLS_FROM, STEM_TELLS_FROM = 3, 5
"""Letters and digits from which a name (of an animal or group), or a file's name without ending, is looked for inside other ids."""


@dataclass(frozen=True)
class Key:
    """True name to code, for each kind.

    Attributes
    ----------
    animals, groups, files : every name
    sections : (animal, section) to what is shown, of those section ids that hold a name
    batches : the same of stain batches
    """

    animals: dict[str, str]
    groups: dict[str, str]
    files: dict[str, str]
    sections: dict[tuple[str, str], str] = field(default_factory=dict)
    batches: dict[str, str] = field(default_factory=dict)

    def of(self, kind: str) -> dict[str, str]:
        """Return name to code of one kind: ``animal``, ``group`` or ``file``."""
        return {"animal": self.animals, "group": self.groups, "file": self.files}[kind]

    def shown(self, animal: str, section: str) -> tuple[str, str]:
        """Return the codes of an animal and of a section of it."""
        return self.animals[animal], self.sections.get((animal, section), section)

    @cached_property
    def _sought(self) -> tuple[dict[str, str], list[int]]:
        """Names that are looked for inside texts, folded, with their codes; and how long they are, longest first."""
        names = {n: c for kind in (self.animals, self.groups) for n, c in kind.items() if _tells(n, TELLS_FROM)}
        for file, code in self.files.items():
            stem = image_stem(file)
            names |= {n: code for n in (file, stem, Path(file).name, Path(stem).name) if _tells(n, STEM_TELLS_FROM)}
        lengths = {len(n) for n in names} | {len(n.casefold()) for n in names}
        return {n.casefold(): c for n, c in names.items()}, sorted(lengths, reverse=True)

    def hide(self, text: str, animal: str = "") -> str:
        """Return what a person wrote (an id, a note, the study's name) with codes for the names in it, in any case.

        Names shorter than TELLS_FROM, or without a letter, are too common to be sought, but that of the `animal` that the text belongs to.
        """
        codes, lengths = self._sought
        text = with_codes(text, lengths, lambda i, n: codes.get(text[i : i + n].casefold()))
        if animal and text != animal:
            text = re.sub(rf"(?<![^\W_]){re.escape(animal)}(?![^\W_])", self.animals[animal], text)
        return text


def with_codes(text: str, lengths: Sequence[int], code_at: Callable[[int, int], str | None]) -> str:
    """Return a text in which the longest names, from left to right, are codes: one look for each place and length, not for each name.

    Parameters
    ----------
    lengths : of the names, longest first
    code_at : code of the name that starts at a place and is so long, or None
    """
    out: list[str] = []
    at = 0
    while at < len(text):
        fitting = ((n, code_at(at, n)) for n in lengths if at + n <= len(text))
        n, code = next(((n, code) for n, code in fitting if code is not None), (1, text[at]))
        out.append(code)
        at += n
    return "".join(out)


def _tells(name: str, at_least: int) -> bool:
    return len(name) >= at_least and any(c.isalpha() for c in name)


def codes(study: Study) -> Key:
    """Return the study's key: it depends on the study's name and the names coded, not on their order or on time.

    Animals (those of control slides too) and files get the start of a base32 hash, lengthened where two would be equal; groups get letters
    in the order of their hashes, which says nothing of the groups. An empty name stays empty.
    """
    seed = study.config.study.name
    animals = {*study.animals["animal"], *study.slides["animal"]} - {""}
    groups = ({*study.animals["protocol"]} if "protocol" in study.animals else set()) | {*study.config.protocols}
    ordered = sorted(groups - {""}, key=lambda name: _hash(seed, "group", name))
    key = Key(
        {"": "", **_coded("A-", seed, "animal", animals)},
        {"": "", **{name: _letters(i) for i, name in enumerate(ordered)}},
        {"": "", **_coded("S-", seed, "file", {*study.slides["file"]} - {""})},
    )
    sections = {pair: key.hide(pair[1], pair[0]) for pair in zip(study.slides["animal"], study.slides["section"], strict=True)}
    batches = {batch: key.hide(batch) for batch in (*study.slides["batch"], *study.config.batches)}
    return replace(key, sections=_apart(sections, "P-", seed), batches=_apart(batches, "B-", seed))


def _apart(shown: Mapping[T, str], prefix: str, seed: str) -> dict[T, str]:
    """Return those that differ from their names; where two would be shown alike, each gets a code of its own."""
    owners: dict[tuple[str, str], set[T]] = {}
    for name, text in shown.items():
        owners.setdefault((name[0] if isinstance(name, tuple) else "", text), set()).add(name)
    twice = {name: json.dumps(name) for names in owners.values() if len(names) > 1 for name in names}
    coded = _coded(prefix, seed, "id", twice.values())
    found = {name: coded[twice[name]] if name in twice else text for name, text in shown.items()}
    return {name: text for name, text in found.items() if text != (name[1] if isinstance(name, tuple) else name)}


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
    rows += [("section", _SEPARATOR.join(pair), code) for pair, code in sorted(key.sections.items())]
    rows += [("batch", name, code) for name, code in sorted(key.batches.items())]
    path = results_dir / "key" / "key.csv"
    write_frame(path, pd.DataFrame(rows, columns=KEY.names))
    return path


def read_key(results_dir: Path) -> Key:
    """Read results/key/key.csv; SevhistoError if it is not there or damaged."""
    path = results_dir / "key" / "key.csv"
    frame, problems = read_sheet(path, KEY)
    if problems:
        raise SevhistoError(problems)
    maps: dict[str, dict[str, str]] = {"animal": {"": ""}, "group": {"": ""}, "file": {"": ""}, "section": {}, "batch": {}}
    for row, kind, name, code in frame[KEY.names].itertuples():
        if kind not in maps:
            what = f"unknown kind {kind!r}"
            raise SevhistoError(Problem(f"{path.name}, row {row}", what, "run the study again: it writes the key anew"))
        maps[kind][name] = code
    sections = {(name.partition(_SEPARATOR)[0], name.partition(_SEPARATOR)[2]): code for name, code in maps["section"].items()}
    return Key(maps["animal"], maps["group"], maps["file"], sections, maps["batch"])


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
        write_sealed(results_dir / "key" / "unblinded.json", {**frozen, "time": datetime.now(UTC).isoformat(timespec="seconds")})


def unblinded(results_dir: Path) -> dict[str, Any] | None:
    """Return what `unblind` recorded, or None for a study whose key is closed; SevhistoError if the record is damaged."""
    path = results_dir / "key" / "unblinded.json"
    if not path.exists():
        return None
    try:
        record = read_sealed(path)
    except (OSError, ValueError) as error:
        raise SevhistoError(Problem(str(path), f"cannot be read: {error}", "restore it from a backup: it says what was fixed")) from error
    if "time" not in record:
        raise SevhistoError(Problem(str(path), "does not say when the key was opened", "restore it from a backup"))
    return record
