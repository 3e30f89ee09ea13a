"""What can have moved a background, an outline, a threshold, a section or an animal: only what is recorded to differ is named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Place = tuple[str, str, str]
_SAMPLES = ("sample", "uninjured", "bridge")
_COMMON = ("background", "setting", "version", "image file")
"""Causes that name themselves, without the section."""
_READ = ("imaging.", "panels.", "study.orientation")
"""Settings that pixels are read with."""
_LATER = (".threshold", ".cell_compartment", ".antibody", ".clone", ".dilution")
"""Settings of a channel that no pixel depends on."""
_WITHOUT_THRESHOLD = {"zone_um2", "cavity_um2", "masked_um2", "signal_sum", "background", "focus", "position_um", "core_confidence"}
_IN_PAIRS = ("cd68", "cd206", "free")
"""Parts of names of columns that rest on the thresholds of other markers too."""


class Reasons:
    """What differs between two runs, asked by what may follow from it.

    Parameters
    ----------
    lines : by (animal, section, panel): columns of provenance.csv with `_old` and `_new`; None in a run that does not list the section
    settings : names of settings that differ
    versions : names of programs whose version differs
    before, now : ``background`` of run.json
    """

    def __init__(
        self,
        lines: Mapping[Place, Mapping[str, Any]],
        settings: Sequence[str],
        versions: Sequence[str],
        before: Mapping[str, Any],
        now: Mapping[str, Any],
    ) -> None:
        self.lines, self.settings = lines, settings
        self.versions = (f"version of {', '.join(versions)}",) if versions else ()
        self.before, self.now = before, now
        self.records = {place: self._of_record(place) for place in lines}
        self.gone = {place for place, line in lines.items() if line["excluded_old"] != line["excluded_new"]}
        self.touched = {lines[p]["batch_new"] for p in lines if p in self.gone or self.records[p]}

    def _all(self, causes: Iterable[str]) -> tuple[str, ...]:
        """Return causes once each; a version that differs can always have a part in it."""
        return tuple(dict.fromkeys([*causes, *self.versions]))

    def settings_in(self, *starts: str) -> tuple[str, ...]:
        """Return what to say of the settings that differ and start so."""
        return tuple(f"setting {name}" for name in self.settings if name.startswith(starts))

    def _read_settings(self, panel: str) -> tuple[str, ...]:
        names = [n for n in self.settings if n.startswith(_READ) and not n.endswith(_LATER)]
        return tuple(f"setting {n}" for n in names if not n.startswith("panels.") or n.startswith(f"panels.{panel}."))

    def of_background(self, name: str) -> tuple[str, ...]:
        """Return what moved the background of ``panel / batch``."""
        panel, _, batch = name.partition(" / ")
        a, b = (set(side.get(name, {}).get("slides", [])) for side in (self.before, self.now))
        rows = [line for line in self.lines.values() if line["file_new"] in a & b]
        causes = [f"image file {f}" for f in sorted({line["file_new"] for line in rows if _differs(line, "slide_sha256")})]
        causes += [f"made from {f} too" for f in sorted(b - a)] + [f"no longer made from {f}" for f in sorted(a - b)]
        causes += ["slides.csv"] * any(_differs(line, "listed_sha256") for line in rows)
        return self._all([*causes, *self.settings_in(f"batches.{batch}."), *self._read_settings(panel)])

    def _of_record(self, place: Place) -> tuple[str, ...]:
        """Return why the record of a section is another one; nothing where it is the same."""
        line = self.lines[place]
        if not _differs(line, "record_sha256"):
            return ()
        if line["file_old"] is None or line["file_new"] is None:
            return self._all(["slides.csv"])
        causes = [f"image file {line['file_new']}"] * _differs(line, "slide_sha256")
        causes += ["its row in slides.csv"] * _differs(line, "listed_sha256")
        causes += [f"label image of {line['file_new']}"] * _differs(line, "labels_sha256")
        causes += ["outline drawn anew"] * _differs(line, "drawn_sha256")
        causes += self._read_settings(place[2]) if _differs(line, "settings_sha256") else ()
        causes += [f"background of panel {place[2]}, batch {line['batch_new']}"] * _differs(line, "background_sha256")
        if _differs(line, "outline_sha256") and line["outline_from_new"] == "carried":
            causes.append("outline of the neighbouring section that it takes over")
        return self._all(causes)

    def of_threshold(self, place: Mapping[str, str], source: str, column: str) -> tuple[str, ...]:
        """Return what moved a threshold: settings, or sections that it is made from; `source` is its rung of the ladder."""
        panel, batch, marker = (place[k] for k in ("panel", "batch", "marker"))
        causes = [*self.settings_in(f"panels.{panel}.channels.{marker}.threshold"), *self.settings_in("thresholds.")]
        roles = {source, *(_SAMPLES if column == "cell_threshold" or source == "batch" else ())}
        for section, line in self.lines.items():
            if section[2] != panel or line["batch_new"] != batch or line["role_new"] not in roles:
                continue
            name = f"section {section[0]} {section[1]}"
            causes += [f"{name} {self._went(section)}"] * (section in self.gone)
            causes += [c if c.startswith(_COMMON) else f"{name}: {c}" for c in self.records[section]]
        return self._all(causes)

    def _went(self, place: Place) -> str:
        return "left out" if self.lines[place]["excluded_new"] else "taken in again"

    def of_section(self, place: Place, marker: str, column: str, thresholds: Mapping[str, set[str]]) -> tuple[str, ...]:
        """Return what moved a value of a section; `thresholds` names, by marker, what of them moved in its panel and batch."""
        line = self.lines[place]
        causes = [*self.records[place], *([self._went(place)] if place in self.gone else ())]
        for other, moved in thresholds.items():
            if (other == marker or any(part in column for part in _IN_PAIRS)) and _rests_on(column) & moved:
                causes.append(f"threshold of {other}, batch {line['batch_new']}")
        causes += self.settings_in("zones.")
        if column in ("position_um", "row") and _differs(line, "position_um"):
            causes.append("its position in slides.csv")
        if column == "flags" and not causes and line["batch_new"] in self.touched:
            causes.append("other sections of its batch, which it is compared with")
        return self._all(causes)

    def of_animal(self, animal: str, panel: str, causes: Iterable[str]) -> tuple[str, ...]:
        """Return what moved a value of an animal; `causes` are those of its sections in the panel, or of its motor scores."""
        mine = [place for place in self.lines if place[0] == animal]
        if mine and self.gone.issuperset(mine):
            return self._all([f"animal {self._went(mine[0])}"])
        left = [f"section {place[1]} {self._went(place)}" for place in mine if place in self.gone and place[2] == panel]
        kept = [c for c in causes if c not in ("left out", "taken in again")]
        measured = any(place[2] == panel for place in mine)
        return self._all([*left, *kept, *(self.settings_in("zones.", "study.section_spacing_um") if measured else ())])


def _differs(line: Mapping[str, Any], column: str) -> bool:
    a, b = line[f"{column}_old"], line[f"{column}_new"]
    return bool(a != b)


def _rests_on(column: str) -> set[str]:
    """Return the columns of thresholds.csv that a column of sections.csv rests on."""
    if column in _WITHOUT_THRESHOLD:
        return set()
    if column == "flags":
        return {"threshold", "source", "puncta_threshold", "cell_threshold"}
    if "puncta" in column or column.endswith("_expected"):
        return {"puncta_threshold", "cell_threshold"}
    if "cells" in column or column == "cell_threshold":
        return {"cell_threshold"}
    return {"threshold", "source"}
