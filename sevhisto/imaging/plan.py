"""Where a section lies on its slide, and what of it is tissue, cavity, fault and lesion: laid out before its pixels are counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from sevhisto.config import ImagingSettings, PanelSettings
from sevhisto.imaging.background import corrected_marker
from sevhisto.imaging.geometry import Layout, side_map, signed_distance
from sevhisto.imaging.lesion import Core, Cues, cue_markers, find_core
from sevhisto.imaging.local import NO_BACKGROUND, LocalBackground, local_backgrounds
from sevhisto.imaging.overview import SlideOverview, outline_of
from sevhisto.imaging.quality import NO_CAVITY, Faults, fault_codes, faults_in, filled_in
from sevhisto.imaging.registration import Neighbour, carry_core
from sevhisto.imaging.seams import shows_nothing
from sevhisto.imaging.tissue import find_cavity, trim_rim
from sevhisto.types import (
    AnyArray,
    BoolArray,
    Correction,
    FloatArray,
    PixelSource,
    encode_thumbnail,
)


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
    """What is known of a section beforehand: masks that a person drew on the slide's overview, or the neighbour that shows the lesion.

    Attributes
    ----------
    core : lesion core, None where not drawn
    excluded : area to leave out, None where not drawn
    white : spared white matter, None where not drawn
    neighbour : the section from which a panel without landmark takes the core
    """

    core: BoolArray | None
    excluded: BoolArray | None
    white: BoolArray | None = None
    neighbour: Neighbour | None = None


def lay_out(
    overview: SlideOverview,
    piece: int | None,
    panel: PanelSettings,
    correction: Correction,
    drawn: Drawn,
    settings: ImagingSettings,
    longitudinal: bool,
    flipped: bool,
) -> tuple[Layout, tuple[int, int, int, int], list[str], Core, Faults]:
    """Return the section's layout, its box on the overview (y0, y1, x0, x1), flags, lesion core, and faults.

    `piece` counts from 1; None takes all tissue of the slide as one section. SlideError where the slide has fewer pieces.
    """
    box, outline, flags = outline_of(overview, piece)
    if panel.kind == "fluorescence" and "whole_field" in flags and shows_nothing(overview.values):
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
    here = Drawn(None if drawn.core is None else drawn.core[sy, sx], None, neighbour=drawn.neighbour)
    shown = filled_in(overview.values[:, sy, sx], found)
    core = _core(shown, correction, tissue, cavity & ~masked, here, panel, overview.um, settings)
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
    return layout, box, [*flags, *faults.flags, *core.flags], core, faults


def _core(
    values: FloatArray,
    correction: Correction,
    tissue: BoolArray,
    cavity: BoolArray,
    known: Drawn,
    panel: PanelSettings,
    um: float,
    settings: ImagingSettings,
) -> Core:
    if known.core is not None and (known.core & tissue).any():  # outlines may be drawn for some pieces of a slide only
        return Core(known.core & tissue, float("nan"), ("contour_drawn",))
    cues = _cues(values, correction, panel, settings)
    if not cues.draw:
        nuclei = panel.marker_of_role("nuclei")
        dapi = corrected_marker(values, correction, panel.markers.index(nuclei)) if nuclei else None
        return _carried(known.neighbour, tissue, dapi, um)
    return find_core(cues, tissue, cavity, um, settings)


def _cues(values: FloatArray, correction: Correction, panel: PanelSettings, settings: ImagingSettings) -> Cues:
    """Return the cues of imaging.lesion_cues that the panel shows."""

    def shown(marker: str | None) -> FloatArray | None:
        return None if marker is None else corrected_marker(values, correction, panel.markers.index(marker))

    asked = settings.lesion_cues
    landmark, nuclei = (panel.marker_of_role(role) if role in asked else None for role in ("landmark", "nuclei"))
    named = {m: corrected_marker(values, correction, panel.markers.index(m)) for m in cue_markers(panel, settings)}
    return Cues(shown(landmark), shown(nuclei), named, "cavity" in asked)


def _carried(near: Neighbour | None, tissue: BoolArray, nuclei: FloatArray | None, um: float) -> Core:
    nothing = np.zeros_like(tissue)
    if near is None:
        return Core(nothing, float("nan"), ("no_landmark",))
    gap = None if np.isnan(near.gap_um) else near.gap_um
    if not near.core.any():
        return Core(nothing, float("nan"), ("no_lesion", "contour_carried"), {"carried_um": gap}, markers=near.markers)
    carried = carry_core(near, tissue, nuclei, um)
    alike = None if np.isnan(carried.likeness) else round(carried.likeness, 4)
    facts = {"carried_um": gap, "overlap": round(carried.overlap, 4), "likeness": alike}
    if not carried.fits or not carried.core.any():
        return Core(nothing, float("nan"), ("no_landmark", "contour_not_carried"), facts)
    flags = ("contour_unreviewed", "contour_carried", *(() if carried.sure and not near.unsure else ("contour_uncertain",)))
    return Core(carried.core, float("nan"), flags, facts, markers=near.markers)


@dataclass(frozen=True)
class Plan:
    """A section laid out and ready to be measured. It holds nothing of the overview but masks and thumbnails.

    Attributes
    ----------
    layout : where each overview pixel lies
    corner : (y, x), full-resolution pixel of the slide where the section starts
    shape : (height, width) in full-resolution pixels
    flags : what the layout has to tell
    core : contrast and confidence of the lesion core, markers that had a part in it, what speaks for it or how it was carried over
    masks : as in SectionRecord
    faults : shares and numbers of its faults, for the record
    white_um2 : white matter that a person drew, outside core, cavity and masked area; None where nobody drew any
    local : background of the markers that are tallied over it too
    """

    layout: Layout
    corner: tuple[int, int]
    shape: tuple[int, int]
    flags: tuple[str, ...]
    core: dict[str, Any]
    masks: dict[str, AnyArray]
    faults: dict[str, Any]
    white_um2: float | None = None
    local: LocalBackground = NO_BACKGROUND


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
    panel = panel.stained
    whole = panel if find_lesion else panel.model_copy(update={"channels": [_no_cue(c) for c in panel.channels]})
    asked = settings if find_lesion else settings.model_copy(update={"lesion_cues": []})
    layout, box, flags, core, found = lay_out(overview, piece, whole, correction, drawn, asked, longitudinal, flipped)
    if not find_lesion:
        flags = [f for f in flags if f != "no_landmark"]
    y0, x0 = overview.corner[0] + box[0] * overview.factor, overview.corner[1] + box[2] * overview.factor
    y1, x1 = overview.corner[0] + box[1] * overview.factor, overview.corner[1] + box[3] * overview.factor
    shape = (min(y1, slide_shape[0]) - y0, min(x1, slide_shape[1]) - x0)
    told = {
        "contrast": None if np.isnan(core.contrast) else round(core.contrast, 4),
        "confidence": None if np.isnan(core.confidence) else round(core.confidence, 3),
        "markers": list(core.markers),
    }
    masks = _masks(overview, layout, box, correction, panel)
    local = local_backgrounds(overview.values[:, box[0] : box[1], box[2] : box[3]], layout, correction, panel, settings.local_background_um)
    return Plan(layout, (y0, x0), shape, tuple(flags), told | core.facts, masks, found.facts(), _white_um2(drawn, box, layout), local)


def _white_um2(drawn: Drawn, box: tuple[int, int, int, int], layout: Layout) -> float | None:
    if drawn.white is None:
        return None
    white = drawn.white[box[0] : box[1], box[2] : box[3]] & layout.tissue  # may be drawn for some pieces of a slide only
    spared = white & ~layout.core & ~layout.cavity & ~layout.masked
    return float(np.count_nonzero(spared)) * layout.um**2 if white.any() else None


def _no_cue(channel: Any) -> Any:
    return channel.model_copy(update={"role": "other"}) if channel.role in ("landmark", "nuclei") else channel


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
