"""Checksums that a scanner or a copying program left beside the images: what an image was before anybody here saw it.

Read are ``SHA256SUMS``, ``MD5SUMS``, ``md5sums.txt`` and the like, and files ending in ``.sha256``, ``.md5``, ``.sha1`` or
``.sha512``, in the lines of GNU (``digits  file``) and BSD (``SHA256 (file) = digits``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sevhisto.types import Problem, StudyError

MAX_BYTES = 2**26
_DIGITS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
_LIST = re.compile(r"(md5|sha1|sha256|sha512)sums?(\.txt)?", re.IGNORECASE)
_BSD = re.compile(r"([A-Za-z0-9-]+) ?\((.+)\) ?= ?([0-9a-fA-F]+)")
_GNU = re.compile(r"(\\?)([0-9a-fA-F]{32,})\s[\s*]?(.+)")
_ALONE = re.compile(r"[0-9a-fA-F]{32,}")
_REMEDY = "correct the line, or take the list away if it is none: every image that it lists is held against it"


@dataclass(frozen=True)
class Told:
    """What a list says of one file: its real path, and hexadecimal digits by one algorithm (as hashlib names it)."""

    path: str
    algorithm: str
    digits: str
    where: str


def told_of(home: Path, images: Iterable[Path]) -> dict[str, list[Told]]:
    """Return what lists of checksums say, by the real path of the file.

    Looked for are lists in the folders of the images, and in the folders above as far as `home`. StudyError names every line that makes
    no sense.
    """
    folders: dict[Path, None] = {home: None}
    for image in images:
        for folder in image.parents:
            folders.setdefault(folder)
            if folder == home or not folder.is_relative_to(home):
                break
    found: dict[str, list[Told]] = {}
    problems: list[Problem] = []
    for folder in folders:
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            algorithm = _algorithm(path)
            if algorithm and path.is_file():
                told, wrong = _read(path, algorithm)
                problems += wrong
                for t in told:
                    found.setdefault(t.path, []).append(t)
    if problems:
        raise StudyError(problems)
    return found


def _algorithm(path: Path) -> str:
    named = _LIST.fullmatch(path.name)
    ending = path.suffix[1:].lower()
    return named[1].lower() if named else ending if ending in _DIGITS else ""


def _read(path: Path, algorithm: str) -> tuple[list[Told], list[Problem]]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"larger than {MAX_BYTES // 2**20} MB")
        data = path.read_bytes()
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except (OSError, ValueError) as error:
        return [], [Problem(path.name, f"is no list of checksums ({str(error)[:80]})", _REMEDY)]
    told: list[Told] = []
    problems: list[Problem] = []
    lines = [(i, line.strip()) for i, line in enumerate(text.split("\n"), 1)]
    lines = [(i, line) for i, line in lines if line and line[0] not in "#;"]
    for i, line in lines:
        parts = _parts(path, algorithm, line, len(lines) == 1)
        if parts is None or "\0" in parts[0] or len(parts[2]) != _DIGITS.get(parts[1], -1):
            problems.append(Problem(f"{path.name}, line {i}", f"is no {algorithm} and file: {line[:80]!r}", _REMEDY))
        else:
            name, kind, digits = parts
            told.append(Told(os.path.realpath(path.parent / name), kind, digits.lower(), f"{path.name}, line {i}"))
    return told, problems


def _parts(path: Path, algorithm: str, line: str, alone: bool) -> tuple[str, str, str] | None:
    """File, algorithm and digits of a line; digits alone, in a list of one line, are of the file that the list is named after."""
    bsd, gnu = _BSD.fullmatch(line), _GNU.fullmatch(line)
    if bsd:
        return _name(bsd[2]), bsd[1].lower().replace("-", ""), bsd[3]
    if gnu:
        escaped = re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], gnu[3])
        return escaped if gnu[1] else _name(gnu[3]), algorithm, gnu[2]
    if alone and _ALONE.fullmatch(line) and not _LIST.fullmatch(path.name):
        return path.stem, algorithm, line
    return None


def _name(text: str) -> str:
    return text.replace("\\", "/")  # lists that were made on Windows


def summary(told: dict[str, list[Told]], images: dict[str, list[Path]]) -> str:
    """Return a sentence on how many images have a checksum from before; "" where there are no lists.

    Parameters
    ----------
    images : image, as the study names it -> its files
    """
    if not told:
        return ""
    lists = sorted({t.where.rsplit(", line", 1)[0] for entries in told.values() for t in entries})
    n = sum(any(os.path.realpath(f) in told for f in files) for files in images.values())
    more = f" and {len(lists) - 1} more" if len(lists) > 1 else ""
    return f"{lists[0]}{more}: {n} of {len(images)} images have a checksum from before; `run` and `check --sums` hold them against it"
