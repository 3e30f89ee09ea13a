"""What a synthetic section shall look like: its settings, the known markers and their defaults (all invented, none a biological result)."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from sevhisto.config import SLIDE_ROLES, Orientation, SlideRole
from sevhisto.registry import did_you_mean
from sevhisto.types import Problem, SevhistoError

PANEL_A = ("DAPI", "GFAP", "CD68", "CD206", "AF")
PANEL_B = ("DAPI", "GFAP", "fibronectin", "collagen_I", "AF")

CORD_UM: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"transverse": (1600.0, 1250.0), "sagittal": (4200.0, 1250.0), "horizontal": (4200.0, 1600.0)}
)
"""Width and height of the cord (um) where a spec gives none."""


@dataclass(frozen=True)
class MarkerModel:
    """A marker: what draws it, its signal (grey levels at full brightness), its share of the autofluorescence, its default coverage."""

    kind: str  # nuclei, glia, macrophage, m2, fibres, puncta, none
    signal: float
    af_share: float
    coverage: float = 0.0
    on_vessels: float = 0.0  # brightness on vessels and pia; 0 = not there
    fibre_width_um: float = 3.0


MARKERS: Mapping[str, MarkerModel] = MappingProxyType(
    {
        "DAPI": MarkerModel("nuclei", 800.0, 0.9),
        "GFAP": MarkerModel("glia", 600.0, 1.0),
        "CD68": MarkerModel("macrophage", 600.0, 1.0, coverage=0.35),
        "CD206": MarkerModel("m2", 550.0, 0.8, coverage=0.30),
        "fibronectin": MarkerModel("fibres", 600.0, 1.0, 0.25, on_vessels=0.8, fibre_width_um=3.5),
        "collagen_I": MarkerModel("fibres", 550.0, 0.8, 0.15, on_vessels=0.9, fibre_width_um=4.5),
        "collagen_V": MarkerModel("fibres", 500.0, 0.8, 0.08, on_vessels=0.6, fibre_width_um=3.0),
        "sEV": MarkerModel("puncta", 500.0, 0.7),
        "AF": MarkerModel("none", 0.0, 1.6),
    }
)


@dataclass(frozen=True)
class SectionSpec:
    """One section. Lengths in um, angles in degrees (clockwise on the screen), intensities in grey levels.

    Attributes
    ----------
    markers : channels, in file order; any of `MARKERS`
    cord_um : width and height of the cord; None takes `CORD_UM` of the orientation
    single_stain : the only marker that is stained, where the role is single_stain
    lesion_scale : area of the core relative to the default (16 % of a transverse cord); 0 = no lesion
    lesion_position : centre of the core, as a share of the half width and half height; y grows ventrally
    cavity_fraction : share of the core's outline that is cavity
    coverage : per marker, share of the core (without cavity) that its structure covers; of CD206: share of the CD68 area
    signal : per marker, grey levels at full brightness
    gain, offset : of the batch: factor on the stain, and camera offset
    af_tissue, af_cell : autofluorescence of tissue and of CD68+ cells, times each marker's own share
    bleed_through : {into: {from: share}}, of the stain
    shading, seam : half range of the vignette of a camera field; sd of the gain between fields
    field_origin_um : (y, x) on the canvas where a camera field starts, for all channels; None draws a place for each channel
    electrons_per_grey, read_noise : shot noise has variance grey / electrons_per_grey
    psf_um : sigma of the blur; saturation : highest grey level; texture : unevenness within structure
    uptake : mean number of sEV puncta on a CD68+ CD206+ cell, and on any other; loose_per_mm2 : puncta elsewhere, in the core and outside
    haze : diffuse extracellular matrix without structure in and around the core, as a share of full brightness
    fibre_deg, fibre_concentration : mean direction from the cord's x axis; kappa of the von Mises law of the doubled angle
    rotation_deg : the section on its canvas; margin_um : glass around it
    """

    markers: tuple[str, ...] = PANEL_A
    orientation: Orientation = "transverse"
    um_per_px: float = 1.3
    cord_um: tuple[float, float] | None = None
    role: SlideRole = "sample"
    single_stain: str = ""
    lesion_scale: float = 1.0
    lesion_position: tuple[float, float] = (0.03, -0.32)
    cavity_fraction: float = 0.18
    coverage: Mapping[str, float] = field(default_factory=dict)
    signal: Mapping[str, float] = field(default_factory=dict)
    gain: float = 1.0
    offset: float = 150.0
    glass: float = 4.0
    af_tissue: float = 32.0
    af_cell: float = 40.0
    bleed_through: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    shading: float = 0.04
    seam: float = 0.01
    camera_field_um: float = 650.0
    field_origin_um: tuple[float, float] | None = None
    electrons_per_grey: float = 1.0
    read_noise: float = 4.0
    psf_um: float = 0.8
    saturation: int = 4095
    texture: float = 0.12
    haze: float = 0.0
    uptake: tuple[float, float] = (6.0, 0.7)
    loose_per_mm2: tuple[float, float] = (350.0, 15.0)
    nuclei_density: float = 1.0
    fibre_deg: float = 25.0
    fibre_concentration: float = 1.0
    rotation_deg: float = 0.0
    margin_um: float = 60.0

    def __post_init__(self) -> None:
        problems = [Problem("phantom", what, remedy) for what, remedy in self._mistakes()]
        if problems:
            raise SevhistoError(problems)

    def _mistakes(self) -> list[tuple[str, str]]:
        found = []
        named = {*self.markers, *self.coverage, *self.signal, *self.bleed_through, *(s for b in self.bleed_through.values() for s in b)}
        for name in sorted(named - set(MARKERS)):
            found.append((f"no model of marker {name!r}", did_you_mean(name, list(MARKERS))))
        if not self.markers or len(set(self.markers)) != len(self.markers):
            found.append(("markers must be named, each once", "correct `markers`"))
        if self.orientation not in CORD_UM:
            found.append((f"orientation {self.orientation!r}", did_you_mean(str(self.orientation), list(CORD_UM))))
        if self.role not in SLIDE_ROLES:
            found.append((f"role {self.role!r}", did_you_mean(str(self.role), list(SLIDE_ROLES))))
        if (self.role == "single_stain") != (self.single_stain in self.markers):
            found.append(
                (f"single_stain {self.single_stain!r} with role {self.role!r}", "give a marker to a single stain, and to no other")
            )
        if any(not 0 <= c <= 0.8 for c in self.coverage.values()):
            found.append(("coverage must lie in 0..0.8", "correct `coverage`"))
        if not 0 <= self.cavity_fraction <= 0.6:
            found.append((f"cavity_fraction {self.cavity_fraction:g}", "give 0..0.6"))
        if not (0.05 <= self.um_per_px <= 10 and self.lesion_scale >= 0 and math.isfinite(self.lesion_scale)):
            found.append(("um_per_px must lie in 0.05..10 and lesion_scale be 0 or more", "correct them"))
        if max(abs(v) for v in self.lesion_position) > 0.85:
            found.append((f"lesion_position {self.lesion_position} lies outside the cord", "give shares within -0.85..0.85"))
        return found

    @property
    def size_um(self) -> tuple[float, float]:
        """Width and height of the cord."""
        return self.cord_um or CORD_UM[self.orientation]

    @property
    def injured(self) -> bool:
        """Whether the section has a lesion core."""
        return self.lesion_scale > 0 and self.role != "uninjured"

    @property
    def core_um2(self) -> float:
        """Area that the core's outline (cavity included) is drawn to, unless the cord is too small for it."""
        width, height = self.size_um
        base = 0.16 * math.pi / 4 * width * height if self.orientation == "transverse" else 0.32 * height**2
        return base * self.lesion_scale if self.injured else 0.0

    def coverage_of(self, marker: str) -> float:
        """Return the target coverage of a marker."""
        return self.coverage.get(marker, MARKERS[marker].coverage)

    def stained(self, marker: str) -> bool:
        """Return whether the marker's stain is on the section: DAPI needs no primary antibody."""
        if self.role in ("unstained", "single_stain"):
            return marker == self.single_stain
        return self.role != "no_primary" or MARKERS[marker].kind == "nuclei"

    def full_signal(self, marker: str) -> float:
        """Return grey levels of the marker at full brightness, in this batch; 0 where it is not stained."""
        return self.signal.get(marker, MARKERS[marker].signal) * self.gain if self.stained(marker) else 0.0


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Return the random numbers of one component: adding another component changes none of them."""
    words = [n if isinstance(n, int) else zlib.crc32(n.encode()) for n in names]
    return np.random.default_rng(np.random.SeedSequence([seed, *words]))
