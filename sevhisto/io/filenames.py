"""What a file name tells: animal, section, batch and role. What it does not tell stays ``?``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

_START = r"(?<![A-Za-z0-9])"
_END = r"(?![A-Za-z0-9])"
_SECTION = re.compile(rf"{_START}(?:sections?|sect|sec|sn|s)[ _-]?(\d{{1,4}}){_END}", re.IGNORECASE)
_BATCH = re.compile(rf"{_START}(?:batch[ _-]?([A-Za-z]|\d{{1,3}})|b[ _-]?(\d{{1,3}})){_END}", re.IGNORECASE)
_DATE = re.compile(rf"{_START}(20\d\d-[01]\d-[0-3]\d|20\d\d[01]\d[0-3]\d){_END}")
_ANIMAL_WORD = re.compile(rf"{_START}((?:rat|mouse|animal|subject|subj|sub)[ _-]?\d{{1,5}}[A-Za-z]?){_END}", re.IGNORECASE)
_ANIMAL_CODE = re.compile(rf"{_START}([A-Za-z]{{1,2}}-?\d{{1,5}}){_END}")
# letters before a number that mean something else: batch, section, slide, channel, depth, time, magnification, day, panel, lane of a plate,
# white and grey matter
_NOT_ANIMAL = re.compile(r"(?:b|s|sl|wm|gm|c|ch|z|t|x|d|p|cd|w|wk|n|t\d|l\d)-?\d+", re.IGNORECASE)
_ROLES = (
    ("no_primary", r"no[ _-]?prim(?:ary)?(?:[ _-]?ab)?|(?:secondary|sec|2nd)[ _-]?only|2ndary[ _-]?only"),
    ("unstained", r"unstained|no[ _-]?stain"),
    ("single_stain", r"single[ _-]?stain(?:ed)?"),
    ("uninjured", r"uninjured|naive|intact|sham"),
    ("bridge", r"bridge"),
)


@dataclass(frozen=True)
class FileTokens:
    """What a relative path tells; empty where it does not."""

    animal: str
    section: str
    batch: str
    role: str
    doubtful: str = ""


def read_name(path: str) -> FileTokens:
    """Return the tokens of a relative path, such as ``batch1/R01_s03_A.ome.tif``; folders count where the file name is silent."""
    pure = PurePosixPath(path)
    name = re.sub(r"(\.ome)?\.[A-Za-z0-9]{2,5}$", "", pure.name, flags=re.IGNORECASE)
    parts = [name, *reversed(pure.parent.parts)]
    found = [_tokens(re.sub(r"_", " ", part)) for part in parts]

    def first(field: str) -> str:
        return next((getattr(tokens, field) for tokens in found if getattr(tokens, field)), "")

    role = first("role")
    doubtful = "sham was taken as uninjured" if role == "uninjured" and re.search("sham", path, re.IGNORECASE) else ""
    return FileTokens(first("animal"), first("section"), first("batch"), role or "sample", doubtful)


def _tokens(text: str) -> FileTokens:
    section, batch, date = _SECTION.search(text), _BATCH.search(text), _DATE.search(text)
    role = next((role for role, words in _ROLES if re.search(rf"(?<![A-Za-z])(?:{words})(?![A-Za-z])", text, re.IGNORECASE)), "")
    word = _ANIMAL_WORD.search(text)
    # L1 to L6 and T1 to T13 are spinal levels, not animals
    usable = (m[1] for m in _ANIMAL_CODE.finditer(text) if not _NOT_ANIMAL.fullmatch(m[1]) and not re.fullmatch(r"[CTL]\d{1,2}", m[1]))
    animal = re.sub(r"\s", "", word[1]) if word else next(usable, "")
    number = (batch[1] or batch[2]) if batch else (date[1] if date else "")
    return FileTokens(animal, section[1] if section else "", number, role)
