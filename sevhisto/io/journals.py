"""Journals of what people decided: lines of JSON that are only ever appended to, each with a seal over itself and those before it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from sevhisto.types import Problem, StudyError

T = TypeVar("T")
_START = "0" * 64


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_sealed(path: Path, make: Callable[[dict[str, Any]], T], command: str) -> list[tuple[T, str]]:
    """Return every line of a journal, in order, with its seal; none where there is no journal.

    Parameters
    ----------
    make : what a line becomes; ValueError, TypeError or KeyError where it does not fit
    command : what enters a line, to be told where one is damaged

    Raises
    ------
    StudyError
        Names the first line that was changed, moved, removed or cut off after it was written.
    """
    if not path.exists():
        return []
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(Problem(path.name, f"cannot be read: {error}", "restore it from a backup")) from error
    found: list[tuple[T, str]] = []
    previous = _START
    for number, line in enumerate(text.splitlines(), 1):
        try:
            facts = json.loads(line)
            seal = facts.pop("seal")
            entry = make(facts)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise _damaged(path, number, command) from None
        if seal != _seal(previous, facts):
            raise _damaged(path, number, command)
        previous = seal
        found.append((entry, seal))
    if text and not text.endswith("\n"):
        raise _damaged(path, len(found), command)
    return found


def append_sealed(path: Path, facts: Mapping[str, Any], journal: Sequence[tuple[Any, str]], nothing: str) -> None:
    """Append one line to a journal that `read_sealed` gave; StudyError, which says `nothing` happened, where that is not possible."""
    line = json.dumps({**facts, "seal": _seal(journal[-1][1] if journal else _START, facts)}, ensure_ascii=False)
    append_line(path, line, nothing)


def append_line(path: Path, line: str, nothing: str) -> None:
    """Append a line to a file and wait until it is on the disk; where that fails the file is as before, and StudyError says `nothing`."""
    try:
        size = path.stat().st_size if path.exists() else 0
        try:
            with path.open("ab") as file:
                file.write(line.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            if path.exists():
                os.truncate(path, size)  # a full disk may have taken part of the line
            raise
    except OSError as error:
        remedy = f"check free space and permissions; {nothing}"
        raise StudyError(Problem(str(path), f"cannot be written: {error.strerror or error}", remedy)) from error


def _seal(previous: str, facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps([previous, dict(facts)], sort_keys=True).encode()).hexdigest()


def _damaged(path: Path, line: int, command: str) -> StudyError:
    what = "does not fit its seal: it, or a line before it, was changed, moved or cut off by another program or by hand"
    remedy = f"restore the file from a backup; or keep this one under another name and enter what still holds with `{command}`"
    return StudyError(Problem(f"{path.name}, line {line}", what, remedy))
