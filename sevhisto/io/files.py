"""Files that are there whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, BinaryIO

from sevhisto.types import OutputError, Problem

TEMPORARY = ".tmp"
"""Ending of a file or folder that is being written."""
_SEAL = "sha256_of_the_rest"


_together: ContextVar[list[tuple[Path, Path]] | None] = ContextVar("together", default=None)


@contextmanager
def all_together(seal: Path) -> Iterator[Callable[[], dict[str, str]]]:
    """Write the files of this block as one: none is seen before the last is on the disk, and a fault on the way leaves all as it was.

    `seal` is the file, one of these, that says that the others belong together: it is away while they are put into place, which takes
    milliseconds. Whoever reads them asks for it first. Yields what returns the sha256 (hex) of every file so far, by name.
    """
    staged: list[tuple[Path, Path]] = []
    token = _together.set(staged)

    def sums() -> dict[str, str]:
        with _told(seal.parent):
            return {path.name: digest(temporary) for temporary, path in staged}

    try:
        yield sums
        staged.sort(key=lambda pair: pair[1] == seal)
        with _told(seal.parent):
            if any(path == seal for _, path in staged):
                seal.unlink(missing_ok=True)
            for temporary, path in staged:
                temporary.replace(path)
            for folder in dict.fromkeys(path.parent for _, path in staged):
                _sync_folder(folder)
    finally:
        _together.reset(token)
        for temporary, _ in staged:
            temporary.unlink(missing_ok=True)


def digest(path: Path) -> str:
    """Return the sha256 (hex) of one file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to write into; a reader sees the old bytes or the new ones, never a part. OutputError where that is not possible."""
    staged = _together.get()
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name[:80]}.", suffix=TEMPORARY, dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o644)  # mkstemp gives 0600; results are shared in a lab
            if staged is not None:
                staged.append((temporary, path))
                return
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


def write_bytes_atomic(path: Path, data: bytes) -> None:
    """Write a file at once; see `whole_file`."""
    with whole_file(path) as file:
        file.write(data)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside a place, to be moved there whole (``replace``); gone at the end if it was not. OSError of the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=TEMPORARY, dir=path.parent))
    try:
        made.chmod(0o755)  # mkdtemp gives 0700; results are shared in a lab
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def remove_unfinished(*folders: Path) -> None:
    """Remove files and folders that were being written when a process was killed. Only for who holds the folder (io.lock)."""
    for folder in folders:
        for path in folder.glob(f".*{TEMPORARY}"):
            with _told(path):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        remedy = "close it in other programs, or check free space and permissions; the earlier file is untouched"
        raise OutputError(Problem(str(path), f"cannot be written: {error.strerror or error}", remedy)) from error


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be opened there; the rename itself is journalled
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, data: Any) -> None:
    """Write JSON, keys sorted; NaN and infinity are refused (ValueError), since no other program could read them."""
    write_bytes_atomic(path, _as_json(data))


def _as_json(data: Any) -> bytes:
    return (json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def write_sealed(path: Path, facts: dict[str, Any]) -> None:
    """Write facts as JSON, with a checksum of them all: one digit of them that changes on a disk is a fact like any other."""
    write_bytes_atomic(path, sealed_json(facts))


def read_sealed(path: Path) -> dict[str, Any]:
    """Return what `write_sealed` wrote; ValueError where it is not that any more. One without a seal (of an older version) is taken."""
    return unsealed(path.read_bytes())


def sealed_json(facts: dict[str, Any]) -> bytes:
    """Return facts as JSON with their checksum."""
    return _as_json(facts | {_SEAL: _sum(facts)})


def unsealed(data: bytes) -> dict[str, Any]:
    """Return the facts of `sealed_json`; errors as `read_sealed`."""
    facts = json.loads(data.decode("utf-8"))
    if not isinstance(facts, dict):
        raise ValueError("not an object")
    seal = facts.pop(_SEAL, None)
    if seal is not None and seal != _sum(facts):
        raise ValueError("its own checksum does not fit: it was edited, or a part of it was lost")
    return facts


def _sum(facts: dict[str, Any]) -> str:
    return hashlib.sha256(_as_json(json.loads(_as_json(facts)))).hexdigest()  # keys become text before they are put in order
