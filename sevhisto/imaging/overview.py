"""A slide seen from afar: what its markers are there, and which pieces of tissue lie on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from sevhisto.config import ImagingSettings, PanelSettings
from sevhisto.imaging.reader import MarkerReader
from sevhisto.imaging.stains import optical_density, stains, unmix_stains
from sevhisto.imaging.tissue import Piece, find_pieces
from sevhisto.types import BoolArray, DoubleArray, FloatArray, Problem, SlideError

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


def marker_reader(panel: PanelSettings, channels: Sequence[int], bit_max: float, vectors: DoubleArray | None = None) -> MarkerReader:
    """Return how this panel's markers are read.

    `channels` : the file's channel numbers in the panel's order (fluorescence only); `vectors` : (3, 3), of the batch's stain instead of
    the published ones (brightfield only)
    """
    if panel.kind == "fluorescence":
        return MarkerReader(tuple(channels), lambda raw: raw, bit_max, -np.inf)
    stain = stains[panel.stain] if vectors is None else replace(stains[panel.stain], vectors=vectors)
    wanted = []
    for channel in panel.stained.channels:
        if channel.channel not in stain.components:
            known = ", ".join(stain.components)
            raise SlideError(Problem(f"panel stain {panel.stain}", f"has no component {channel.channel!r}", f"known: {known}"))
        wanted.append(str(channel.channel))
    return MarkerReader((0, 1, 2), lambda raw: unmix_stains(raw, stain, tuple(wanted), excess=True), np.inf, 0, True)


def slide_overview(
    raw: FloatArray, factor: int, um: float, reader: MarkerReader, settings: ImagingSettings, corner: tuple[int, int] = (0, 0)
) -> SlideOverview:
    """Return the overview of a slide, or of its part from pixel `corner` on, with its pieces of tissue.

    `raw` : (n_file_channels, h, w) float32; `um` : size of an overview pixel.
    """
    in_order = reader.channels == tuple(range(len(raw)))  # then no copy of what may be the largest array of all
    chosen = np.ascontiguousarray(raw if in_order else raw[list(reader.channels)], np.float32)
    values = reader.values(chosen, *corner, factor)
    # in brightfield tissue is what absorbs any colour, whichever of its stains are measured
    shown = optical_density(chosen).max(axis=0, keepdims=True) if reader.brightfield else values
    pieces, mask = find_pieces(shown, um, settings)
    return SlideOverview(chosen, values, factor, um, pieces, mask)


def piece_box(overview: SlideOverview, piece: int, shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return where a piece lies on the slide, with a margin, in full-resolution pixels (y0, y1, x0, x1); `piece` counts from 1."""
    (y0, y1, x0, x1), _, _ = outline_of(overview, piece)
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


def outline_of(overview: SlideOverview, piece: int | None) -> tuple[tuple[int, int, int, int], BoolArray, list[str]]:
    """Return the box (y0, y1, x0, x1) of a piece on the overview, its outline in it, and flags; all tissue where None."""
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
