"""Faults of histology, put into a synthetic section one at a time, with the area that they spoil.

Every fault does to the light what it does on a real slide: light is the image without the camera's offset, and where light is smoothed or
weakened, the noise of a camera that sees that much light is put back. All sizes are invented, in the order of what slides show.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import cv2
import numpy as np
import numpy.typing as npt

from sevhisto.phantom import optics
from sevhisto.phantom.section import PhantomSection, make_section
from sevhisto.phantom.spec import SectionSpec, stream
from sevhisto.registry import did_you_mean
from sevhisto.types import BoolArray, FloatArray, Problem, SevhistoError

Image = npt.NDArray[np.uint16]
STRENGTHS = ("weak", "middle", "strong")


@dataclass
class FaultySection:
    """A section with one fault: its image (channels, h, w) uint16, the area that it spoils (h, w) bool, and the clean section.

    The area is empty for a fault of the whole image.
    """

    clean: PhantomSection
    image: Image
    area: BoolArray


@dataclass(frozen=True)
class Fault:
    """One fault: what puts it in, given the section, a size per strength and random numbers; and the three sizes."""

    put: Callable[[PhantomSection, float, np.random.Generator], tuple[Image, BoolArray]]
    sizes: tuple[float, float, float]
    what: str


def inject(section: PhantomSection, fault: str, strength: str = "middle", seed: int = 0) -> FaultySection:
    """Return a section with a fault put in; `section` itself is not changed.

    Parameters
    ----------
    fault : a name of `FAULTS`
    strength : weak, middle or strong
    seed : where it lies; independent of the section's own seed

    Raises
    ------
    SevhistoError : no such fault or strength
    """
    if fault not in FAULTS:
        raise SevhistoError(Problem("phantom fault", f"unknown {fault!r}", did_you_mean(fault, list(FAULTS))))
    if strength not in STRENGTHS:
        raise SevhistoError(Problem("phantom fault", f"unknown strength {strength!r}", did_you_mean(strength, list(STRENGTHS))))
    chosen = FAULTS[fault]
    rng = stream(section.seed, "fault", fault, seed)
    image, area = chosen.put(section, chosen.sizes[STRENGTHS.index(strength)], rng)
    return FaultySection(section, image, area)


def _light(section: PhantomSection) -> FloatArray:
    return np.asarray(section.image.astype(np.float32) - np.float32(section.spec.offset), np.float32)


def _seen(spec: SectionSpec, light: FloatArray) -> Image:
    return np.asarray(np.clip(light + np.float32(spec.offset + 0.5), 0, spec.saturation), np.uint16)


def _noisy(spec: SectionSpec, light: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return light without noise as a camera sees it."""
    grey = np.maximum(light, 0)
    return np.asarray(light + optics._noise(spec, grey, rng), np.float32)


def _tissue(section: PhantomSection) -> BoolArray:
    return np.asarray(section.truth.anatomy.tissue > 0, bool)


def _place(section: PhantomSection, margin_um: float, rng: np.random.Generator) -> tuple[float, float]:
    """Return a point (y, x) at least `margin_um` inside the tissue, or the innermost one."""
    depth = cv2.distanceTransform(np.pad(_tissue(section), 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    inside = np.argwhere(depth >= min(margin_um / section.spec.um_per_px, float(depth.max()) * 0.95))
    y, x = inside[rng.integers(len(inside))]
    return float(y), float(x)


def _grid(section: PhantomSection) -> tuple[FloatArray, FloatArray]:
    h, w = section.image.shape[1:]
    yy, xx = np.mgrid[0:h, 0:w].astype(np.float32)
    return yy, xx


def _soft(mask: BoolArray, sigma: float) -> FloatArray:
    return np.asarray(cv2.GaussianBlur(mask.astype(np.float32), (0, 0), max(sigma, 0.3)), np.float32)


def _defocus(section: PhantomSection, sigma_um: float, rng: np.random.Generator) -> tuple[Image, BoolArray]:
    """One side of the section, up to a line through a point well inside it."""
    y, x = _place(section, 250, rng)
    angle = rng.uniform(0, 2 * np.pi)
    yy, xx = _grid(section)
    area = (yy - y) * np.sin(angle) + (xx - x) * np.cos(angle) > 0
    share = (area & _tissue(section)).sum() / max(int(_tissue(section).sum()), 1)
    return _blurred(section, area if share <= 0.5 else ~area, sigma_um, rng)


def _defocus_all(section: PhantomSection, sigma_um: float, rng: np.random.Generator) -> tuple[Image, BoolArray]:
    image, _ = _blurred(section, np.ones(section.image.shape[1:], bool), sigma_um, rng)
    return image, np.zeros(image.shape[1:], bool)


def _blurred(section: PhantomSection, area: BoolArray, sigma_um: float, rng: np.random.Generator) -> tuple[Image, BoolArray]:
    spec, light = section.spec, _light(section)
    for plane in light:
        soft = _noisy(spec, np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma_um / spec.um_per_px), np.float32), rng)
        plane[area] = soft[area]
    return _seen(spec, light), area


