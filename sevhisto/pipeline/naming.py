"""What animals, files and batches are called in the results: codes until the study is open."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sevhisto.io.key import Key, with_codes
from sevhisto.io.study import image_stem


@dataclass(frozen=True)
class Names:
    """How animals and files are called in the results: by code until the study is open.

    `key` is None for an open study; where it is not, names are also sought in sections, batches and what people wrote.
    """

    animals: Mapping[str, str]
    files: Mapping[str, str]
    key: Key | None = None

    @classmethod
    def of(cls, key: Key, is_open: bool) -> Names:
        """Return true names for an open study, codes otherwise."""
        if is_open:
            return cls({name: name for name in key.animals}, {name: name for name in key.files})
        return cls(key.animals, key.files, key)

    def shown(self, animal: str, section: str) -> tuple[str, str]:
        """Return what an animal and a section of it are called."""
        return (self.animals[animal], section) if self.key is None else self.key.shown(animal, section)

    def batch(self, batch: str) -> str:
        """Return what a stain batch is called."""
        return batch if self.key is None else self.key.batches.get(batch, batch)

    def written(self, text: str) -> str:
        """Return what a person wrote, without true names."""
        return text if self.key is None else self.key.hide(text)

    def clean(self, text: str) -> str:
        """Return a message without true names: an error often quotes the file, or the outlines that are named after it."""
        wholes, stems, lengths = self._parts

        def code_at(i: int, n: int) -> str | None:
            if i and _WORD.match(text[i - 1]):
                return None
            part, rest = text[i : i + n], text[i + n : i + n + 40]
            if part in wholes and not _WORD.match(rest):
                return wholes[part]
            return stems[part] if part in stems and _ENDING.match(rest) else None

        return with_codes(text, lengths, code_at)

    @cached_property
    def _parts(self) -> tuple[dict[str, str], dict[str, str], list[int]]:
        """Coded names with and without folder, their stems, and how long these are, longest first."""
        wholes: dict[str, str] = {}
        stems: dict[str, str] = {}
        for name, code in sorted(self.files.items(), key=lambda item: -len(item[0])):
            if name and name != code:
                stem = image_stem(name)
                for whole in (name, Path(name).name):
                    wholes.setdefault(whole, code)
                for part in (stem, Path(stem).name):
                    stems.setdefault(part, code)
        return wholes, stems, sorted({len(n) for n in (*wholes, *stems) if n}, reverse=True)


_WORD = re.compile(r"\w")
_ENDING = re.compile(r"(_scene\d+)?\.\w")
"""What follows the stem of a file's name: a stem such as 1 is a word of its own elsewhere."""
