"""Why numbers differ between two runs: what was put in differently, and what moved with it. Tables to a table; no file is read here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import pandas as pd

from sevhisto.compare.reasons import Place, Reasons
from sevhisto.metrics import METRIC_UNITS, endpoint_name
from sevhisto.schema_evidence import DIFFERENCES, PROVENANCE, STAGES

SECTION = ["animal", "section", "panel"]
THRESHOLD = ["panel", "batch", "marker"]
_PLACE = ("animal", "section", "panel", "batch", "zone", "marker")
_WORDS = ("batch", "reasons", "verdict", "threshold_controls", "controls", "doubts", "bridge_sections")
"""Columns that name sections, or say in words what other columns tell."""
_OF_FILES = {"slide_sha256": "image file", "labels_sha256": "label image of", "drawn_sha256": "drawn outlines of"}
_SHEET = ("batch", "role", "position_um")
_COMPARED = {
    "contrasts_sha256": "contrasts",
    "protocols_sha256": "protocols",
    "groups_sha256": "groups or blocks of the animals",
    "opened": "key opened",
}


@dataclass(frozen=True)
class Run:
    """One run: run.json, compared.json (empty before a comparison) and its tables, under names that both runs share."""

    facts: Mapping[str, Any]
    compared: Mapping[str, Any]
    provenance: pd.DataFrame
    thresholds: pd.DataFrame
    sections: pd.DataFrame
    animals: pd.DataFrame
    comparisons: pd.DataFrame | None = None


class Move(NamedTuple):
    """One thing that differs."""

    stage: str
    what: str
    old: Any = ""
    new: Any = ""
    place: Mapping[str, Any] = {}
    causes: tuple[str, ...] = ()


def differences(old: Run, new: Run) -> pd.DataFrame:
    """Return `schema_evidence.DIFFERENCES`: all that differs from `old` to `new`, in the order of `schema_evidence.STAGES`.

    What was put in (files, settings, versions, drawn outlines, exclusions) stands first and has no cause; background, outlines, thresholds,
    sections, animals and results follow, each with what moved it. A row without cause says so: nothing that is recorded explains it.
    """
    moves = list(_Pair(old, new).moves())
    rows = [
        {
            "stage": m.stage,
            **{name: str(m.place.get(name, "")) for name in _PLACE},
            "what": m.what,
            "old": _text(m.old),
            "new": _text(m.new),
            "change_pct": _change_pct(m.old, m.new),
            "cause": "; ".join(m.causes) or ("" if m.stage in GIVEN else UNEXPLAINED),
        }
        for m in moves
    ]
    frame = pd.DataFrame(rows, columns=DIFFERENCES.names)
    order = frame["stage"].map({stage: i for i, stage in enumerate(STAGES)})
    return DIFFERENCES.conform(frame.iloc[order.sort_values(kind="stable").index].reset_index(drop=True))


GIVEN = STAGES[:4]
"""Stages of what was put in: it has no cause here."""
UNEXPLAINED = "not explained by anything that is recorded"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.12g}"
    return str(value)


def _change_pct(old: Any, new: Any) -> float:
    if not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in (old, new)) or old == 0 or old != old:
        return math.nan
    return 100 * (float(new) - float(old)) / abs(float(old))


class _Pair:
    """Two runs side by side."""

    def __init__(self, old: Run, new: Run) -> None:
        self.old, self.new = old, new

    def moves(self) -> Iterator[Move]:
        yield from self.inputs
        yield from self.settings
        yield from self.versions
        yield from self.exclusions()
        yield from self.background
        yield from self.outlines
        yield from self.thresholds
        yield from self.sections
        yield from self.animals
        yield from self.results()

    # ------------------------------------------------------------ what was put in

    @cached_property
    def lines(self) -> dict[Place, dict[str, Any]]:
        """Sections of either run: columns of provenance.csv with `_old` and `_new`, None in a run that does not list it."""
        a, b = ({tuple(map(str, k)): r for k, r in _rows(run.provenance, SECTION)} for run in (self.old, self.new))
        columns = [c for c in PROVENANCE.names if c not in SECTION]
        return {
            (place[0], place[1], place[2]): {
                f"{c}_{side}": rows.get(place, {}).get(c) for c in columns for side, rows in (("old", a), ("new", b))
            }
            for place in sorted({*a, *b})
        }

    @cached_property
    def reasons(self) -> Reasons:
        backgrounds = (run.facts["background"] for run in (self.old, self.new))
        return Reasons(self.lines, [m.what for m in self.settings], [m.what for m in self.versions], *backgrounds)

    @cached_property
    def inputs(self) -> list[Move]:
        found: dict[tuple[Any, str], Move] = {}
        for place, line in self.lines.items():
            where = _where(place)
            if line["file_old"] is None or line["file_new"] is None:
                a, b = ("no" if line[f"file_{side}"] is None else "yes" for side in ("old", "new"))
                found[place, "listed"] = Move("inputs", "listed in slides.csv", a, b, where)
                continue
            for column in ("batch", "role", "position_um", "listed_sha256"):
                if line[f"{column}_old"] != line[f"{column}_new"]:
                    what = "piece, scene, pixel size or side" if column == "listed_sha256" else column
                    found[place, column] = Move("inputs", f"slides.csv: {what}", *_told(line, column), where)
            for column, what in _OF_FILES.items():
                if line[f"{column}_old"] != line[f"{column}_new"]:
                    found[line["file_new"], column] = Move("inputs", f"{what} {line['file_new']}", *_told(line, column))
        a, b = (run.facts["sheets_sha256"]["motor.csv"] for run in (self.old, self.new))
        return [*found.values(), *([Move("inputs", "motor.csv", a[:12], b[:12])] if a != b else [])]

    @cached_property
    def settings(self) -> list[Move]:
        a, b = (dict(_flat(run.facts["settings"], "")) for run in (self.old, self.new))
        found = [Move("settings", name, a.get(name, ""), b.get(name, "")) for name in sorted({*a, *b}) if a.get(name) != b.get(name)]
        if self.old.compared and self.new.compared:
            for name, what in _COMPARED.items():
                a, b = self.old.compared.get(name, ""), self.new.compared.get(name, "")
                if a != b:
                    found.append(Move("settings", what, a[:19], b[:19]))
        return found

    @cached_property
    def versions(self) -> list[Move]:
        a, b = (run.facts["program"] for run in (self.old, self.new))
        return [Move("version", name, a.get(name, ""), b.get(name, "")) for name in sorted({*a, *b}) if a.get(name) != b.get(name)]

    def exclusions(self) -> Iterator[Move]:
        for place, line in self.lines.items():
            a, b = line["excluded_old"], line["excluded_new"]
            if a != b and isinstance(a, str) and isinstance(b, str):
                what = "left out" if not a else "taken in again" if not b else "left out for another reason"
                yield Move("exclusions", what, a, b, _where(place))

    # ------------------------------------------------------------ what follows from it

    @cached_property
    def background(self) -> list[Move]:
        a, b = (run.facts["background"] for run in (self.old, self.new))
        found = []
        for name in sorted({*a, *b}):
            if a.get(name, {}).get("sha256") == b.get(name, {}).get("sha256"):
                continue
            panel, _, batch = name.partition(" / ")
            flat = [dict(_flat({k: v for k, v in side.get(name, {}).items() if k not in ("sha256", "slides")}, "")) for side in (a, b)]
            moved = [k for k in sorted({*flat[0], *flat[1]}) if flat[0].get(k) != flat[1].get(k)] or ["beyond the digits of run.json"]
            for k in moved:
                place = {"panel": panel, "batch": batch}
                found.append(Move("background", k, flat[0].get(k, ""), flat[1].get(k, ""), place, self.reasons.of_background(name)))
        return found

    @cached_property
    def outlines(self) -> list[Move]:
        found = []
        for place, line in self.lines.items():
            a, b = line["outline_sha256_old"], line["outline_sha256_new"]
            if a != b and isinstance(a, str) and isinstance(b, str):
                a, b = (line[f"outline_from_{side}"] or "none" for side in ("old", "new"))
                found.append(Move("outlines", "lesion, white matter or masked area", a, b, _where(place), self.reasons.records[place]))
        return found

    @cached_property
    def thresholds(self) -> list[Move]:
        columns = ["threshold", "puncta_threshold", "cell_threshold", "source"]
        sources = {key: str(row["source"]) for key, row in _rows(self.new.thresholds, THRESHOLD)}
        found = []
        for key, column, a, b in _cells(self.old.thresholds, self.new.thresholds, THRESHOLD, columns):
            place = dict(zip(THRESHOLD, key, strict=True))
            found.append(Move("thresholds", column, a, b, place, self.reasons.of_threshold(place, sources.get(key, ""), column)))
        return found

    @cached_property
    def sections(self) -> list[Move]:
        keys = [*SECTION, "zone", "marker"]
        moved: dict[tuple[str, str], dict[str, set[str]]] = {}
        for m in self.thresholds:
            moved.setdefault((m.place["panel"], m.place["batch"]), {}).setdefault(m.place["marker"], set()).add(m.what)
        found = []
        for key, column, a, b in _cells(self.old.sections, self.new.sections, keys):
            place = dict(zip(keys, key, strict=True))
            batch = self.lines[key[:3]]["batch_new"] or self.lines[key[:3]]["batch_old"]
            causes = self.reasons.of_section(key[:3], place["marker"], column, moved.get((place["panel"], batch), {}))
            found.append(Move("sections", column, a, b, place | {"batch": batch}, causes))
        return found

    @cached_property
    def animals(self) -> list[Move]:
        keys = ["animal", "panel", "zone", "marker", "metric"]
        causes: dict[tuple[str, str], dict[str, None]] = {}
        for m in self.sections:
            causes.setdefault((m.place["animal"], m.place["panel"]), {}).update(dict.fromkeys(m.causes))
        motor = [m.what for m in self.inputs if m.what == "motor.csv"] + list(self.reasons.settings_in("motor."))
        found = []
        for key, column, a, b in _cells(self.old.animals, self.new.animals, keys, ["value", "n_sections", "n_expected", "flags"]):
            animal, panel, zone, marker, metric = key
            own = causes.get((animal, panel), {}) if zone else motor
            what = metric if column == "value" else f"{metric}: {column}"
            place = {"animal": animal, "panel": panel, "zone": zone, "marker": marker}
            found.append(Move("animals", what, a, b, place, self.reasons.of_animal(animal, panel, own)))
        return found

    def results(self) -> Iterator[Move]:
        if self.old.comparisons is None or self.new.comparisons is None:
            return
        touched: dict[str, dict[str, None]] = {}
        for m in self.animals:
            metric = m.what.partition(":")[0]
            if metric in METRIC_UNITS:
                name = endpoint_name(m.place["panel"], m.place["zone"], m.place["marker"], metric)
                touched.setdefault(name, {})[f"animal {m.place['animal']}"] = None
        plan = tuple(m.what for m in self.settings if m.what.startswith(("endpoints", "comparison")) or m.what in _COMPARED.values())
        columns = ["n_a", "n_b", "estimate", "ci_low", "ci_high", "p", "p_adjusted", "robustness", "flags"]
        for key, column, a, b in _cells(self.old.comparisons, self.new.comparisons, ["endpoint", "contrast"], columns):
            yield Move("results", f"{key[0]}, {key[1]}: {column}", a, b, {}, (*touched.get(key[0], {}), *plan, *self.reasons.versions))


def _where(place: Any) -> dict[str, Any]:
    return dict(zip(SECTION, place, strict=True))


def _told(line: Mapping[str, Any], column: str) -> tuple[Any, Any]:
    """Return a column before and now; of a hash its start."""
    found = line[f"{column}_old"], line[f"{column}_new"]
    return (found[0][:12], found[1][:12]) if column.endswith("sha256") else found


def _rows(frame: pd.DataFrame, keys: list[str]) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Yield the key and the other columns of each row; None for a number that is not there."""
    for row in frame.to_dict("records"):
        yield tuple(row[k] for k in keys), {str(k): None if v != v else v for k, v in row.items() if k not in keys}


