"""What the parts of sevhisto hand to each other: errors, pixels, bins, and the record of one section."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
AnyArray = npt.NDArray[Any]

# ---------------------------------------------------------------- errors


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where it stands, what it is, and what to do."""

    where: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}"
        return f"{text}\n    -> {self.remedy}" if self.remedy else text


class SevhistoError(Exception):
    """An error that a user can act on; `problems` holds every one that was found."""

    def __init__(self, problems: Problem | Sequence[Problem]) -> None:
        self.problems = [problems] if isinstance(problems, Problem) else list(problems)
        super().__init__("\n".join(str(p) for p in self.problems))

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.problems,))


class StudyError(SevhistoError):
    """The study's files or settings are wrong; nothing was measured."""


class SlideError(SevhistoError):
    """One slide or section cannot be measured; the others can."""


class OutputError(SevhistoError):
    """Results cannot be written: no slide's fault, and none of the others would fare better."""


# ---------------------------------------------------------------- pixels


class PixelSource(Protocol):
    """Pixels that can be read by region; a slide, or one section of it."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Channel names in file order; ``("R", "G", "B")`` for a colour image."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels at full resolution."""

    @property
    def um_per_px(self) -> float:
        """Pixel size in micrometres (square pixels)."""

    def read(self, channels: Sequence[int], y0: int, y1: int, x0: int, x1: int) -> AnyArray:
        """Read full-resolution pixels, shape (len(channels), y1 - y0, x1 - x0), in the file's dtype."""


# ---------------------------------------------------------------- bins

QUANTUM = 1 / 16  # grey level; intensities are summed as whole numbers of this


def _intensity_edges() -> IntArray:
    # asinh spacing: about 0.12 grey levels near zero, about 3 % of the value above
    steps = np.arange(-208, 348)
    return np.unique(np.rint(4 * np.sinh(0.03 * steps) / QUANTUM)).astype(np.int64)


INTENSITY_EDGES_Q: IntArray = _intensity_edges()
"""Edges of the intensity bins in quanta (1/16 grey level). Bin i holds edges[i-1] <= value < edges[i]; the first is underflow, the last
overflow."""
INTENSITY_EDGES: DoubleArray = (INTENSITY_EDGES_Q * QUANTUM).astype(np.float64)
"""The same edges in grey levels."""
N_INTENSITY = len(INTENSITY_EDGES) + 1

JOINT_EDGES: DoubleArray = INTENSITY_EDGES[np.unique(np.linspace(0, len(INTENSITY_EDGES) - 1, 63).astype(int))]
"""Edges of the 64 coarse bins of joint tallies, a subset of the fine ones."""

DISTANCE_STEP_UM = 10
JOINT_DISTANCE_STEP_UM = 50
DISTANCE_EDGES_UM: IntArray = np.arange(-1500, 3001, DISTANCE_STEP_UM)
"""Edges of the signed distance bins (um; negative inside the core). Bin i holds edges[i-1] <= d < edges[i]."""
N_DISTANCE = len(DISTANCE_EDGES_UM) + 2
NO_DISTANCE = N_DISTANCE - 1
"""Index of the bin for tissue in sections without a lesion core."""

JOINT_DISTANCE_EDGES_UM: IntArray = np.arange(-1500, 3001, JOINT_DISTANCE_STEP_UM)
"""Edges of the coarse distance bins of joint tallies (um)."""
N_JOINT_DISTANCE = len(JOINT_DISTANCE_EDGES_UM) + 2
"""Coarse distance bins; the last is for sections without a lesion core."""

FIBRE_COLUMNS = ("xx", "yy", "xy", "nn", "nt", "pixels", "slope")
"""What is summed of fibres: the structure tensor in the image and in the lesion border's frame; area and slope of the smoothed image."""

NEAR_VESSEL = "near vessel"
"""Second name of the joint tally of a matrix marker with the brightest pixel of the vessel marker within reach."""

SIDES = ("first", "second")
"""Left and right of the cord in transverse sections; rostral and caudal of the epicentre in longitudinal ones."""


def snap_threshold(value: float) -> float:
    """Return the intensity bin edge nearest to `value` (grey levels): the threshold that is applied and reported."""
    return float(INTENSITY_EDGES[np.argmin(np.abs(INTENSITY_EDGES - value))])


_THUMBNAIL_STEP = float(np.arcsinh(65536 / 4)) / 255


def encode_thumbnail(intensity: FloatArray) -> npt.NDArray[np.uint8]:
    """Return corrected intensity (grey levels, any shape) as uint8 on one fixed asinh scale; negative becomes 0."""
    return np.clip(np.rint(np.arcsinh(np.maximum(intensity, 0) / 4) / _THUMBNAIL_STEP), 0, 255).astype(np.uint8)


def decode_thumbnail(code: npt.NDArray[np.uint8]) -> FloatArray:
    """Return grey levels from `encode_thumbnail`, good to about 2 % of the value."""
    return np.asarray(4 * np.sinh(code.astype(np.float32) * _THUMBNAIL_STEP), np.float32)


