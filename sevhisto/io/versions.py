"""The versions of what was drawn on one piece of a slide: a history beside the outlines that is only ever appended to."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sevhisto.io.journals import append_line, now
from sevhisto.io.outlines import Feature
from sevhisto.types import Problem, StudyError

ENDING = ".versions.jsonl"


@dataclass(frozen=True)
class Version:
    """One state of the outlines of a piece.

    Attributes
    ----------
    number : counts from 1, over all pieces of the file
    parent : the version that it was made from; 0 for the first
    features : what is drawn
    what : what was done, in a word
    who, when : name, and time in UTC
    """

    number: int
    parent: int
    features: tuple[Feature, ...]
    what: str
    who: str
    when: str


@dataclass
class History:
    """The versions of one piece: a tree, in which one version is current.

    Attributes
    ----------
    path : of the history of the slide's file
    piece : as in slides.csv
    versions : by number
    current : number of the version that holds; 0 before the first
    """

    path: Path
    piece: int
    versions: dict[int, Version] = field(default_factory=dict)
    current: int = 0
    _last: int = 0

    @classmethod
    def read(cls, path: Path, piece: int) -> History:
        """Return the history of a piece; empty where there is none. A last line that was cut off does not count."""
        history = cls(path, piece)
        if not path.exists():
            return history
        try:
            lines = path.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            remedy = "move it away: the outlines themselves are in the file beside it"
            raise StudyError(Problem(path.name, f"cannot be read: {error}", remedy)) from error
        for line in lines:
            try:
                history._take(json.loads(line))
            except (ValueError, KeyError, TypeError):
                continue  # cut off as it was written: what it told is in the outlines themselves
        return history

    def _take(self, told: Mapping[str, Any]) -> None:
        if "version" in told:
            self._last = max(self._last, int(told["version"]))
        if told["piece"] != self.piece:
            return
        if "version" in told:
            facts = (told["features"], told["what"], told["who"], told["when"])
            self.versions[int(told["version"])] = Version(int(told["version"]), int(told["parent"]), tuple(facts[0]), *facts[1:])
        self.current = int(told.get("version", told.get("current", self.current)))

    @property
    def features(self) -> tuple[Feature, ...]:
        """What the current version holds; nothing before the first."""
        return self.versions[self.current].features if self.current in self.versions else ()

    @property
    def before(self) -> int:
        """Number of the version to which undo goes; 0 where there is none."""
        parent = self.versions[self.current].parent if self.current in self.versions else 0
        return parent if parent in self.versions else 0

    @property
    def after(self) -> int:
        """Number of the version to which redo goes, the newest that was made from this one; 0 where there is none."""
        return max((v.number for v in self.versions.values() if v.parent == self.current and self.current), default=0)

    def add(self, features: Sequence[Feature], what: str, who: str) -> None:
        """Append a version, which becomes the current one; StudyError where it cannot be written."""
        version = Version(self._last + 1, self.current, tuple(features), what, who, now())
        told = {"version": version.number, "parent": version.parent, "features": list(features), "what": what, "who": who}
        self._append({**told, "when": version.when})
        self.versions[version.number] = version
        self._last = self.current = version.number

    def go_to(self, number: int, who: str) -> None:
        """Make another version the current one; StudyError where that cannot be written."""
        self._append({"current": number, "who": who, "when": now()})
        self.current = number

    def _append(self, told: Mapping[str, Any]) -> None:
        _cut_off(self.path)
        line = json.dumps({"piece": self.piece, **told}, ensure_ascii=False)
        append_line(self.path, line, "the outlines are saved, but undo will not know of this step")


def _cut_off(path: Path) -> None:
    """Take away a last line that was not written to its end, else the next one would be lost with it."""
    if path.exists() and not (data := path.read_bytes()).endswith(b"\n") and data:
        os.truncate(path, data.rfind(b"\n") + 1)