def _fold(section: PhantomSection, width_um: float, rng: np.random.Generator) -> tuple[Image, BoolArray]:
    """A strip on which its neighbour lies mirrored: light from two layers."""
    spec = section.spec
    y, x = _place(section, 200, rng)
    angle, length = rng.uniform(0, np.pi), 6 * width_um
    yy, xx = _grid(section)
    along = ((yy - y) * np.sin(angle) + (xx - x) * np.cos(angle)) * spec.um_per_px
    across = ((xx - x) * np.sin(angle) - (yy - y) * np.cos(angle)) * spec.um_per_px
    across = across - 0.1 * width_um * np.sin(along / length * 2 * np.pi)  # folds are not quite straight
    taper = np.sqrt(np.clip(1 - (2 * along / length) ** 2, 0, 1))
    area = (np.abs(across) < width_um / 2 * taper) & _tissue(section)
    # the layer above comes from beyond the edge of the fold
    shift = (width_um - 2 * across) / spec.um_per_px
    map_x, map_y = (xx + shift * np.sin(angle)).astype(np.float32), (yy - shift * np.cos(angle)).astype(np.float32)
    light = _light(section)
    for plane in light:
        above = cv2.remap(plane, map_x, map_y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101)
        plane[area] += above[area] - np.float32(spec.glass)
    return _seen(spec, light), area


def _bubble(section: PhantomSection, radius_um: float, rng: np.random.Generator) -> tuple[Image, BoolArray]:
    """A disc of air: dim and blurred inside, with a rim that gathers light."""
    spec = section.spec
    y, x = _place(section, radius_um + 40, rng)
    yy, xx = _grid(section)
    radius = np.hypot(yy - y, (xx - x) * rng.uniform(0.94, 1.06)) * spec.um_per_px
    area = radius < radius_um
    rim = np.exp(-(((radius - radius_um + 10) / 7) ** 2))
    factor = (np.where(area, 0.6, 1) + 1.0 * rim).astype(np.float32)
    light = _light(section)
    for plane in light:
        soft = np.asarray(cv2.GaussianBlur(plane, (0, 0), 6 / spec.um_per_px), np.float32) * factor
        plane[area | (rim > 0.05)] = _noisy(spec, soft, rng)[area | (rim > 0.05)]
    return _seen(spec, light), np.asarray(area | (rim > 0.05), bool)


def _tear(section: PhantomSection, width_um: float, rng: np.random.Generator) -> tuple[Image, BoolArray]:
    """A gap from the border inwards, widest at the border."""
    spec, tissue = section.spec, _tissue(section)
    y, x = _place(section, 350, rng)
    angle = rng.uniform(0, 2 * np.pi)
    yy, xx = _grid(section)
    along = ((yy - y) * np.sin(angle) + (xx - x) * np.cos(angle)) * spec.um_per_px
    across = ((xx - x) * np.sin(angle) - (yy - y) * np.cos(angle)) * spec.um_per_px
    across = across - 0.15 * width_um * np.sin(along / 90)
    widening = np.clip(along / 250, 0, 1) ** 0.5
    area = (along > 0) & (np.abs(across) < width_um / 2 * widening)
    gap = area & tissue
    light = _light(section)
    for plane in light:
        plane[gap] = _noisy(spec, np.full(int(gap.sum()), spec.glass, np.float32), rng)
    return _seen(spec, light), np.asarray(gap, bool)


def _gap_missing(section: PhantomSection, side_um: float, rng: np.random.Generator) -> tuple[Image, BoolArray]:
    """A field of the mosaic that was never written: zero in every channel."""
    y, x = _place(section, side_um / 2, rng)
    half = side_um / 2 / section.spec.um_per_px
    yy, xx = _grid(section)
    area = (np.abs(yy - y) < half) & (np.abs(xx - x) < half)
    image = section.image.copy()
    image[:, area] = 0
    return image, np.asarray(area, bool)


def _one(section: PhantomSection, rng: np.random.Generator) -> int:
    """Return one stained channel."""
    return int(rng.choice([i for i, m in enumerate(section.spec.markers) if m != "AF"]))


def _whole(image: Image) -> tuple[Image, BoolArray]:
    return image, np.zeros(image.shape[1:], bool)


def _saturated(section: PhantomSection, share: float, rng: np.random.Generator) -> tuple[Image, BoolArray]:
    spec, k, light = section.spec, _one(section, rng), _light(section)
    high = float(np.quantile(light[k][_tissue(section)], 1 - share))
    light[k] *= max((spec.saturation - spec.offset) / max(high, 1), 1)
    return _whole(_seen(spec, light))