# ---------------------------------------------------------------- records


@dataclass(frozen=True)
class Leak:
    """What one marker's stain shows in the channel of another, as a share of what it shows in its own.

    Attributes
    ----------
    share : what is subtracted
    source : ``declared`` or ``single_stain``
    measured : what single stains of the batch show; None without them
    """

    share: float
    source: str
    measured: float | None


SHADING_NODES = 65
"""Nodes along each side of a camera field, from edge to edge, between which its gain is linear."""


@dataclass(frozen=True)
class Shading:
    """How evenly the camera saw: fixed for one panel and batch. ``flat = dark + (raw - dark) / gain``, by place in the camera field.

    Attributes
    ----------
    gain : (n_markers, SHADING_NODES, SHADING_NODES) float32, mean 1 over the field
    dark : (n_markers,) float64, grey levels without light
    field_um : (height, width) of one field as stitched; None where every image is one field
    origin_um : (y, x) on the slide where a field starts
    source : per marker ``given``, ``estimated`` or ``none``, whose gain is 1
    error : per marker, standard error of an estimated gain; NaN where there is none
    n_fields : fields of tissue behind the estimates
    flags : flags of every section that is measured with it
    """

    gain: FloatArray
    dark: DoubleArray
    field_um: tuple[float, float] | None
    origin_um: tuple[float, float]
    source: tuple[str, ...]
    error: tuple[float, ...]
    n_fields: float = 0.0
    flags: tuple[str, ...] = ()


@dataclass
class Correction:
    """How raw intensity becomes comparable: fixed for one panel and batch.

    ``corrected = unmix @ (flat - offset)``, per pixel; without `shading` flat is raw.

    Attributes
    ----------
    offset : (n_markers,) float64, grey levels
    unmix : (n_markers, n_markers) float64, inverse of what each stain adds to every channel
    source : where each offset came from, one word per marker
    autofluorescence : {marker: what it shows of one grey level in the autofluorescence channel}, where a control told it
    leaks : {(into, origin): Leak}
    notes : what a person should know of how it was made
    stain_vectors : (3, 3) float64, the brightfield stain's colours (imaging.stains.Stain); None where published, and in fluorescence
    stain_source : where the vector of each of its components is from: ``given``, ``estimated`` or ``published``
    shading : what is divided out first; None where nothing is
    glass : (3,) float64, milli optical density of the batch's clear slide in red, green and blue; None in fluorescence
    """

    offset: DoubleArray
    unmix: DoubleArray
    source: tuple[str, ...]
    autofluorescence: dict[str, float] = field(default_factory=dict)
    leaks: dict[tuple[str, str], Leak] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    stain_vectors: DoubleArray | None = None
    stain_source: tuple[str, ...] = ()
    shading: Shading | None = None
    glass: DoubleArray | None = None


@dataclass(frozen=True)
class PixelModel:
    """A pixel classifier that was learned from outlines: decision trees on features of a panel's corrected images.

    A node without `child` is a leaf. Else a pixel whose feature is below the threshold goes on to `child`, any other to the node after it.

    Attributes
    ----------
    classes : names, in the order of the probabilities
    inputs : images that features are made of: markers of a fluorescence panel, or components of a brightfield stain
    scales_um : sigmas of the features, finest first
    feature : (n_nodes,) int16, number of the feature that decides
    threshold : (n_nodes,) float32
    child : (n_nodes,) int32; always after the node itself, 0 in a leaf
    share : (n_nodes, n_classes) float32, share of each class among the training pixels of the node
    roots : (n_trees,) int32, first node of each tree
    facts : JSON-able: panel, kind, stain, who, seed, slides by sha256, outlines and pixels of each class, out-of-sample error
    """

    classes: tuple[str, ...]
    inputs: tuple[str, ...]
    scales_um: tuple[float, ...]
    feature: AnyArray
    threshold: FloatArray
    child: AnyArray
    share: FloatArray
    roots: AnyArray
    facts: dict[str, Any]

    @property
    def n_features(self) -> int:
        """Features that it looks at: six of each input and scale, but four of the finest."""
        return len(self.inputs) * (6 * len(self.scales_um) - 2)

    def too_coarse(self, um: float) -> list[Problem]:
        """Return a problem where pixels of this size cannot show its finest scale."""
        if um <= 1.001 * self.scales_um[0]:
            return []
        what = f"pixels of {um:.3g} um are too coarse for it: its finest scale is {self.scales_um[0]:g} um"
        return [Problem("", what, "learn it again with a coarser finest scale: sevhisto train --finest-um")]


PER_MILLE = 1000.0
"""Intensity of a pixel that certainly is of a class: probabilities are tallied in per mille."""
EVEN_CHANCE = PER_MILLE / 2
"""Intensity from which a pixel counts as one of the class."""


