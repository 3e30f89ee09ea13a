"""The work on one slide: what a worker process is sent and what it sends back."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from sevhisto import __version__
from sevhisto.config import LABELS, WITHOUT_LESION, segmenter_name, settings_hash
from sevhisto.engine import memory_remedy
from sevhisto.imaging.classify import classifier_for
from sevhisto.imaging.labels import Labelled, survey
from sevhisto.imaging.overview import SlideOverview, marker_reader, piece_box, piece_overview, slide_overview
from sevhisto.imaging.plan import Crop, Drawn, Plan, plan_section
from sevhisto.imaging.quality import closer_look
from sevhisto.imaging.reader import MarkerReader
from sevhisto.imaging.registration import Neighbour
from sevhisto.imaging.section import measure_section
from sevhisto.imaging.shading import flat_of
from sevhisto.io.annotations import name_problems, outline_mask, outlines_of, read_outlines
from sevhisto.io.canary import need_codecs
from sevhisto.io.channels import match_channels
from sevhisto.io.comparable import imaged
from sevhisto.io.labels import LabelFile
from sevhisto.io.models import load_model
from sevhisto.io.outlines import area_mask, of_piece
from sevhisto.io.patience import attempts, may_pass
from sevhisto.io.records import find_record, is_current, kept_overview, load_record, save_record
from sevhisto.io.scene import Acquisition
from sevhisto.io.slides import Slide, open_slide
from sevhisto.io.sources import Guard
from sevhisto.pipeline.own_segmenter import is_own, own_segmenter
from sevhisto.pipeline.tasks import ContourSource, PieceOutcome, PieceTask, SlideTask, file_sha256, labels_sha256, own_hashes, record_key
from sevhisto.types import (
    BoolArray,
    Correction,
    OutputError,
    PixelModel,
    Problem,
    SectionRecord,
    SevhistoError,
    SlideError,
    decode_thumbnail,
)

MAX_OVERVIEW_PX = 3_200_000
"""A section of 8 x 6 mm at 4 um; its overview of five channels takes 64 MB."""
KEPT_FROM_PX = 16_000_000
"""Slides without smaller copies whose overview is kept: those of this size, which take a second and more to average."""


def measure_slide(task: SlideTask) -> list[PieceOutcome]:
    """Measure every section of a slide that has no record; a section that fails costs only itself. OutputError stops the run."""
    if task.refused:
        return [PieceOutcome(p.row, None, reason_of(SlideError(task.refused)), task.sha256) for p in task.pieces]
    sha256 = task.sha256 or file_sha256(task.path)
    outcomes: list[PieceOutcome] = []
    missing = []
    for piece in task.pieces:
        found = _existing(task.records, record_key(task, piece, sha256))
        if found is None:
            missing.append(piece)
        else:
            outcomes.append(PieceOutcome(piece.row, found, sha256=sha256, new=False))
    for last in attempts():
        made = _made(task, missing, sha256) if missing else []
        again = set() if last else {o.row for o in made if o.may_pass}
        outcomes += [o for o in made if o.row not in again]
        missing = [p for p in missing if p.row in again]
        if not missing:
            break
    return outcomes


def _made(task: SlideTask, pieces: Sequence[PieceTask], sha256: str) -> list[PieceOutcome]:
    try:
        return _guarded(task, pieces, sha256)
    except OutputError:
        raise
    except Exception as error:
        return [_failed(piece, error, sha256) for piece in pieces]


def _failed(piece: PieceTask, error: Exception, sha256: str) -> PieceOutcome:
    return PieceOutcome(piece.row, None, reason_of(error), sha256, may_pass=may_pass(error))


def _guarded(task: SlideTask, pieces: Sequence[PieceTask], sha256: str) -> list[PieceOutcome]:
    """Measure pieces of an image that must stay what it was: else no record of it stays."""
    need_codecs(task.path)
    guard, made = Guard(task.path, sha256), list[PieceOutcome]()
    try:
        with open_slide(task.path, task.scene, task.um_per_px) as slide:
            made.extend(_measure_pieces(slide, task, pieces, sha256, guard))
    finally:
        records = [o.record for o in made if o.record is not None]
        try:
            guard.check(whole=bool(records))
        except SlideError:
            for record in records:
                record.unlink(missing_ok=True)
            raise
    return made


def reason_of(error: BaseException) -> str:
    """Return one line that says what went wrong."""
    if isinstance(error, SevhistoError):
        return "; ".join(f"{p.where}: {p.what}" + (f" ({p.remedy})" if p.remedy else "") for p in error.problems)
    if isinstance(error, MemoryError):
        return "; ".join(t for t in ("out of memory", str(error), memory_remedy()) if t)
    return f"{type(error).__name__}: {error}".replace("\n", " ")


def _existing(records: Path, key: str) -> Path | None:
    found = find_record(records, key)  # a damaged one is measured again
    return found if found is not None and is_current(found) else None


def prepare_slide(slide: Slide, task: SlideTask, sha256: str | None = None) -> tuple[MarkerReader, SlideOverview]:
    """Return how a slide is read, and its overview."""
    reader = slide_reader(slide, task)
    return reader, _seen(slide, task, sha256, reader, (0, slide.shape[0], 0, slide.shape[1]))


def slide_reader(slide: Slide, task: SlideTask) -> MarkerReader:
    """Return how a slide is read: its channels, in brightfield the stain of its batch, and the shading that is divided out."""
    channels = match_channels(task.panel, slide.channels, task.path.name)
    vectors = None if task.correction is None else task.correction.stain_vectors
    reader = marker_reader(task.panel, channels, slide.bit_max, vectors)
    shading = None if task.correction is None else task.correction.shading
    if shading is not None:
        reader = replace(reader, flat=flat_of(shading, slide.um_per_px, slide.shape))
    return reader


def _seen(slide: Slide, task: SlideTask, sha256: str | None, reader: MarkerReader, box: tuple[int, int, int, int]) -> SlideOverview:
    """Return the overview of a part of the slide, coarser than asked where it would not fit into memory.

    One that takes long, because the file holds no smaller copies, is kept in ``results/overviews``.
    """
    um = allowed_um(box, slide.um_per_px, task.imaging.overview_um)
    if len(slide.levels) > 1 or slide.shape[0] * slide.shape[1] < KEPT_FROM_PX:
        raw, factor = slide.overview(um, reader.channels, box)
    else:
        key = settings_hash(
            __version__, sha256 or file_sha256(task.path), task.scene, um / slide.um_per_px, list(reader.channels), list(box)
        )
        raw, factor = kept_overview(task.records.parent / "overviews", key, lambda: slide.overview(um, reader.channels, box))
    reader = replace(reader, channels=tuple(range(len(raw))))
    return slide_overview(raw, factor, slide.um_per_px * factor, reader, task.imaging, (box[0], box[2]))


def allowed_um(box: tuple[int, int, int, int], um_per_px: float, wanted_um: float) -> float:
    """Return the pixel size at which a part of a slide (y0, y1, x0, x1) is looked at: `wanted_um`, or coarser for MAX_OVERVIEW_PX."""
    area = (box[1] - box[0]) * (box[3] - box[2])
    return max(wanted_um, um_per_px, math.ceil(math.sqrt(area / MAX_OVERVIEW_PX)) * um_per_px)


def _plans(
    slide: Slide, task: SlideTask, pieces: Sequence[PieceTask], correction: Correction, sha256: str
) -> tuple[MarkerReader, Iterable[tuple[PieceTask, Plan | str]]]:
    """Return how the slide is read and, for each piece, its plan or why it has none.

    Plans are small and overviews are not: all plans of a slide are made before a pass starts, and its overview is let go of. On a slide
    too large to be outlined from one overview each piece has one of its own, made when its turn comes.
    """
    reader, whole = prepare_slide(slide, task, sha256)
    nothing = np.zeros((len(whole.raw), 0, 0), np.float32)
    outlines = replace(whole, raw=nothing, values=nothing)
    all_of_it = (0, slide.shape[0], 0, slide.shape[1])
    fits = allowed_um(all_of_it, slide.um_per_px, task.imaging.overview_um) <= max(task.imaging.overview_um, slide.um_per_px)
    at_once = [p for p in pieces if fits or not 1 <= p.piece <= len(whole.pieces)]
    made = {p.row: _plan(slide, task, p, whole, p.piece, correction) for p in at_once}
    del whole

    def nearer(piece: PieceTask) -> Plan | str:
        box = piece_box(outlines, piece.piece, slide.shape)
        near = piece_overview(_seen(slide, task, sha256, reader, box), (box[0], box[2]), outlines, piece.piece)
        return _plan(slide, task, piece, near, 1, correction)

    return reader, ((piece, made.pop(piece.row) if piece.row in made else nearer(piece)) for piece in pieces)


def plan_pieces(slide: Slide, task: SlideTask) -> list[tuple[PieceTask, Plan | str]]:
    """Return the plan of each piece, or why it has none, from the overview alone; SlideError without the background of its batch."""
    if task.correction is None:
        raise SlideError(Problem(task.path.name, "the background of its batch could not be measured", "see the batch's control slides"))
    return list(_plans(slide, task, task.pieces, task.correction, "")[1])


def _plan(slide: Slide, task: SlideTask, piece: PieceTask, overview: SlideOverview, number: int, correction: Correction) -> Plan | str:
    try:
        return plan_section(
            overview,
            slide.shape,
            task.panel,
            correction,
            task.imaging,
            piece=number or None,
            longitudinal=task.longitudinal,
            flipped=piece.flipped,
            drawn=replace(_drawn(task.drawn, overview, piece.piece), neighbour=_neighbour(piece.contour)),
            find_lesion=piece.role not in WITHOUT_LESION,
        )
    except Exception as error:
        return reason_of(error)


def _measure_pieces(slide: Slide, task: SlideTask, pieces: Sequence[PieceTask], sha256: str, guard: Guard) -> Iterator[PieceOutcome]:
    correction = task.correction
    if correction is None:
        raise SlideError(Problem(task.path.name, "the background of its batch could not be measured", "see the batch's control slides"))
    keys = {piece.row: record_key(task, piece, sha256) for piece in pieces}  # before outlines, labels and models are read
    model = None if task.classifier is None else load_model(task.classifier)
    reader, plans = _plans(slide, task, pieces, correction, sha256)
    of_slide = task.panel, reader, correction, slide.um_per_px, slide.shape
    classifier = None if model is None else classifier_for(model, *of_slide)
    name = segmenter_name(task.panel, task.imaging)
    own = own_segmenter(name, task.model) if is_own(name) and task.panel.cell_marker else None
    with nullcontext() if task.labels is None else LabelFile(task.labels, slide.shape) as labels:
        for piece, plan in plans:
            if isinstance(plan, str):
                yield PieceOutcome(piece.row, None, plan, sha256)
                continue
            try:
                nuclei = _labelled(labels, task, piece, plan, slide.um_per_px)
                of_panel = reader, task.panel, correction, task.imaging
                along = task.longitudinal
                record = measure_section(slide, plan, *of_panel, longitudinal=along, nuclei=nuclei, classifier=classifier, segmenter=own)
                _describe(record, slide, sha256, task)
                record.meta["excluded_areas"] = _excluded_areas(task.drawn, plan, piece.piece)
                record.meta["classified"] = dict.fromkeys(task.panel.classes, [] if model is None else _class_flags(model, sha256))
                section = Crop(slide, *plan.corner, plan.shape)
                record.meta["flags"] = sorted({*record.meta["flags"], *closer_look(section, reader, record)})
                guard.check()
                if record_key(task, piece, sha256) != keys[piece.row]:
                    what = "its outlines, labels or classifier changed while it was measured"
                    raise SlideError(Problem(task.path.name, what, "run again"))
                made = PieceOutcome(piece.row, save_record(task.records, keys[piece.row], record), sha256=sha256)
            except OutputError:
                raise
            except Exception as error:
                made = _failed(piece, error, sha256)
            yield made


def _labelled(labels: LabelFile | None, task: SlideTask, piece: PieceTask, plan: Plan, um: float) -> Labelled | None:
    """Return the nuclei labelled elsewhere; None where they are not asked for, and for a control without a label image."""
    if labels is not None:
        return survey(labels, plan.corner, plan.shape, um)
    wanted = segmenter_name(task.panel, task.imaging) == LABELS and task.panel.cell_marker is not None
    if wanted and piece.role not in WITHOUT_LESION:
        remedy = "put it into the folder of label images, named as the image; `sevhisto check` names the place"
        raise SlideError(Problem(task.path.name, "has no label image of its nuclei, and imaging.segmenter is 'labels'", remedy))
    return None


def _describe(record: SectionRecord, slide: Slide, sha256: str, task: SlideTask) -> None:
    flags = {"projected"} if slide.projected else set()
    if record.meta["overview_um"] > 1.5 * max(task.imaging.overview_um, slide.um_per_px):
        flags.add("coarse_masks")
    record.meta["flags"] = sorted({*record.meta["flags"], *flags})
    record.meta.update(um_source=slide.um_source, sha256=sha256, version=__version__)
    record.meta["labels_sha256"] = None if task.labels is None else labels_sha256(task.labels)
    record.meta["segmenter_sha256"] = own_hashes(task)
    channels = imaged(slide.info, task.panel, task.panel_name, task.batch_name, task.path.name)
    record.meta["acquisition"] = {c.marker: asdict(c.acquisition) for c in channels if c.acquisition != Acquisition()}


def _excluded_areas(path: Path | None, plan: Plan, piece: int) -> list[dict[str, Any]]:
    """Return the areas of a section that a person drew to be left out: reason code in the name, um2 of tissue, and a hash of the place."""
    found = []
    tissue = plan.layout.tissue
    for outline in [] if path is None else outlines_of(of_piece(read_outlines(path), piece), "excluded"):
        shape = (tissue.shape[0], tissue.shape[1])
        mask = outline_mask([outline], shape, float(plan.layout.factor), (float(plan.corner[0]), float(plan.corner[1]))) & tissue
        if mask.any():
            digest = hashlib.sha256(np.packbits(mask).tobytes()).hexdigest()
            area = float(np.count_nonzero(mask)) * plan.layout.um**2
            found.append({"reason": outline.reason, "area_um2": area, "place": digest})
    return found


def _class_flags(model: PixelModel, sha256: str) -> list[str]:
    flags = ["trained_on"] if sha256 in model.facts["slides"] else []
    return flags + (["classifier_untested"] if model.facts["out_of_sample"]["left_out"] == "outline" else [])


def _neighbour(source: ContourSource | None) -> Neighbour | None:
    if source is None:
        return None
    record = load_record(source.record)
    nuclei = record.meta["nuclear_marker"]
    shown = None if nuclei is None else decode_thumbnail(record.masks["thumbnail"][..., record.marker_index(nuclei)])
    tissue, core = record.masks["tissue"] > 0, record.masks["core"] > 0
    unsure = "contour_uncertain" in record.meta["flags"]
    markers = tuple(record.meta["core_markers"])
    return Neighbour(tissue, core, shown, float(record.meta["overview_um"]), source.mirrored, source.gap_um, markers, unsure)


def _drawn(path: Path | None, overview: SlideOverview, piece: int) -> Drawn:
    if path is None:
        return Drawn(None, None)
    outlines = read_outlines(path)
    problems = name_problems(outlines, f"corrections/{path.name}")
    if problems:
        raise SlideError(problems)
    mine, shape = of_piece(outlines, piece), (overview.mask.shape[0], overview.mask.shape[1])

    def mask(kind: str) -> BoolArray | None:
        return area_mask(mine, kind, shape, float(overview.factor), overview.corner)

    return Drawn(mask("lesion"), mask("excluded"), mask("white_matter"))
