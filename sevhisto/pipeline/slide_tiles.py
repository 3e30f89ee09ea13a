"""One section for the slide viewer: its pixels as tiles in a folder, and what is drawn on them. The work of one process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sevhisto.config import StudyConfig, settings_hash
from sevhisto.decide.shown import positive_mask
from sevhisto.export.given import decided_cells
from sevhisto.export.regions import section_shapes, zone_borders
from sevhisto.imaging.background import corrected_marker
from sevhisto.imaging.process import give_back_memory
from sevhisto.imaging.reader import MarkerReader
from sevhisto.io.canary import need_codecs
from sevhisto.io.files import new_folder
from sevhisto.io.levels import block_mean
from sevhisto.io.records import load_view
from sevhisto.io.slides import Slide, open_slide
from sevhisto.io.sources import Guard
from sevhisto.pipeline.measuring import reason_of, slide_reader
from sevhisto.pipeline.tasks import SlideTask
from sevhisto.report.slides import Channel, Drawn, Picture
from sevhisto.report.tiles import QUALITY, TILE_PX, Bytes, Pyramid, added_up, jpeg, stretched
from sevhisto.types import AnyArray, DoubleArray, OutputError, Problem, SectionView, SlideError

MARGIN_UM = 100.0
"""What of the slide is shown around a section."""
FORMAT = 1
"""Grows when equal sections would be written as other tiles."""
SEAL = "picture.json"
"""Says that the tiles beside it are all there."""
READ_SAMPLES = 4_000_000
"""Pixels times channels that are read at once: 30 MB with all that is made of them."""
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class SectionJob:
    """What is needed to show one section.

    Attributes
    ----------
    task : its slide; with the correction of its batch where tiles must be made
    folder : where its tiles lie, named by all that they depend on
    factor : pixels of the slide that make one of the picture, along each side
    contrast, colours : display range and colour of each channel; none for a colour picture
    config : the study's settings, without its groups
    limits : from which intensity a cell is positive, by marker; None where the section is in no table
    thresholds : from which intensity a pixel is positive, by marker
    """

    task: SlideTask
    record: Path
    folder: Path
    factor: int
    contrast: Mapping[str, tuple[float, float]]
    colours: Mapping[str, Colour]
    config: StudyConfig
    limits: Mapping[str, float] | None
    thresholds: Mapping[str, float]


@dataclass(frozen=True)
class ShownSection:
    """A section with its picture and what is drawn on it (`Drawn.as_json`), or why it has none."""

    picture: Picture | None
    drawn: str = ""
    reason: str = ""
    new: bool = False


def tile_key(record: str, factor: int, contrast: Mapping[str, tuple[float, float]], colours: Mapping[str, Colour]) -> str:
    """Return the name of the folder of a section's tiles: a hash of all that they depend on."""
    look = [[marker, list(contrast[marker]), list(colour)] for marker, colour in colours.items()]
    return settings_hash(FORMAT, record, factor, look, [TILE_PX, QUALITY, MARGIN_UM])[:24]


def show_section(job: SectionJob) -> ShownSection:
    """Make the tiles of a section unless they are there, and draw its outlines. OutputError stops the work on all sections."""
    view = load_view(job.record)
    new = read_seal(job.folder) is None
    if new:
        try:
            make_tiles(job, view)
        except OutputError:
            raise
        except Exception as error:
            return ShownSection(None, reason=reason_of(error))
    picture = read_seal(job.folder)
    if picture is None:
        raise OutputError(Problem(str(job.folder), "does not hold what was written", "check the disk, then try again"))
    return ShownSection(picture, drawn_on(view, picture, job).as_json(), new=new)


def read_seal(folder: Path) -> Picture | None:
    """Return what the tiles in a folder show; None where not all of them are there."""
    try:
        told = json.loads((folder / SEAL).read_text("utf-8"))
        sizes = [p.stat().st_size for p in folder.rglob("*.jpg")]
        return Picture.of(told["picture"]) if [len(sizes), sum(sizes)] == told["tiles"] else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


# ---------------------------------------------------------------- tiles


def make_tiles(job: SectionJob, view: SectionView) -> None:
    """Write all tiles of a section beside their place, and then move them there whole."""
    task = job.task
    if task.refused:
        raise SlideError(task.refused)
    if task.sha256 != view.meta["sha256"]:
        raise SlideError(Problem(task.path.name, "is not the image that was measured", "run `sevhisto run` again, then make the slides"))
    need_codecs(task.path)
    guard = Guard(task.path, task.sha256)
    with open_slide(task.path, task.scene, task.um_per_px) as slide:
        picture = place(slide, view, job)
        try:
            with new_folder(job.folder) as made:
                _write(made, picture, strips(slide, task, picture))
                guard.check()
                shutil.rmtree(job.folder, ignore_errors=True)  # what is left of it is not whole
                made.replace(job.folder)
        except OSError as error:
            what, remedy = (
                f"cannot be written: {error.strerror or error}",
                "check free space and permissions; the earlier slides are untouched",
            )
            raise OutputError(Problem(str(job.folder.parent), what, remedy)) from error


