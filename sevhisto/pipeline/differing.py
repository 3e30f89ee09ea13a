"""`sevhisto diff`: why a number of one run is another one in the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sevhisto.columns import Table
from sevhisto.compare.differences import Run, differences
from sevhisto.io.files import read_sealed
from sevhisto.io.key import Key, read_key
from sevhisto.io.store import read_table, write_table
from sevhisto.schema import ANIMALS, COMPARISONS, SECTIONS, THRESHOLDS
from sevhisto.schema_evidence import DIFFERENCES, PROVENANCE
from sevhisto.types import Problem, SevhistoError

_TABLES = (PROVENANCE, THRESHOLDS, SECTIONS, ANIMALS)


def diff(old: Path, new: Path, csv: Path | None = None) -> pd.DataFrame:
    """Return `schema_evidence.DIFFERENCES` between two runs, and write it to `csv` where given.

    Parameters
    ----------
    old, new : folders of studies, or of results (such as a copy of ``results/`` that was kept)

    Raises
    ------
    SevhistoError
        A folder holds no finished run, or one of a version that did not record what it rests on.

    Notes
    -----
    Where one run shows names and the other codes, names are shown; where both show codes, those of `new`.
    """
    first, second = _Kept.of(old), _Kept.of(new)
    to_names = first.open or second.open
    found = differences(*(kept.run(kept.namer(first, second, to_names)) for kept in (first, second)))
    if csv is not None:
        write_table(csv, found, DIFFERENCES)
    return found


@dataclass(frozen=True)
class _Kept:
    """A results folder: run.json, and key/compared.json and the key where they are there."""

    folder: Path
    facts: dict[str, Any]
    compared: dict[str, Any]
    key: Key | None

    @classmethod
    def of(cls, folder: Path) -> _Kept:
        results = folder if (folder / "run.json").is_file() else folder / "results"
        if not (results / "run.json").is_file():
            raise SevhistoError(Problem(str(folder), "holds no finished run", "name a study that was run, or a copy of its results folder"))
        facts, compared = (_json(results / name) for name in ("run.json", "key/compared.json"))
        if not (results / PROVENANCE.name).is_file() or "decided_sha256" not in facts:
            what = f"was written by a version that did not keep {PROVENANCE.name}"
            raise SevhistoError(Problem(str(results), what, "run that study again: nothing is lost"))
        key = read_key(results) if (results / "key" / "key.csv").is_file() else None
        return cls(results, facts, compared, key)

    @property
    def open(self) -> bool:
        """Whether its tables show names."""
        return not self.facts["blind"] or (self.folder / "key" / "unblinded.json").is_file()

    def namer(self, first: _Kept, second: _Kept, to_names: bool) -> _Names:
        """Return how its names become those that both runs share."""
        if self.open:
            return _Names()
        key = self.key or (second if self is first else first).key
        if to_names and key is not None:
            return _Names.reveal(key)
        if self is first and self.key is not None and second.key is not None:
            return _Names.reveal(self.key).then(_Names.hide(second.key))  # the study may have another name, and other codes
        return _Names()

    def run(self, names: _Names) -> Run:
        """Return its tables."""
        given, thresholds, sections, animals = (names.table(read_table(self.folder / t.name, t)) for t in _TABLES)
        comparisons = self._if_there(COMPARISONS)
        facts = self.facts | {"background": names.background(self.facts["background"])}
        return Run(facts, self.compared, given, thresholds, sections, animals, comparisons)

    def _if_there(self, table: Table) -> pd.DataFrame | None:
        return read_table(self.folder / table.name, table) if (self.folder / table.name).is_file() else None


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return read_sealed(path)
    except ValueError as error:
        raise SevhistoError(Problem(str(path), f"is damaged ({error})", "run the study again; no slide is read twice")) from error


def _same(name: str) -> str:
    return name


@dataclass(frozen=True)
class _Names:
    """Functions from what a run calls things to what they are called here."""

    animal: Callable[[str], str] = _same
    file: Callable[[str], str] = _same
    batch: Callable[[str], str] = _same
    section: Callable[[tuple[str, str]], tuple[str, str]] = lambda pair: pair

    @classmethod
    def reveal(cls, key: Key) -> _Names:
        animals, files, batches = (_back(m) for m in (key.animals, key.files, key.batches))
        sections = {key.shown(*pair): pair for pair in key.sections}
        return cls(animals, files, batches, lambda pair: sections.get(pair, (animals(pair[0]), pair[1])))

    @classmethod
    def hide(cls, key: Key) -> _Names:
        animals, files, batches = (_forth(m) for m in (key.animals, key.files, key.batches))
        return cls(animals, files, batches, lambda pair: (animals(pair[0]), key.sections.get(pair, pair[1])))

    def then(self, other: _Names) -> _Names:
        return _Names(
            lambda name: other.animal(self.animal(name)),
            lambda name: other.file(self.file(name)),
            lambda name: other.batch(self.batch(name)),
            lambda pair: other.section(self.section(pair)),
        )

    def table(self, frame: pd.DataFrame) -> pd.DataFrame:
        out = frame.copy()
        if "section" in out:
            pairs = [self.section(pair) for pair in zip(out["animal"], out["section"], strict=True)]
            out["animal"], out["section"] = [p[0] for p in pairs], [p[1] for p in pairs]
        elif "animal" in out:
            out["animal"] = [self.animal(name) for name in out["animal"]]
        for column, rename in (("file", self.file), ("batch", self.batch)):
            if column in out:
                out[column] = [rename(name) for name in out[column]]
        return out

    def background(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        found = {}
        for name, told in facts.items():
            panel, _, batch = name.partition(" / ")
            found[f"{panel} / {self.batch(batch)}"] = told | {"slides": [self.file(s) for s in told["slides"]]}
        return found


def _back(names: Mapping[str, str]) -> Callable[[str], str]:
    return _forth({code: name for name, code in names.items()})


def _forth(names: Mapping[str, str]) -> Callable[[str], str]:
    return lambda name: names.get(name, name)