def _cells(
    old: pd.DataFrame, new: pd.DataFrame, keys: list[str], columns: list[str] | None = None
) -> Iterator[tuple[tuple[Any, ...], str, Any, Any]]:
    """Yield key, column, old and new value of every cell that differs; ``there`` stands for a row that only one of them has."""
    a, b = old.set_index(keys), new.set_index(keys)
    wanted = [c for c in (columns or [c for c in b.columns if c not in _WORDS]) if c in a.columns and c in b.columns]
    for key in a.index.difference(b.index):
        yield key, "row", "there", ""
    for key in b.index.difference(a.index):
        yield key, "row", "", "there"
    both = a.index.intersection(b.index)
    x, y = a.loc[both, wanted], b.loc[both, wanted]
    for column in wanted:
        differs = (x[column] != y[column]) & ~(x[column].isna() & y[column].isna())
        yield from ((k, column, p, q) for k, p, q in zip(both[differs], x.loc[differs, column], y.loc[differs, column], strict=True))


def _flat(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield dotted name and value of each leaf; entries of a list of tables go by their marker or name, or by number."""
    if isinstance(value, Mapping):
        for k, v in value.items():
            yield from _flat(v, f"{name}.{k}" if name else str(k))
    elif isinstance(value, list) and value and all(isinstance(v, Mapping) for v in value):
        for i, v in enumerate(value, 1):
            yield from _flat(v, f"{name}.{v.get('marker') or v.get('name') or v.get('into') or i}")
    else:
        yield name, value if isinstance(value, (int, float, str)) else str(value)
