"""One run at a time in a results folder: the second is told who holds it, and one that died holds nothing."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sevhisto.io.files import sealed_json, unsealed
from sevhisto.types import OutputError, Problem, StudyError

LOCK = ".run.lock"


@contextmanager
def held(results: Path) -> Iterator[None]:
    """Hold a results folder; StudyError that names who does where another run holds it.

    Notes
    -----
    The system ends a lock with its process, however that ended, and no worker has the file: it is opened here only. A lock that was
    written by another computer is respected, as shared folders do not always tell one computer of the locks of another.
    """
    path = results / LOCK
    handle = _taken(path)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(handle)


def _taken(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            locked = _lock(handle)
            if locked is False:
                os.close(handle)
                raise _refusal(path, _owner(path))
            if _is_at(path, handle):
                break
            os.close(handle)  # whoever held it has ended, and taken the file away
        owner = _owner(path)
        if owner and (locked is None or owner.get("host") != socket.gethostname()):
            os.close(handle)
            raise _refusal(path, owner)
        now = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
        os.ftruncate(handle, 0)
        os.write(handle, sealed_json(now))
    except OSError as error:
        remedy = "check free space and permissions; nothing was run"
        raise OutputError(Problem(str(path.parent), f"cannot be written: {error.strerror or error}", remedy)) from error
    return handle


def _lock(handle: int) -> bool | None:
    """Lock an open file; False where another process has it, None where the file system cannot lock: then what stands in it counts."""
    try:
        if os.name == "nt":
            import msvcrt

            os.lseek(handle, 2**30, os.SEEK_SET)  # beyond the text, which others must be able to read
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
            os.lseek(handle, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return None
    return True


def _is_at(path: Path, handle: int) -> bool:
    try:
        there, mine = path.stat(), os.fstat(handle)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)


def _owner(path: Path) -> dict[str, Any]:
    try:
        return unsealed(path.read_bytes())
    except (OSError, ValueError):  # torn when its computer went down: it holds nothing
        return {}


def _refusal(path: Path, owner: dict[str, Any]) -> StudyError:
    who = f"process {owner.get('pid', '?')} on {owner.get('host', 'this computer')}, since {owner.get('since', 'a moment ago')}"
    remedy = f"wait until it is done, or stop it; if it surely runs no more, delete {path.name} in that folder"
    return StudyError(Problem(str(path.parent), f"another run holds it: {who}", remedy))