@dataclass(frozen=True)
class CellOutlines:
    """The outlines of cells along the edges of their pixels.

    Attributes
    ----------
    start : (n, 2) int32, y, x of the full-resolution corner, from that of the section, where each begins, going right
    length : (n,) int32, edges of each; 0 where a cell has no pixel of its own
    turns : (sum of length,) uint8, after each edge 0 straight on, 1 left, 2 right; the cell lies to the right
    step : full-resolution pixels along an edge
    """

    start: AnyArray
    length: AnyArray
    turns: AnyArray
    step: int


@dataclass(frozen=True)
class SectionView:
    """What there is to see of a section: the parts of a SectionRecord that are no tallies, which take a tenth of the time to read."""

    meta: dict[str, Any]
    markers: tuple[str, ...]
    cells: dict[str, FloatArray]
    masks: dict[str, AnyArray]
    outlines: CellOutlines | None = None

    def marker_index(self, marker: str) -> int:
        """Position of `marker` among the measured channels; KeyError with the known ones if absent."""
        return _place_of(marker, self.markers)


def _place_of(marker: str, markers: tuple[str, ...]) -> int:
    if marker not in markers:
        raise KeyError(f"{marker!r} was not measured here; measured: {', '.join(markers)}")
    return markers.index(marker)


@dataclass
class SectionRecord:
    """What is kept of one section: enough for every later choice, so that no pixel is read twice.

    Attributes
    ----------
    meta : JSON-able facts: shape, um_per_px and its source, hashes, settings, flags, section status
    markers : marker of each measured channel, in the panel's order
    counts : (n_markers, 2 sides, N_DISTANCE, N_INTENSITY) int64, pixels of examined tissue
    sums : same shape, int64, sum of corrected intensity in quanta of 1/16 grey level
    cavity_px, masked_px : (2, N_DISTANCE) int64, pixels of cavity and of excluded or damaged area
    joint : {(marker_a, marker_b): (2, n_joint_distance, 64, 64) int64}
    scrambled : as `joint`, pixels of every eighth row with the second marker of a pixel in another block: what chance gives; see
        imaging.scramble
    fibres : {marker: (2, N_DISTANCE, n_coarse, 7) int64}, sums of FIBRE_COLUMNS; see imaging.tally.fibre_sums
    cells : columns of equal length: y_um, x_um, distance_um, side, area_um2, <marker>_nucleus, <marker>_ring (median intensities); with
        a tracer footprint_um2, nucleus and ring together
    masks : at overview resolution: tissue, cavity, masked, core (uint8, 0 or 1), distance (int16, um), thumbnail (h, w, n_markers) uint8 as
        `encode_thumbnail` made it, and for colour images thumbnail_rgb (h, w, 3) uint8
    puncta : {marker: (2, N_DISTANCE, N_INTENSITY) int64}, spots of a tracer by their contrast
    autofluorescent : {marker: (2, N_JOINT_DISTANCE, N_INTENSITY) int64}, pixels by intensity before autofluorescence was subtracted, minus
        pixels by intensity after
    cell_spots : {marker: (n, 3) int64}, spots of a tracer in cells: row in `cells`, coarse contrast bin, how many
    local : {marker: (2, N_JOINT_DISTANCE, N_INTENSITY) int64}, pixels by intensity over their local background; see imaging.local
    outlines : of `cells`, in their order; None where there are none
    """

    meta: dict[str, Any]
    markers: tuple[str, ...]
    counts: IntArray
    sums: IntArray
    cavity_px: IntArray
    masked_px: IntArray
    joint: dict[tuple[str, str], IntArray] = field(default_factory=dict)
    fibres: dict[str, IntArray] = field(default_factory=dict)
    cells: dict[str, FloatArray] = field(default_factory=dict)
    masks: dict[str, AnyArray] = field(default_factory=dict)
    puncta: dict[str, IntArray] = field(default_factory=dict)
    autofluorescent: dict[str, IntArray] = field(default_factory=dict)
    cell_spots: dict[str, IntArray] = field(default_factory=dict)
    local: dict[str, IntArray] = field(default_factory=dict)
    scrambled: dict[tuple[str, str], IntArray] = field(default_factory=dict)
    outlines: CellOutlines | None = None

    @property
    def px_um2(self) -> float:
        """Area of one pixel in um2."""
        return float(self.meta["um_per_px"]) ** 2

    def marker_index(self, marker: str) -> int:
        """Position of `marker` among the measured channels; KeyError with the known ones if absent."""
        return _place_of(marker, self.markers)


Shown = SectionRecord | SectionView
"""What a picture of a section is made from."""


def examined(record: Shown) -> BoolArray:
    """Return the overview pixels that count, (h, w) bool: tissue that is neither cavity nor masked."""
    return np.asarray((record.masks["tissue"] > 0) & (record.masks["cavity"] == 0) & (record.masks["masked"] == 0), bool)
