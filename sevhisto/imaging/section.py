"""One section, from its place on a slide to its record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from sevhisto.config import ImagingSettings, PanelSettings
from sevhisto.imaging.background import corrected_marker
from sevhisto.imaging.focus import focus
from sevhisto.imaging.geometry import Layout, long_axis_deg, side_map, signed_distance
from sevhisto.imaging.lesion import Core, find_core
from sevhisto.imaging.measure import SATURATED_SHARE, MarkerReader, Sums, measure
from sevhisto.imaging.quality import NO_CAVITY, Faults, fault_codes, faults_in
from sevhisto.imaging.seams import shows_nothing
from sevhisto.imaging.stains import dye_markers, optical_density, stains, unmix_stains
from sevhisto.imaging.tissue import Piece, find_cavity, find_pieces, trim_rim
from sevhisto.types import (
    AnyArray,
    BoolArray,
    Correction,
    DoubleArray,
    FloatArray,
    IntArray,
    PixelSource,
    Problem,
    SectionRecord,
    SlideError,
    encode_thumbnail,
)

MARGIN_PX = 3


@dataclass
class SlideOverview:
    """A whole slide, or the part of a very large one that holds a section, at overview resolution.

    Attributes
    ----------
    raw : (n_channels, h, w) float32, the read channels
    values : (n_markers, h, w) float32, uncorrected marker intensity
    factor : full-resolution pixels per overview pixel
    um : overview pixel size
    pieces : tissue in slide order
    mask : (h, w) bool, tissue with its holes
    corner : (y, x), full-resolution pixel of the slide where the overview starts
    """

    raw: FloatArray
    values: FloatArray
    factor: int
    um: float
    pieces: list[Piece]
    mask: BoolArray
    corner: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Crop:
    """One section of a slide as a pixel source of its own; (y0, x0) is its corner on the slide."""

    slide: PixelSource
    y0: int
    x0: int
    shape: tuple[int, int]

    @property
    def channels(self) -> tuple[str, ...]:
        """Channel names of the slide."""
        return self.slide.channels

    @property
    def um_per_px(self) -> float:
        """Pixel size of the slide."""
        return self.slide.um_per_px

    def read(self, channels: Sequence[int], y0: int, y1: int, x0: int, x1: int) -> AnyArray:
        """Read pixels of the section; see PixelSource."""
        return self.slide.read(channels, self.y0 + y0, self.y0 + y1, self.x0 + x0, self.x0 + x1)


@dataclass(frozen=True)
class Drawn:
    """What a person drew on the slide, as masks on its overview: lesion core (None where not drawn) and excluded area."""

    core: BoolArray | None
    excluded: BoolArray | None


def marker_reader(panel: PanelSettings, channels: Sequence[int], bit_max: float, vectors: DoubleArray | None = None) -> MarkerReader:
    """Return how this panel's markers are read.

    `channels` : the file's channel numbers in the panel's order (fluorescence only); `vectors` : (3, 3), of the batch's stain instead of
    the published ones (brightfield only)
    """
    if panel.kind == "fluorescence":
        return MarkerReader(tuple(channels), lambda raw: raw, bit_max, -np.inf)
    stain = stains[panel.stain] if vectors is None else replace(stains[panel.stain], vectors=vectors)
    wanted = []
    for channel in panel.channels:
        if channel.channel not in stain.components:
            known = ", ".join(stain.components)
            raise SlideError(Problem(f"panel stain {panel.stain}", f"has no component {channel.channel!r}", f"known: {known}"))
        wanted.append(str(channel.channel))
    return MarkerReader((0, 1, 2), lambda raw: unmix_stains(raw, stain, tuple(wanted), excess=True), np.inf, 0, True)


def slide_overview(raw: FloatArray, factor: int, um: float, reader: MarkerReader, settings: ImagingSettings) -> SlideOverview:
    """Return the overview of a slide with its pieces of tissue.

    `raw` : (n_file_channels, h, w) float32; `um` : size of an overview pixel.
    """
    in_order = reader.channels == tuple(range(len(raw)))  # then no copy of what may be the largest array of all
    chosen = np.ascontiguousarray(raw if in_order else raw[list(reader.channels)], np.float32)
    values = reader.convert(chosen)
    # in brightfield tissue is what absorbs any colour, whichever of its stains are measured
    shown = optical_density(chosen).max(axis=0, keepdims=True) if reader.brightfield else values
    pieces, mask = find_pieces(shown, um, settings)
    return SlideOverview(chosen, values, factor, um, pieces, mask)


def piece_box(overview: SlideOverview, piece: int, shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return where a piece lies on the slide, with a margin, in full-resolution pixels (y0, y1, x0, x1); `piece` counts from 1."""
    (y0, y1, x0, x1), _, _ = _outline(overview, piece)
    f = overview.factor
    return max(y0 - 1, 0) * f, min((y1 + 1) * f, shape[0]), max(x0 - 1, 0) * f, min((x1 + 1) * f, shape[1])


