"""Change what is drawn on one section: saved as the correction that `run` measures by, every version kept, to be undone at any time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sevhisto.io.annotations import Outline
from sevhisto.io.files import write_bytes_atomic
from sevhisto.io.key import Key, codes
from sevhisto.io.outlines import Feature, collection_bytes, feature_of, features_in, outlines_of_features, traced
from sevhisto.io.records import load_record
from sevhisto.io.store import read_table
from sevhisto.io.study import Study, load_study, paths_for
from sevhisto.io.versions import ENDING, History
from sevhisto.pipeline.excluding import exclude
from sevhisto.registry import split_flags
from sevhisto.schema import RECORDS, STATUS
from sevhisto.types import Problem, SevhistoError, Shown, StudyError

GEOJSON = (".geojson", ".json")
REPLACED = ".replaced"
"""Ending of an ImageJ file whose outlines were changed in the viewer, and are in a GeoJSON file since."""


@dataclass
class Editing:
    """What is drawn on one section, and its history.

    Attributes
    ----------
    path : the file of corrections of its slide, there or not
    found : the file that is there now; an ImageJ file is replaced when something is saved
    piece : as in slides.csv; 0 where the section is all tissue of the slide
    features : what is drawn on the section now
    others : what is drawn on other pieces of the slide
    history : versions of `features`
    """

    path: Path
    found: Path | None
    piece: int
    features: tuple[Feature, ...]
    others: tuple[Feature, ...]
    history: History

    @property
    def outlines(self) -> list[Outline]:
        """What is drawn, in the order in which it counts."""
        return outlines_of_features(self.features)

    @property
    def can_undo(self) -> bool:
        """Whether there is an earlier version."""
        return bool(self.history.before) or self._changed_outside

    @property
    def can_redo(self) -> bool:
        """Whether a later version was undone."""
        return bool(self.history.after) and not self._changed_outside

    @property
    def _changed_outside(self) -> bool:
        """Whether the file holds something else than the current version, as after a change in QuPath."""
        return bool(self.history.current) and self.features != self.history.features

    def save(self, outlines: Sequence[Outline], what: str, who: str) -> None:
        """Make these the outlines of the section: first in the file by which it is measured, then as a version.

        Parameters
        ----------
        what : what was done, in a word

        Raises
        ------
        SevhistoError
            The file cannot be written: the earlier one is untouched. Or the history cannot: then the outlines are saved all the same.
        """
        features = tuple(feature_of(o, self.piece) for o in outlines)
        before = self.features
        self._write(features)
        if before != self.history.features or not self.history.current:
            self.history.add(before, "found", who)
        self.history.add(features, what, who)

    def undo(self, who: str) -> None:
        """Go back to the version before; nothing where there is none. Errors as in `save`."""
        if self._changed_outside:
            self._write(self.history.features)
        elif self.can_undo:
            self._go_to(self.history.before, who)

    def redo(self, who: str) -> None:
        """Go to the version that was undone; nothing where there is none. Errors as in `save`."""
        if self.can_redo:
            self._go_to(self.history.after, who)

    def _go_to(self, number: int, who: str) -> None:
        self._write(self.history.versions[number].features)
        self.history.go_to(number, who)

    def _write(self, features: tuple[Feature, ...]) -> None:
        replaced = self.found if self.found is not None and self.found.suffix.lower() not in GEOJSON else None
        if replaced is not None:
            _moved(replaced, replaced.with_name(replaced.name + REPLACED))  # two files for one image would be an error
        try:
            _write_all(self.path, (*self.others, *features))
        except SevhistoError:
            if replaced is not None:
                _moved(replaced.with_name(replaced.name + REPLACED), replaced)
            raise
        self.features, self.found = features, self.path if self.others or features else None


def _write_all(path: Path, features: Sequence[Feature]) -> None:
    if features:
        write_bytes_atomic(path, collection_bytes(features))
        return
    try:
        path.unlink(missing_ok=True)  # nothing drawn is no file, as before anything was
    except OSError as error:
        raise StudyError(Problem(str(path), f"cannot be removed: {error.strerror or error}", "check permissions")) from error


def _moved(old: Path, new: Path) -> None:
    try:
        old.replace(new)
    except OSError as error:
        raise StudyError(Problem(str(old), f"cannot be renamed: {error.strerror or error}", "check permissions")) from error


def open_editing(study: Study, key: Key, animal: str, section: str, panel: str, record: Shown) -> Editing:
    """Return what is drawn on a section, ready to be changed; nothing is written.

    Parameters
    ----------
    study, key : the study may be unaware of its groups; the key is that of the whole study
    animal, section : as the results show them
    record : of the section, as it was measured last: outlines without a piece that lie on it are its own

    Raises
    ------
    SevhistoError
        The corrections or their history cannot be read, or the section is not listed.
    """
    file, scene, piece = _listed(study, key, animal, section, panel)
    path = next(paths_for(study.root / "corrections", file, scene, (".geojson",)))
    found = study.corrections(file, scene)
    if found is not None and found.suffix.lower() in GEOJSON:
        path = found
    features = [] if found is None else features_in(found)
    on_it = _lies_on(record, piece)
    mine = tuple(f for f in features if on_it(f))
    others = tuple(f for f in features if not on_it(f))
    history = History.read(path.with_name(path.name + ENDING), piece)
    return Editing(path, found, piece, mine, others, history)


def _listed(study: Study, key: Key, animal: str, section: str, panel: str) -> tuple[str, int, int]:
    """Return file, scene and piece of a section; names may be codes."""
    for row in study.slides.to_dict("records"):
        names = {(row["animal"], row["section"]), key.shown(row["animal"], row["section"])}
        if (animal, section) in names and row["panel"] == panel:
            return str(row["file"]), int(row["scene"]), int(row["piece"])
    where = f"animal {animal}, section {section}, panel {panel}"
    raise StudyError(Problem(where, "is not listed in slides.csv", "run the study again"))


def _lies_on(record: Shown, piece: int) -> Callable[[Feature], bool]:
    """Return a function that tells whether a feature belongs to a section: by its piece, or else by its middle."""
    low = np.array(record.meta["corner_px"], np.float64)
    high = low + np.array(record.masks["tissue"].shape) * float(record.meta["overview_factor"])

    def on_it(feature: Feature) -> bool:
        shapes = outlines_of_features([feature])
        if not shapes or not shapes[0].kind:
            return False
        if shapes[0].piece or not piece:
            return shapes[0].piece in (0, piece)
        points = np.concatenate([ring for shape in shapes for ring in (*shape.polygons, *shape.strokes)])
        middle = (points.min(axis=0) + points.max(axis=0)) / 2
        return bool((middle >= low).all() and (middle < high).all())

    return on_it


def program_outline(record: Shown) -> list[Outline]:
    """Return the lesion core of a record as outlines to start from, holes as ``not lesion``; none where it has no core."""
    core = record.masks["core"] > 0
    y0, x0 = (float(c) for c in record.meta["corner_px"])
    outer, holes = traced(core, float(record.meta["overview_factor"]), (y0, x0))
    return [*(Outline("lesion", [ring], []) for ring in outer), *(Outline("not lesion", [ring], []) for ring in holes)]


def for_polygons(outlines: Sequence[Outline]) -> tuple[list[Outline], list[Outline]]:
    """Return the same areas as outlines of one ring each, and those that cannot be shown so: areas with holes that are no lesion.

    A viewer's polygons have no holes: that of a lesion becomes ``not lesion``. Such lesions come first, as nothing else may be cut.
    """
    holed = [o for o in outlines if o.kind == "lesion" and o.holes]
    plain = [o for o in outlines if not o.holes]
    parts = [replace(o, polygons=[ring], holes=[]) for o in holed for ring in o.polygons]
    parts += [replace(o, name="not lesion", polygons=[ring], holes=[]) for o in holed for ring in o.holes]
    parts += [replace(o, polygons=[ring]) for o in plain for ring in o.polygons]
    return parts, [o for o in outlines if o.holes and o.kind != "lesion"]


def sign_areas(root: Path) -> int:
    """Give reason and name to areas drawn in the viewer that the last run found unsigned, and return on how many sections.

    Reason and person are those of the drawing; where areas of one section have several reasons it is ``other``, and the note names them.
    SevhistoError where a study, a record or a journal cannot be read.
    """
    study = load_study(root)
    key = codes(study)
    status = read_table(study.results_dir / STATUS.name, STATUS)
    records = read_table(study.results_dir / RECORDS.name, RECORDS)["record"]
    signed = 0
    for line, name in zip(status.to_dict("records"), records, strict=True):
        if "exclusion_unsigned" not in split_flags(str(line["flags"])):
            continue
        place = (str(line["animal"]), str(line["section"]), str(line["panel"]))
        editing = open_editing(study, key, *place, load_record(study.results_dir / "records" / str(name)))
        reasons = list(dict.fromkeys(o.reason for o in editing.outlines if o.kind == "excluded" and o.reason))
        version = editing.history.versions.get(editing.history.current)
        if version is None or not reasons or editing.features != version.features:
            continue  # drawn elsewhere: who did is not known here
        reason, note = (reasons[0], "") if len(reasons) == 1 else ("other", ", ".join(reasons))
        exclude(root, *place, who=version.who, reason=reason, note=note, areas=True)
        signed += 1
    return signed
