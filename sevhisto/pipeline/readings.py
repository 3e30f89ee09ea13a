"""One section as several readings saw it: drawn outlines, the program's own, or objects of label images."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sevhisto.imaging.overlap import matched_objects, objects_of, overlap
from sevhisto.io.annotations import SUFFIXES, name_problems, read_outlines
from sevhisto.io.canary import need_codecs
from sevhisto.io.labels import LabelFile
from sevhisto.io.outlines import area_mask
from sevhisto.io.records import load_record, load_tallies
from sevhisto.io.slides import open_slide
from sevhisto.io.sources import Guard
from sevhisto.pipeline.measuring import plan_pieces, reason_of
from sevhisto.pipeline.tasks import SlideTask
from sevhisto.types import BoolArray, IntArray, Problem, SectionRecord, SlideError

AUTO = "auto"
KINDS = ("lesion", "excluded", "white_matter")
NOT_READ = "not drawn by {}"


@dataclass(frozen=True)
class Source:
    """A reading of a slide: its name, and the file; or the program's own outline (`auto`)."""

    name: str
    path: Path | None
    auto: bool = False


@dataclass(frozen=True)
class SectionTask:
    """A section that was measured: its slide, with this piece alone and nothing drawn; its record; and two readings or more."""

    slide: SlideTask
    record: Path
    sources: tuple[Source, ...]

    @property
    def plans_again(self) -> bool:
        """Whether the program's outline is asked for and the record holds a person's."""
        return any(s.auto for s in self.sources) and "contour_drawn" in load_tallies(self.record).meta["flags"]


Row = dict[str, object]


def compare_section(task: SectionTask) -> list[Row]:
    """Return rows of `schema_evidence.AGREEMENT`, without the section's name, for every pair of readings."""
    drawn = all(s.path is None or s.path.suffix.lower() in SUFFIXES for s in task.sources)
    if task.slide.refused:
        pairs, why = itertools.combinations([s.name for s in task.sources], 2), reason_of(SlideError(task.slide.refused))
        return [_row("lesion" if drawn else "objects", a, b, reason=why) for a, b in pairs]
    return list(_outlines(task) if drawn else _objects(task))


def _row(kind: str, a: str, b: str, **found: object) -> Row:
    empty = dict.fromkeys(("area_um2_a", "area_um2_b", "dice", "border_p95_um", "count_a", "count_b", "n_matched", "f1"), float("nan"))
    return {"kind": kind, "reading_a": a, "reading_b": b, **empty, "reason": "", **found}


def _outlines(task: SectionTask) -> Iterator[Row]:
    """Compare areas on the overview grid of the record, within the tissue: what the program would measure by them."""
    record = load_record(task.record)
    um = float(record.meta["overview_um"])
    masks: dict[str, dict[str, BoolArray | str]] = {}
    for source in task.sources:
        masks[source.name] = _own_outline(task, record) if source.auto else _drawn_masks(source, record)
    for kind in KINDS:
        if not any(kind in found for found in masks.values()):
            continue
        readers = [s.name for s in task.sources if kind == "lesion" or not s.auto]  # the program draws nothing else
        for a, b in itertools.combinations(readers, 2):
            first, second = (_mask(masks[name], kind, record) for name in (a, b))
            if isinstance(first, str) and isinstance(second, str) and not first and not second:
                continue
            missing = [f"{name}: {m}" if m else NOT_READ.format(name) for name, m in ((a, first), (b, second)) if isinstance(m, str)]
            if isinstance(first, str) or isinstance(second, str):
                yield _row(kind, a, b, reason="; ".join(missing))
                continue
            found = overlap(first, second, um)
            areas = {"area_um2_a": found.area_a_um2, "area_um2_b": found.area_b_um2}
            yield _row(kind, a, b, dice=found.dice, border_p95_um=found.border_p95_um, **areas)


def _mask(found: dict[str, BoolArray | str], kind: str, record: SectionRecord) -> BoolArray | str:
    """Return the mask of a kind. No excluded area in a file that was looked at means none; no lesion, that it was not drawn there."""
    if kind in found:
        return found[kind]
    return np.zeros(record.masks["tissue"].shape, bool) if kind == "excluded" and "lesion" in found else ""


def _drawn_masks(source: Source, record: SectionRecord) -> dict[str, BoolArray | str]:
    assert source.path is not None
    outlines = read_outlines(source.path)
    problems = name_problems(outlines, source.path.name)
    if problems:
        raise SlideError(problems)
    tissue = record.masks["tissue"] > 0
    y0, x0 = record.meta["corner_px"]
    found: dict[str, BoolArray | str] = {}
    for kind in KINDS:
        mask = area_mask(outlines, kind, (tissue.shape[0], tissue.shape[1]), float(record.meta["overview_factor"]), (y0, x0))
        if mask is not None and (mask & tissue).any():  # outlines may be drawn for some pieces of a slide only
            found[kind] = mask & tissue
    return found


def _own_outline(task: SectionTask, record: SectionRecord) -> dict[str, BoolArray | str]:
    """Return the program's lesion; that of the record, unless a person's stands there. None found is a reading: an empty mask."""
    flags = set(record.meta["flags"])
    if "no_landmark" in flags:
        return {"lesion": "its panel has no landmark"}
    if "contour_drawn" not in flags:
        return {"lesion": record.masks["core"] > 0}
    try:
        need_codecs(task.slide.path)
        guard = Guard(task.slide.path, task.slide.sha256)
        with open_slide(task.slide.path, task.slide.scene, task.slide.um_per_px) as slide:
            (_, plan), *_ = plan_pieces(slide, task.slide)
        guard.check(whole=True)
    except Exception as error:
        return {"lesion": reason_of(error)}
    if isinstance(plan, str):
        return {"lesion": plan}
    if "no_landmark" in plan.flags:
        return {"lesion": "its panel has no landmark"}
    return {"lesion": plan.layout.core} if plan.layout.core.shape == record.masks["core"].shape else {"lesion": "its tissue changed"}


def _objects(task: SectionTask) -> Iterator[Row]:
    """Compare label images or masks over the section's box, in their own pixels."""
    meta = load_tallies(task.record).meta
    read: dict[str, tuple[IntArray, int]] = {}
    with open_slide(task.slide.path, task.slide.scene, task.slide.um_per_px) as slide:
        for source in task.sources:
            assert source.path is not None
            with LabelFile(source.path, slide.shape) as labels:
                (y0, x0), (h, w) = (tuple(v // labels.factor for v in meta[name]) for name in ("corner_px", "shape_px"))
                read[source.name] = np.asarray(labels.read(y0, y0 + h, x0, x0 + w), np.int64), labels.factor
    for a, b in itertools.combinations(read, 2):
        if read[a][1] != read[b][1]:
            raise SlideError(Problem(f"{a} and {b}", "were exported at different sizes", "export both at one downsampling"))
        um = float(meta["um_per_px"]) * read[a][1]
        found = overlap(read[a][0] != 0, read[b][0] != 0, um)
        n_a, n_b, matched = matched_objects(objects_of(read[a][0]), objects_of(read[b][0]))
        f1 = 2 * matched / (n_a + n_b) if n_a + n_b else float("nan")
        areas = {"area_um2_a": found.area_a_um2, "area_um2_b": found.area_b_um2, "dice": found.dice, "border_p95_um": found.border_p95_um}
        yield _row("objects", a, b, **areas, count_a=n_a, count_b=n_b, n_matched=matched, f1=f1)