def piece_overview(near: SlideOverview, corner: tuple[int, int], far: SlideOverview, piece: int) -> SlideOverview:
    """Return `near`, the overview of a part of a slide from `corner` on, with the tissue of one piece only.

    The piece is the one that `far`, the coarser overview of the whole slide, numbers so; its outline is that of `near`.
    """
    seen = far.pieces[piece - 1]
    rows = np.clip(((np.arange(near.mask.shape[0]) + 0.5) * near.factor + corner[0]) // far.factor, 0, far.mask.shape[0] - 1).astype(int)
    columns = np.clip(((np.arange(near.mask.shape[1]) + 0.5) * near.factor + corner[1]) // far.factor, 0, far.mask.shape[1] - 1).astype(int)
    whole = np.zeros(far.mask.shape, bool)
    whole[seen.y0 : seen.y1, seen.x0 : seen.x1] = seen.outline
    there = whole[np.ix_(rows, columns)]
    outline = np.zeros_like(there)
    for p in near.pieces:
        box = slice(p.y0, p.y1), slice(p.x0, p.x1)
        if not p.whole_field and (p.outline & there[box]).sum() > 0.5 * p.outline.sum():
            outline[box] |= p.outline
    if not outline.any():  # nothing stands out from so near: the outline seen from afar holds
        outline, near.mask = there, there & near.mask
    one = Piece(0, outline.shape[0], 0, outline.shape[1], outline, seen.touches_edge)
    return SlideOverview(near.raw, near.values, near.factor, near.um, [one], near.mask, corner)


def lay_out(
    overview: SlideOverview,
    piece: int | None,
    panel: PanelSettings,
    correction: Correction,
    drawn: Drawn,
    settings: ImagingSettings,
    longitudinal: bool,
    flipped: bool,
) -> tuple[Layout, tuple[int, int, int, int], list[str], float, Faults]:
    """Return the section's layout, its box on the overview (y0, y1, x0, x1), flags, the lesion's contrast, and its faults.

    `piece` counts from 1; None takes all tissue of the slide as one section. SlideError where the slide has fewer pieces.
    """
    box, outline, flags = _outline(overview, piece)
    if "whole_field" in flags and shows_nothing(overview.values):
        outline[:], flags = False, ["no_tissue"]
    sy, sx = slice(box[0], box[1]), slice(box[2], box[3])
    tissue = trim_rim(outline, overview.um, settings.meninges_um)
    cavity = find_cavity(overview.mask[sy, sx], tissue, overview.um, settings)
    masked = drawn.excluded[sy, sx] & tissue if drawn.excluded is not None else np.zeros_like(tissue)
    if masked.any():
        flags.append("edited_by_hand")
    glass = ~overview.mask
    for p in overview.pieces:
        glass[p.y0 : p.y1, p.x0 : p.x1] &= ~p.outline
    faults = faults_in(overview.values, overview.raw, glass, (sy, sx), outline, cavity, panel, overview.um, settings)
    found = {name: part & tissue & ~masked for name, part in faults.masks.items()} if settings.mask_faults else {}
    masked = np.logical_or.reduce([masked, *found.values()])
    cavity &= ~np.logical_or.reduce([np.zeros_like(cavity), *(found[n] for n in NO_CAVITY if n in found)])
    outline_drawn = None if drawn.core is None else drawn.core[sy, sx]
    core = _core(overview.values[:, sy, sx], correction, tissue, cavity & ~masked, outline_drawn, panel, overview.um, settings)
    layout = Layout(
        overview.factor,
        overview.um,
        tissue,
        cavity,
        masked,
        core.mask,
        signed_distance(core.mask, overview.um),
        side_map(tissue, core.mask, longitudinal, flipped),
        found,
    )
    return layout, box, [*flags, *faults.flags, *core.flags], core.contrast, faults


def _outline(overview: SlideOverview, piece: int | None) -> tuple[tuple[int, int, int, int], BoolArray, list[str]]:
    h, w = overview.mask.shape
    if piece is not None and piece > len(overview.pieces):
        found = len(overview.pieces)
        raise SlideError(
            Problem(
                f"piece {piece}",
                f"only {found} piece{'s' * (found != 1)} of tissue found on the slide",
                "correct `piece` in slides.csv, or lower imaging.min_section_mm2",
            )
        )
    chosen = overview.pieces if piece is None else [overview.pieces[piece - 1]]
    if not chosen:
        return (0, h, 0, w), np.zeros((h, w), bool), ["no_tissue"]
    y0, y1 = max(min(p.y0 for p in chosen) - MARGIN_PX, 0), min(max(p.y1 for p in chosen) + MARGIN_PX, h)
    x0, x1 = max(min(p.x0 for p in chosen) - MARGIN_PX, 0), min(max(p.x1 for p in chosen) + MARGIN_PX, w)
    outline = np.zeros((y1 - y0, x1 - x0), bool)
    for p in chosen:
        outline[p.y0 - y0 : p.y1 - y0, p.x0 - x0 : p.x1 - x0] |= p.outline
    flags = ["touches_edge"] if any(p.touches_edge and not p.whole_field for p in chosen) else []
    flags += ["whole_field"] if any(p.whole_field for p in chosen) else []
    return (y0, y1, x0, x1), outline, flags + (["pieces_joined"] if len(chosen) > 1 else [])


def _core(
    values: FloatArray,
    correction: Correction,
    tissue: BoolArray,
    cavity: BoolArray,
    drawn: BoolArray | None,
    panel: PanelSettings,
    um: float,
    settings: ImagingSettings,
) -> Core:
    if drawn is not None and (drawn & tissue).any():  # outlines may be drawn for some pieces of a slide only
        return Core(drawn & tissue, float("nan"), ("contour_drawn",))
    landmark, nuclei = panel.marker_of_role("landmark"), panel.marker_of_role("nuclei")
    if landmark is None:
        return Core(np.zeros_like(tissue), float("nan"), ("no_landmark",))
    dapi = corrected_marker(values, correction, panel.markers.index(nuclei)) if nuclei else None
    return find_core(corrected_marker(values, correction, panel.markers.index(landmark)), dapi, tissue, cavity, um, settings)


@dataclass(frozen=True)
class Plan:
    """A section laid out and ready to be measured. It holds nothing of the overview but masks and thumbnails.

    Attributes
    ----------
    layout : where each overview pixel lies
    corner : (y, x), full-resolution pixel of the slide where the section starts
    shape : (height, width) in full-resolution pixels
    flags : what the layout has to tell
    contrast : of the lesion core against its surroundings, NaN where not measured
    masks : as in SectionRecord
    faults : shares and numbers of its faults, for the record
    """

    layout: Layout
    corner: tuple[int, int]
    shape: tuple[int, int]
    flags: tuple[str, ...]
    contrast: float
    masks: dict[str, AnyArray]
    faults: dict[str, Any]


def plan_section(
    overview: SlideOverview,
    slide_shape: tuple[int, int],
    panel: PanelSettings,
    correction: Correction,
    settings: ImagingSettings,
    *,
    piece: int | None,
    longitudinal: bool = False,
    flipped: bool = False,
    drawn: Drawn = Drawn(None, None),
    find_lesion: bool = True,
) -> Plan:
    """Return the plan of one section of a slide.

    Parameters
    ----------
    overview : from `slide_overview`
    slide_shape : (height, width) of the slide in full-resolution pixels
    piece : from 1; None takes all tissue of the slide as one section
    find_lesion : False for controls, which are measured over all their tissue
    """
    whole = panel if find_lesion else panel.model_copy(update={"channels": [_no_cue(c) for c in panel.channels]})
    layout, box, flags, contrast, found = lay_out(overview, piece, whole, correction, drawn, settings, longitudinal, flipped)
    if not find_lesion:
        flags = [f for f in flags if f != "no_landmark"]
    y0, x0 = overview.corner[0] + box[0] * overview.factor, overview.corner[1] + box[2] * overview.factor
    y1, x1 = overview.corner[0] + box[1] * overview.factor, overview.corner[1] + box[3] * overview.factor
    shape = (min(y1, slide_shape[0]) - y0, min(x1, slide_shape[1]) - x0)
    return Plan(layout, (y0, x0), shape, tuple(flags), contrast, _masks(overview, layout, box, correction, panel), found.facts())


def measure_section(
    slide: PixelSource,
    plan: Plan,
    reader: MarkerReader,
    panel: PanelSettings,
    correction: Correction,
    settings: ImagingSettings,
    *,
    longitudinal: bool = False,
    tick: Callable[[int], Any] = lambda px: None,
) -> SectionRecord:
    """Return the record of one planned section of a slide, reading each of its full-resolution pixels once."""
    layout = plan.layout
    sums = measure(Crop(slide, *plan.corner, plan.shape), reader, layout, panel, settings, correction, tick)
    counts = sums.counts
    flags = [*plan.flags, *_quality_flags(sums, counts, panel, correction)]
    axis = long_axis_deg(layout.tissue) if sums.fibres else float("nan")
    if sums.fibres and np.isnan(axis) and layout.tissue.any():
        flags.append("axis_uncertain")
    if any(c.role == "tracer" and c.marker not in sums.puncta for c in panel.channels):
        flags.append("puncta_unresolved")
    meta = {
        "kind": panel.kind,
        "um_per_px": slide.um_per_px,
        "overview_um": layout.um,
        "overview_factor": layout.factor,
        "corner_px": list(plan.corner),
        "shape_px": list(plan.shape),
        "has_core": layout.has_core,
        "core_contrast": None if np.isnan(plan.contrast) else round(plan.contrast, 4),
        "side_axis": "rostral_caudal" if longitudinal else "left_right",
        "offsets": {m: float(o) for m, o in zip(panel.markers, correction.offset, strict=True)},
        "offset_source": dict(zip(panel.markers, correction.source, strict=True)),
        "autofluorescence": dict(correction.autofluorescence),
        "saturated_px": [int(v) for v in sums.saturated_px],
        "nucleus_diameter_um": round(sums.nucleus_diameter_um, 3) or None,
        "nucleus_diameter_source": "estimated" if settings.nucleus_diameter_um is None else "set",
        "focus": {m: focus(s) for m, s in zip(panel.markers, sums.focus, strict=True)},
        "dyes": dye_markers(panel),
        "axis_deg": None if np.isnan(axis) else round(axis, 2),
        "faults": plan.faults,
        "flags": sorted(set(flags)),
    }
    cells, spots = _cell_columns(sums, panel)
    return SectionRecord(
        meta,
        panel.markers,
        counts,
        sums.sums,
        sums.cavity_px,
        sums.masked_px,
        sums.joint,
        sums.fibres,
        cells,
        plan.masks,
        sums.puncta,
        sums.autofluorescent,
        spots,
    )


def _no_cue(channel: Any) -> Any:
    return channel.model_copy(update={"role": "other"}) if channel.role in ("landmark", "nuclei") else channel


def _quality_flags(sums: Sums, counts: IntArray, panel: PanelSettings, correction: Correction) -> list[str]:
    flags = []
    examined: IntArray = counts.sum(axis=(1, 2, 3))
    n = int(examined.max(initial=0))
    if n and (sums.saturated_px > SATURATED_SHARE * n).any():
        flags.append("saturated")
    if n and (np.count_nonzero(counts.sum(axis=(1, 2)), axis=1) == 1).any():
        flags.append("constant_channel")
    if "sample_glass" in correction.source:
        flags.append("offset_from_samples")
    if "assumed_zero" in correction.source:
        flags.append("offset_assumed_zero")
    if panel.marker_of_role("autofluorescence") and not correction.autofluorescence:
        flags.append("autofluorescence_not_subtracted")
    if panel.kind == "brightfield" and (not correction.stain_source or "published" in correction.stain_source):
        flags.append("stain_vectors_assumed")
    if panel.marker_of_role("nuclei") is None:
        flags.append("no_nuclear_channel")
    elif not sums.cells:
        flags.append("no_cells")
    return flags


def _cell_columns(sums: Sums, panel: PanelSettings) -> tuple[dict[str, FloatArray], dict[str, IntArray]]:
    """Return the columns of the cells, in order of their place, and the spots in them."""
    names = ["y_um", "x_um", "distance_um", "side", "area_um2"] + ["footprint_um2"] * bool(sums.puncta)
    names += [f"{m}_{part}" for m in panel.markers for part in ("nucleus", "ring")]
    counted = list(sums.puncta) if panel.marker_of_role("nuclei") else []
    if not sums.cells:
        empty = {name: np.zeros(0, np.float32) for name in names} if panel.marker_of_role("nuclei") else {}
        return empty, {m: np.zeros((0, 3), np.int64) for m in counted}
    y, x = (np.concatenate([c[name] for c in sums.cells]) for name in ("y_um", "x_um"))
    order = np.lexsort((x, y))
    place = np.argsort(order)
    spots = {}
    for marker in counted:
        rows = np.concatenate(sums.cell_spots[marker])
        rows[:, 0] = place[rows[:, 0]]
        spots[marker] = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    # a very large section has millions of cells: one column after the other, and what is copied is let go of
    return {name: np.concatenate([c.pop(name) for c in sums.cells])[order] for name in names}, spots


def _masks(
    overview: SlideOverview, layout: Layout, box: tuple[int, int, int, int], correction: Correction, panel: PanelSettings
) -> dict[str, AnyArray]:
    sy, sx = slice(box[0], box[1]), slice(box[2], box[3])
    distance = np.nan_to_num(np.clip(layout.distance, -32000, 32000), nan=32767.0)
    masks: dict[str, AnyArray] = {
        "tissue": layout.tissue.astype(np.uint8),
        "cavity": layout.cavity.astype(np.uint8),
        "masked": layout.masked.astype(np.uint8),
        "faults": fault_codes(layout.faults, layout.masked.shape),
        "core": layout.core.astype(np.uint8),
        "distance": np.rint(distance).astype(np.int16),
    }
    values = overview.values[:, sy, sx]
    masks["thumbnail"] = np.stack([encode_thumbnail(corrected_marker(values, correction, i)) for i in range(len(values))], axis=-1)
    if panel.kind == "brightfield":
        rgb = np.moveaxis(overview.raw[:, sy, sx], 0, -1)
        masks["thumbnail_rgb"] = cv2.convertScaleAbs(np.ascontiguousarray(rgb))
    return masks
