"""What every image file was at first sight: size and checksum, so that one that changed or was damaged later never gives a number."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from sevhisto.io.channel_set import slide_files
from sevhisto.io.checksums import Told
from sevhisto.io.files import read_sealed, write_sealed
from sevhisto.io.patience import patiently
from sevhisto.io.slides import folder_files
from sevhisto.types import Problem, SevhistoError, SlideError, StudyError

_SHOWN = 12  # digits of a checksum that a message shows


@dataclass(frozen=True)
class Source:
    """Size in bytes and sha256 (hex) of an image: of its file, or over the names and sums of all files that belong to it."""

    sha256: str
    n_bytes: int


@dataclass(frozen=True)
class Look:
    """An image to be read whole, and what lists of checksums beside it say of its files."""

    path: Path
    told: tuple[Told, ...] = ()


def image_files(path: Path) -> list[Path]:
    """Return the files of an image: what its checksum is made over."""
    return folder_files(path) if path.is_dir() else slide_files(path)


def look_at(path: Path) -> Source:
    """Return what an image is now, read whole; OSError where it cannot be read, not even after a while."""
    return compared(Look(path))[0]


def compared(look: Look) -> tuple[Source, tuple[Problem, ...]]:
    """Return what an image is now, read once for all checksums, and a Problem for each that is not as told; OSError as `look_at`."""
    return patiently(partial(_compared, look))


def _compared(look: Look) -> tuple[Source, tuple[Problem, ...]]:
    path, files = look.path, image_files(look.path)
    n_bytes = sum(p.stat().st_size for p in files)
    told: dict[str, list[Told]] = {}
    for t in look.told:
        told.setdefault(t.path, []).append(t)
    parts, wrong = list[tuple[str, str]](), list[Problem]()
    for p in files:
        own = told.pop(os.path.realpath(p), []) if told else []
        sums = digests(p, {t.algorithm for t in own})
        parts.append((p.relative_to(path if path.is_dir() else path.parent).as_posix(), sums["sha256"]))
        wrong += [_differs(path, t, f"{sums[t.algorithm][:_SHOWN]} now") for t in own if sums[t.algorithm] != t.digits]
    wrong += [_differs(path, t, "no such file now") for entries in told.values() for t in entries]
    whole = parts[0][1] if files == [path] else hashlib.sha256(repr(parts).encode()).hexdigest()
    return Source(whole, n_bytes), tuple(wrong)


def _differs(path: Path, told: Told, now: str) -> Problem:
    what = f"is not what {told.where} says: {told.algorithm} {told.digits[:_SHOWN]} there, {now}"
    return Problem(
        path.name, what, "copy it again from where that list was made; if the image was changed on purpose, correct or remove the list"
    )


def digests(path: Path, algorithms: Collection[str] = ()) -> dict[str, str]:
    """Return the sha256 (hex) of one file, and what other algorithms give, from one reading."""
    made = {name: hashlib.new(name, usedforsecurity=False) for name in {"sha256", *algorithms}}
    with path.open("rb") as stream:
        if len(made) == 1:
            return {"sha256": hashlib.file_digest(stream, "sha256").hexdigest()}
        while piece := stream.read(2**20):
            for one in made.values():
                one.update(piece)
    return {name: one.hexdigest() for name, one in made.items()}


class Guard:
    """Sees to it that an image stays what it was while it is read.

    Parameters
    ----------
    path : the image
    sha256 : what it must be

    Notes
    -----
    `check` compares size, times and inode of every file, and reads them again only where these moved; ``whole=True`` reads them anyway.
    """

    def __init__(self, path: Path, sha256: str) -> None:
        self._path, self._sha256 = path, sha256
        self._state = self._states()

    def _states(self) -> list[tuple[int, ...]]:
        try:
            found = [p.stat() for p in image_files(self._path)]
        except OSError:
            return []
        return [(s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for s in found]

    def check(self, whole: bool = False) -> None:
        """SlideError if the image is no longer what it was."""
        state = self._states()
        if not whole and state == self._state:
            return
        try:
            same = look_at(self._path).sha256 == self._sha256
        except OSError as error:
            what = f"could be read no longer ({error.strerror or error}); nothing that was measured on it is kept"
            raise SlideError(Problem(self._path.name, what, "see to the disk or network, then `sevhisto run` again")) from error
        if not same:
            what = "changed while it was read; nothing that was measured on it is kept"
            raise SlideError(Problem(self._path.name, what, "see that no program writes to it, then `sevhisto run` again"))
        self._state = state


@dataclass
class FirstSight:
    """The images of a study as they were first seen, kept in ``results/key/sources.json``.

    Attributes
    ----------
    files : image, as slides.csv names it
    accepted : changes that a person took as meant
    """

    path: Path
    files: dict[str, Source]
    accepted: list[dict[str, str]]

    @classmethod
    def of(cls, results: Path) -> FirstSight:
        """Return what is kept in a folder of results; SevhistoError where that is damaged."""
        path = results / "key" / "sources.json"
        try:
            kept: Any = read_sealed(path)
            files = {str(name): Source(str(s["sha256"]), int(s["n_bytes"])) for name, s in kept["files"].items()}
            return cls(path, files, [{str(k): str(v) for k, v in a.items()} for a in kept["accepted"]])
        except FileNotFoundError:
            return cls(path, {}, [])
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            remedy = "restore it from a backup; without it nobody can tell whether an image changed. Delete it to begin anew"
            raise SevhistoError(Problem(str(path), f"is damaged ({type(error).__name__}: {error})", remedy)) from error

    def save(self) -> None:
        """Write it whole or not at all; nothing where nothing changed."""
        facts = {"files": {name: asdict(s) for name, s in self.files.items()}, "accepted": self.accepted}
        if not self.path.is_file() or read_sealed(self.path) != facts:
            write_sealed(self.path, facts)

    def compare(self, file: str, now: Source) -> Problem | None:
        """Note an image that is new; return the Problem of one that changed since it was first seen."""
        then = self.files.setdefault(file, now)
        if then == now:
            return None
        size = "" if then.n_bytes == now.n_bytes else f", {then.n_bytes} bytes then and {now.n_bytes} now"
        what = f"changed since it was first seen (sha256 {then.sha256[:_SHOWN]} then, {now.sha256[:_SHOWN]} now{size})"
        remedy = "put the first one back; if it was replaced on purpose: `sevhisto check STUDY --accept FILE`, then run again"
        return Problem(Path(file).name, what, remedy)

    def accept(self, changed: Iterable[tuple[str, Source]]) -> None:
        """Take images as they are now, and note what they were and when that was decided; StudyError for one never seen."""
        for file, now in changed:
            if file not in self.files:
                known = ", ".join(sorted(self.files)[:3]) or "none"
                raise StudyError(Problem("--accept", f"{file!r} was never seen", f"give it as slides.csv does; seen: {known}, ..."))
            was, self.files[file] = self.files[file], now
            time = datetime.now(UTC).isoformat(timespec="seconds")
            self.accepted.append({"file": file, "was": was.sha256, "now": now.sha256, "time": time})