def place(slide: Slide, view: SectionView, job: SectionJob) -> Picture:
    """Return which part of the slide is shown, and how: the section with a margin, its corner on whole blocks of pixels."""
    (y, x), (h, w) = view.meta["corner_px"], view.meta["shape_px"]
    margin = round(MARGIN_UM / slide.um_per_px)
    y0, x0 = (max(0, v - margin) // job.factor * job.factor for v in (y, x))
    y1, x1 = min(slide.shape[0], y + h + margin), min(slide.shape[1], x + w + margin)
    channels = [Channel(m, *job.contrast[m], colour) for m, colour in job.colours.items()]
    size = [-(-(y1 - y0) // job.factor), -(-(x1 - x0) // job.factor)]
    return Picture(job.folder.name, [y0, x0, y1, x1], size, job.factor, slide.um_per_px, TILE_PX, channels)


def strips(slide: Slide, task: SlideTask, picture: Picture) -> Iterator[list[Bytes]]:
    """Yield the picture's next TILE_PX rows: brightness of each channel (h, w), or a colour picture (h, w, 3) as it is, uint8.

    They are good until the next are asked for: these take their place.

    Fluorescence is shown as it was measured: corrected for background, autofluorescence, bleed-through and shading of its batch.
    """
    reader = slide_reader(slide, task)
    y0, _, y1, _ = picture.box
    colour = (3,) if reader.brightfield else ()
    held = [np.empty((TILE_PX, picture.size[1], *colour), np.uint8) for _ in range(max(1, len(picture.channels)))]
    step = TILE_PX * picture.factor
    for top in range(y0, y1, step):
        done = 0
        for a, b in _chunks(slide, picture, top, min(top + step, y1)):
            found = _rows(slide, task, reader, picture, a, b)
            for plane, rows in zip(held, found, strict=True):
                plane[done : done + len(rows)] = rows
            done += len(found[0])
        yield [plane[:done] for plane in held]


def _chunks(slide: Slide, picture: Picture, top: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the rows of the slide (from, to) that are read at once, in whole blocks of the picture's pixels."""
    a_row = (picture.box[3] - picture.box[1]) * max(len(slide.channels), 1)
    step = max(1, READ_SAMPLES // (a_row * picture.factor)) * picture.factor
    for y in range(top, end, step):
        yield y, min(y + step, end)


def _rows(slide: Slide, task: SlideTask, reader: MarkerReader, picture: Picture, top: int, end: int) -> list[Bytes]:
    raw = slide.read(reader.channels, top, end, picture.box[1], picture.box[3])
    f = picture.factor
    means: AnyArray = raw if f == 1 else np.stack([block_mean(plane, f) for plane in raw])
    if reader.brightfield:
        return [np.moveaxis(np.clip(np.rint(means), 0, 255).astype(np.uint8), 0, -1)]
    if task.correction is None:
        raise SlideError(Problem(task.path.name, "the background of its batch could not be measured", "see the batch's control slides"))
    values = reader.values(means, top, picture.box[1], f)
    return [stretched(corrected_marker(values, task.correction, i), c.low, c.high) for i, c in enumerate(picture.channels)]


def _write(folder: Path, picture: Picture, rows: Iterator[list[Bytes]]) -> None:
    """Write tiles as ``<channel>/<level>/<x>_<y>.jpg``, a small picture of all channels, and last the seal."""
    pyramids = [Pyramid((picture.size[0], picture.size[1])) for _ in range(max(1, len(picture.channels)))]
    for number, pyramid in enumerate(pyramids):
        for level in range(len(pyramid.shapes)):
            (folder / str(number) / str(level)).mkdir(parents=True)
    for planes in rows:
        for number, (pyramid, plane) in enumerate(zip(pyramids, planes, strict=True)):
            for tile in pyramid.add(plane):
                (folder / str(number) / str(tile.level) / f"{tile.x}_{tile.y}.jpg").write_bytes(jpeg(tile.pixels))
        give_back_memory()  # arrays of many sizes leave gaps, which would grow with the section
    smallest = [p.smallest for p in pyramids]
    (folder / "small.jpg").write_bytes(jpeg(added_up(smallest, [c.colour for c in picture.channels]) if picture.channels else smallest[0]))
    sizes = [p.stat().st_size for p in folder.rglob("*.jpg")]
    told = {"picture": picture.told(), "tiles": [len(sizes), sum(sizes)]}
    (folder / SEAL).write_text(json.dumps(told, sort_keys=True), "utf-8")


# ---------------------------------------------------------------- what is drawn


def drawn_on(view: SectionView, picture: Picture, job: SectionJob) -> Drawn:
    """Return outlines, zone borders, positive areas and cells of a section in pixels of its picture."""
    config = job.config
    shapes = {s.name.removeprefix("sevhisto: "): s for s in section_shapes(view, config)}
    outlines: dict[str, list[list[DoubleArray]]] = {
        name: [[picture.placed(ring) for ring in polygon] for polygon in shapes[name].polygons]
        for name in ("tissue", "cavity", "masked", "lesion")
        if name in shapes
    }
    edges = [edge for edge in config.zones.edges_um if edge > 0]
    zones = {edge: [picture.placed(line) for line in lines] for edge, lines in zone_borders(view, edges).items()}
    areas = {m: positive_mask(view, m, job.thresholds[m]) for m in view.markers if m in job.thresholds}
    (y, x), size = picture.placed(np.asarray([view.meta["corner_px"]], np.float64))[0], view.meta["overview_factor"] / picture.factor
    at = (float(y), float(x), float(size))
    cells = None if job.limits is None else decided_cells(view, config, job.task.panel_name, job.limits)
    if cells is None:
        return Drawn(outlines, zones, areas=areas, areas_at=at)
    um = float(view.meta["um_per_px"])
    centres = cells[["y_um", "x_um"]].to_numpy(np.float64) / um + np.asarray(view.meta["corner_px"], np.float64)
    radii = np.sqrt(cells["area_um2"].to_numpy(np.float64) / np.pi) / (um * picture.factor)
    marks = {m: cells[f"{m}_positive"].to_numpy(bool) for m in view.markers if f"{m}_positive" in cells}
    return Drawn(outlines, zones, picture.placed(centres), radii, marks, areas, at)