def _clipped(section: PhantomSection, share: float, rng: np.random.Generator) -> tuple[Image, BoolArray]:
    k, image = _one(section, rng), section.image.astype(np.int32)
    image[k] -= int(np.quantile(image[k][_tissue(section)], share))
    return _whole(np.clip(image, 0, None).astype(np.uint16))


def _remade(section: PhantomSection, **changes: object) -> Image:
    return make_section(replace(section.spec, **changes), section.seed, False).image  # type: ignore[arg-type]


def _unstained(section: PhantomSection, left: float, rng: np.random.Generator) -> tuple[Image, BoolArray]:
    k = _one(section, rng)
    marker = section.spec.markers[k]
    image = section.image.copy()
    # `signal` is before the gain of the batch
    weak = section.spec.full_signal(marker) / section.spec.gain * left
    image[k] = _remade(section, signal={**section.spec.signal, marker: weak})[k]
    return _whole(image)


def _exposure(section: PhantomSection, factor: float, rng: np.random.Generator) -> tuple[Image, BoolArray]:
    k, light = _one(section, rng), _light(section)
    light[k] *= factor if rng.integers(2) else 1 / factor
    return _whole(_seen(section.spec, light))


def _seam_steps(section: PhantomSection, step: float, rng: np.random.Generator) -> tuple[Image, BoolArray]:
    """Fields of the camera, each with a gain of its own and a vignette; one stage moves for all channels."""
    spec, light = section.spec, _light(section)
    place = [np.arange(n) * spec.um_per_px / spec.camera_field_um + rng.uniform() for n in light.shape[1:]]
    gain = np.exp(step * rng.normal(size=[int(p[-1]) + 1 for p in place]))
    bow = [(p % 1 - 0.5) ** 2 * 4 * step for p in place]
    field = gain[place[0].astype(int)][:, place[1].astype(int)] * (1 + step - bow[0][:, None] - bow[1][None, :])
    return _whole(_seen(spec, light * field.astype(np.float32)))


def _seam_shift(section: PhantomSection, shift_um: float, rng: np.random.Generator) -> tuple[Image, BoolArray]:
    """Strips of the scanner, each laid beside its place."""
    um = section.spec.um_per_px
    strip, shift = round(section.spec.camera_field_um / um), max(1, round(shift_um / um))
    image = section.image.copy()
    first = int(rng.integers(strip))
    for i, y in enumerate(range(first - strip, image.shape[1], strip)):
        rows = slice(max(y, 0), max(y + strip, 0))
        image[:, rows] = np.roll(image[:, rows], shift if i % 2 else 0, axis=2)
    return _whole(image)


def _empty(section: PhantomSection, shading: float, rng: np.random.Generator) -> tuple[Image, BoolArray]:
    """Glass alone, with the vignette of the camera."""
    spec = replace(section.spec, shading=shading)
    glass = np.full(section.image.shape[1:], spec.glass, np.float32)
    return _whole(np.stack([optics.camera(spec, glass, m, int(rng.integers(2**31))) for m in spec.markers]))


FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        "defocus": Fault(_defocus, (2.0, 4.0, 8.0), "sigma (um) of the blur of one side of the section"),
        "defocus_all": Fault(_defocus_all, (2.0, 4.0, 8.0), "sigma (um) of the blur of the whole section"),
        "fold": Fault(_fold, (30.0, 60.0, 120.0), "width (um) of doubled tissue, six times as long"),
        "bubble": Fault(_bubble, (60.0, 120.0, 200.0), "radius (um) of a dim, blurred disc with a bright rim"),
        "tear": Fault(_tear, (25.0, 60.0, 120.0), "width (um) of a gap from the border inwards"),
        "missing": Fault(_gap_missing, (60.0, 150.0, 300.0), "side (um) of a square without data"),
        "saturated": Fault(_saturated, (0.002, 0.01, 0.05), "share of the tissue at the top of one channel's range"),
        "clipped": Fault(_clipped, (0.01, 0.05, 0.25), "share of the tissue at 0 in one channel"),
        "unstained": Fault(_unstained, (0.2, 0.05, 0.0), "share of one stain that is left"),
        "exposure": Fault(_exposure, (1.6, 2.5, 4.0), "factor on one channel's light, up or down"),
        "seam_steps": Fault(_seam_steps, (0.05, 0.15, 0.3), "sd of the gain between camera fields, and depth of their vignette"),
        "seam_shift": Fault(_seam_shift, (5.0, 15.0, 40.0), "shift (um) of every other strip of the scan (not found today)"),
        "empty": Fault(_empty, (0.0, 0.1, 0.3), "glass without tissue; depth of the vignette"),
    }
)
