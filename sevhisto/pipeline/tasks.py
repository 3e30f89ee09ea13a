"""What is to be measured, and the key of its record: everything that a record depends on, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from sevhisto import __version__
from sevhisto.config import WITHOUT_LESION, BatchSettings, ImagingSettings, PanelSettings, segmenter_name, settings_hash
from sevhisto.io.annotations import read_outlines
from sevhisto.io.models import model_sha256
from sevhisto.io.outlines import of_piece
from sevhisto.io.sources import digest, look_at
from sevhisto.pipeline.own_segmenter import is_own, source_of
from sevhisto.types import Correction, Problem, SevhistoError, Shading


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
    """One scene of one file and the sections on it. Carries no animal, no group.

    Attributes
    ----------
    study : the folder of study.toml
    sha256 : of the image at the start of the run; "" where it could not be read
    refused : why the image may not be read, as when it is not what it was at first sight
    """

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
    study: Path = Path()
    classifier: Path | None = None
    model: Path | None = None
    sha256: str = ""
    refused: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class PieceOutcome:
    """What became of one row: the path of its record, or why there is none; `may_pass` where trying again may help."""

    row: int
    record: Path | None
    reason: str = ""
    sha256: str = ""
    new: bool = True
    may_pass: bool = False


def file_sha256(path: Path) -> str:
    """Return the sha256 (hex) of a file; of a folder, or of a set of files, that of the names and sums of all of them."""
    return look_at(path).sha256


def record_key(task: SlideTask, piece: PieceTask, sha256: str) -> str:
    """Return the key of a record: everything that its content depends on, and nothing else."""
    correction = task.correction
    return settings_hash(
        __version__,
        sha256,
        task.scene,
        task.um_per_px,
        what_is_read(task.panel),
        task.imaging,
        task.longitudinal,
        [piece.piece, piece.role in WITHOUT_LESION, piece.flipped],
        None if piece.contour is None else [piece.contour.record.name, piece.contour.mirrored, piece.contour.gap_um],
        None if task.drawn is None else drawn_sha256(task.drawn, piece.piece),
        *([] if task.labels is None else [labels_sha256(task.labels)]),
        *([] if task.classifier is None else [model_sha256(task.classifier), _glass(correction)]),
        *([None, None] if correction is None else correction_key(correction)),
        *own_hashes(task),
    )


def drawn_sha256(path: Path, piece: int) -> str | None:
    """Return the hash of what a person drew on a piece of a slide; that of the file unless it says which outline is for which piece.

    None where all outlines are for other pieces: then the piece is measured as if there were no file.
    """
    try:
        outlines = read_outlines(path)
    except SevhistoError:  # told when it is read to be measured by
        return file_sha256(path)
    if not any(o.piece for o in outlines):
        return file_sha256(path)
    mine = [[o.name, [r.tolist() for r in o.polygons], [r.tolist() for r in o.holes]] for o in of_piece(outlines, piece)]
    return settings_hash(mine) if mine else None


def correction_key(correction: Correction) -> list[Any]:
    """Return all of a correction that a record depends on."""
    vectors = correction.stain_vectors
    return [
        [correction.offset.tolist(), correction.unmix.tolist(), list(correction.source), correction.autofluorescence],
        None if vectors is None else [vectors.tolist(), correction.stain_source],
        *([] if correction.shading is None else [_shading_parts(correction.shading)]),
    ]


def _shading_parts(shading: Shading) -> list[Any]:
    return [shading.gain.tolist(), shading.dark.tolist(), shading.field_um, shading.origin_um, shading.source, shading.flags]


def _glass(correction: Correction | None) -> list[float] | None:
    return None if correction is None or correction.glass is None else [float(v) for v in correction.glass]


def labels_sha256(path: Path) -> str:
    """Return the sha256 (hex) of a label image, which can be large: read once for all sections of a slide while it does not change."""
    found = path.stat()
    return _digest_of_state(path, found.st_size, found.st_mtime_ns)


def own_hashes(task: SlideTask) -> list[str]:
    """Return the sums of the module and of the model of a person's own segmenter."""
    name = segmenter_name(task.panel, task.imaging)
    if not is_own(name):
        return []
    files = [source_of(name)] + ([] if task.model is None else [task.model])
    return [file_sha256(f) if f.is_dir() else labels_sha256(f) for f in files]


@lru_cache(maxsize=16)
def _digest_of_state(path: Path, size: int, changed_ns: int) -> str:
    return digest(path)


def what_is_read(panel: PanelSettings) -> dict[str, Any]:
    """Return the panel without what no pixel depends on: a changed threshold must not read a slide again."""
    later = {"threshold", "cell_compartment", "antibody", "clone", "dilution"}
    return panel.model_dump(mode="json", exclude={"phenotypes": True, "channels": {"__all__": later}})
