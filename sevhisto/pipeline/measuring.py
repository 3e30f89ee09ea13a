"""The work on one slide: what a worker process is sent and what it sends back."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from sevhisto import __version__
from sevhisto.config import LABELS, WITHOUT_LESION, BatchSettings, ImagingSettings, PanelSettings, settings_hash
from sevhisto.imaging.labels import Labelled, survey
from sevhisto.imaging.measure import MarkerReader
from sevhisto.imaging.overview import SlideOverview, marker_reader, piece_box, piece_overview, slide_overview
from sevhisto.imaging.quality import closer_look
from sevhisto.imaging.registration import Neighbour
from sevhisto.imaging.section import Crop, Drawn, Plan, measure_section, plan_section
from sevhisto.io.annotations import name_problems, outline_mask, outlines_of, read_outlines
from sevhisto.io.channel_set import slide_files
from sevhisto.io.channels import match_channels
from sevhisto.io.comparable import imaged
from sevhisto.io.labels import LabelFile
from sevhisto.io.records import find_record, kept_overview, load_record, save_record
from sevhisto.io.scene import Acquisition
from sevhisto.io.slides import Slide, folder_files, open_slide
from sevhisto.types import BoolArray, Correction, Problem, SectionRecord, SevhistoError, SlideError, decode_thumbnail

MAX_OVERVIEW_PX = 3_200_000
"""A section of 8 x 6 mm at 4 um; its overview of five channels takes 64 MB."""
KEPT_FROM_PX = 16_000_000
"""Slides without smaller copies whose overview is kept: those of this size, which take a second and more to average."""


@dataclass(frozen=True)
class ContourSource:
    """A measured section of the same animal: its record, whether it lies mirrored against the other, and how far along the cord."""

    record: Path
    mirrored: bool
    gap_um: float


@dataclass(frozen=True)
class PieceTask:
    """One row of slides.csv; `piece` 0 is all tissue of the slide.

    `contour` is the section from whose record a panel without landmark takes the lesion's outline.
    """

    row: int
    piece: int
    role: str
    flipped: bool
    marker: str = ""
    contour: ContourSource | None = None


@dataclass(frozen=True)
class SlideTask:
    """One scene of one file and the sections on it. Carries no animal, no group."""

    path: Path
    scene: int
    um_per_px: float | None
    panel: PanelSettings
    panel_name: str
    batch: BatchSettings
    batch_name: str
    imaging: ImagingSettings
    longitudinal: bool
    pieces: tuple[PieceTask, ...]
    drawn: Path | None
    records: Path
    correction: Correction | None = None
    labels: Path | None = None


@dataclass(frozen=True)
class PieceOutcome:
    """What became of one row: the path of its record, or why there is none."""

    row: int
    record: Path | None
    reason: str = ""
    sha256: str = ""
    new: bool = True


def file_sha256(path: Path) -> str:
    """Return the sha256 (hex) of a file; of a folder, or of a set of files, that of the names and sums of all of them."""
    files = folder_files(path) if path.is_dir() else slide_files(path)
    if files != [path]:
        parts = [(p.relative_to(path if path.is_dir() else path.parent).as_posix(), _digest(p)) for p in files]
        return hashlib.sha256(repr(parts).encode()).hexdigest()
    return _digest(path)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def record_key(task: SlideTask, piece: PieceTask, sha256: str) -> str:
    """Return the key of a record: everything that its content depends on, and nothing else."""
    correction = task.correction
    return settings_hash(
        __version__,
        sha256,
        task.scene,
        task.um_per_px,
        _what_is_read(task.panel),
        task.imaging,
        task.longitudinal,
        [piece.piece, piece.role in WITHOUT_LESION, piece.flipped],
        None if piece.contour is None else [piece.contour.record.name, piece.contour.mirrored, piece.contour.gap_um],
        None if task.drawn is None else file_sha256(task.drawn),
        *([] if task.labels is None else [labels_sha256(task.labels)]),
        None
        if correction is None
        else [correction.offset.tolist(), correction.unmix.tolist(), list(correction.source), correction.autofluorescence],
        None if correction is None or correction.stain_vectors is None else [correction.stain_vectors.tolist(), correction.stain_source],
    )


def labels_sha256(path: Path) -> str:
    """Return the sha256 (hex) of a label image, which can be large: read once for all sections of a slide while it does not change."""
    found = path.stat()
    return _digest_of_state(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=16)
def _digest_of_state(path: Path, size: int, changed_ns: int) -> str:
    return _digest(path)


def _what_is_read(panel: PanelSettings) -> dict[str, Any]:
    """Return the panel without what no pixel depends on: a changed threshold must not read a slide again."""
    later = {"threshold", "cell_compartment", "antibody", "clone", "dilution"}
    return panel.model_dump(mode="json", exclude={"channels": {"__all__": later}})


def measure_slide(task: SlideTask) -> list[PieceOutcome]:
    """Measure every section of a slide that has no record; a section that fails costs only itself."""
    try:
        sha256 = file_sha256(task.path)
    except OSError as error:
        return [PieceOutcome(p.row, None, f"{task.path.name}: cannot be read ({error.strerror})") for p in task.pieces]
    outcomes: list[PieceOutcome] = []
    missing = []
    for piece in task.pieces:
        found = _existing(task.records, record_key(task, piece, sha256))
        if found is None:
            missing.append(piece)
        else:
            outcomes.append(PieceOutcome(piece.row, found, sha256=sha256, new=False))
    if missing:
        try:
            with open_slide(task.path, task.scene, task.um_per_px) as slide:
                outcomes += _measure_pieces(slide, task, missing, sha256)
        except Exception as error:
            outcomes += [PieceOutcome(p.row, None, reason_of(error), sha256) for p in missing]
    return outcomes


def reason_of(error: BaseException) -> str:
    """Return one line that says what went wrong."""
    if isinstance(error, SevhistoError):
        return "; ".join(f"{p.where}: {p.what}" + (f" ({p.remedy})" if p.remedy else "") for p in error.problems)
    if isinstance(error, MemoryError):
        return "out of memory"
    return f"{type(error).__name__}: {error}".replace("\n", " ")


def _existing(records: Path, key: str) -> Path | None:
    found = find_record(records, key)
    if found is None:
        return None
    try:
        load_record(found)
    except SevhistoError:  # damaged: it is measured again
        return None
    return found


def prepare_slide(slide: Slide, task: SlideTask, sha256: str | None = None) -> tuple[MarkerReader, SlideOverview]:
    """Return how a slide is read, and its overview."""
    channels = match_channels(task.panel, slide.channels, task.path.name)
    vectors = None if task.correction is None else task.correction.stain_vectors
    reader = marker_reader(task.panel, channels, slide.bit_max, vectors)
    return reader, _seen(slide, task, sha256, reader, (0, slide.shape[0], 0, slide.shape[1]))


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
    return slide_overview(raw, factor, slide.um_per_px * factor, reader, task.imaging)


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
            drawn=replace(_drawn(task.drawn, overview), neighbour=_neighbour(piece.contour)),
            find_lesion=piece.role not in WITHOUT_LESION,
        )
    except Exception as error:
        return reason_of(error)


def _measure_pieces(slide: Slide, task: SlideTask, pieces: Sequence[PieceTask], sha256: str) -> list[PieceOutcome]:
    correction = task.correction
    if correction is None:
        raise SlideError(Problem(task.path.name, "the background of its batch could not be measured", "see the batch's control slides"))
    reader, plans = _plans(slide, task, pieces, correction, sha256)
    outcomes = []
    with nullcontext() if task.labels is None else LabelFile(task.labels, slide.shape) as labels:
        for piece, plan in plans:
            if isinstance(plan, str):
                outcomes.append(PieceOutcome(piece.row, None, plan, sha256))
                continue
            try:
                nuclei = _labelled(labels, task, piece, plan, slide.um_per_px)
                along = task.longitudinal
                record = measure_section(slide, plan, reader, task.panel, correction, task.imaging, longitudinal=along, nuclei=nuclei)
                _describe(record, slide, sha256, task)
                section = Crop(slide, *plan.corner, plan.shape)
                record.meta["flags"] = sorted({*record.meta["flags"], *closer_look(section, reader, record)})
                outcomes.append(PieceOutcome(piece.row, save_record(task.records, record_key(task, piece, sha256), record), sha256=sha256))
            except Exception as error:
                outcomes.append(PieceOutcome(piece.row, None, reason_of(error), sha256))
    return outcomes


def _labelled(labels: LabelFile | None, task: SlideTask, piece: PieceTask, plan: Plan, um: float) -> Labelled | None:
    """Return the nuclei labelled elsewhere; None where they are not asked for, and for a control without a label image."""
    if labels is not None:
        return survey(labels, plan.corner, plan.shape, um)
    wanted = task.imaging.segmenter == LABELS and task.panel.marker_of_role("nuclei") is not None
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
    channels = imaged(slide.info, task.panel, task.panel_name, task.batch_name, task.path.name)
    record.meta["acquisition"] = {c.marker: asdict(c.acquisition) for c in channels if c.acquisition != Acquisition()}


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


def _drawn(path: Path | None, overview: SlideOverview) -> Drawn:
    if path is None:
        return Drawn(None, None)
    outlines = read_outlines(path)
    problems = name_problems(outlines, f"corrections/{path.name}")
    if problems:
        raise SlideError(problems)
    shape = (overview.mask.shape[0], overview.mask.shape[1])

    def mask(kind: str) -> BoolArray | None:
        chosen = outlines_of(outlines, kind)
        return outline_mask(chosen, shape, float(overview.factor), overview.corner) if chosen else None

    return Drawn(mask("lesion"), mask("excluded"), mask("white_matter"))
