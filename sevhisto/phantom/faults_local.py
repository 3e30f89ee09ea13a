"""Faults that cover a part of a synthetic section: blur, folds, bubbles, tears, fields without data.

Light is the image without the camera's offset. Where it is smoothed or weakened, the noise of a camera that sees so much is put back.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from sevhisto.phantom import optics
from sevhisto.phantom.section import PhantomSection
from sevhisto.phantom.spec import SectionSpec
from sevhisto.types import BoolArray, FloatArray

Image = npt.NDArray[np.uint16]
Spoilt = tuple[Image, BoolArray]


def light_of(section: PhantomSection) -> FloatArray:
    """Return the light of a section, (channels, h, w) float32."""
    return np.asarray(section.image.astype(np.float32) - np.float32(section.spec.offset), np.float32)


def seen(spec: SectionSpec, light: FloatArray) -> Image:
    """Return grey levels of light that already holds its noise."""
    return np.asarray(np.clip(light + np.float32(spec.offset + 0.5), 0, spec.saturation), np.uint16)


def noisy(spec: SectionSpec, light: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return light without noise as a camera sees it."""
    grey = np.maximum(light, 0)
    return np.asarray(light + optics._noise(spec, grey, rng), np.float32)


def tissue_of(section: PhantomSection) -> BoolArray:
    """Return where tissue is, (h, w) bool."""
    return np.asarray(section.truth.anatomy.tissue > 0, bool)


def _depth(section: PhantomSection) -> FloatArray:
    """Return the distance from glass and cavity, in px."""
    return np.asarray(cv2.distanceTransform(np.pad(tissue_of(section), 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1], np.float32)


def _place(section: PhantomSection, margin_um: float, rng: np.random.Generator) -> tuple[float, float]:
    """Return a point (y, x) at least `margin_um` inside the tissue, or the innermost one."""
    depth = _depth(section)
    inside = np.argwhere(depth >= min(margin_um / section.spec.um_per_px, float(depth.max()) * 0.95))
    y, x = inside[rng.integers(len(inside))]
    return float(y), float(x)


def _at_border(section: PhantomSection, rng: np.random.Generator) -> tuple[float, float, float]:
    """Return a point (y, x) of the outer border, and the angle of the way inwards."""
    outline = section.truth.anatomy.outline
    k = int(rng.integers(len(outline)))
    x, y = outline[k]
    ahead, behind = outline[(k + 12) % len(outline)], outline[k - 12]
    angle = float(np.arctan2(ahead[1] - behind[1], ahead[0] - behind[0])) + np.pi / 2
    towards = outline.mean(0) - outline[k]
    if np.cos(angle) * towards[0] + np.sin(angle) * towards[1] < 0:
        angle += np.pi
    return float(y), float(x), angle


def _frame(section: PhantomSection, y: float, x: float, angle: float) -> tuple[FloatArray, FloatArray]:
    """Return how far (um) each pixel lies along a direction from a point, and across it."""
    h, w = section.image.shape[1:]
    yy, xx = np.mgrid[0:h, 0:w].astype(np.float32)
    um, s, c = section.spec.um_per_px, np.float32(np.sin(angle)), np.float32(np.cos(angle))
    return ((yy - y) * s + (xx - x) * c) * um, ((xx - x) * s - (yy - y) * c) * um


def _moved(plane: FloatArray, along_um: FloatArray, across_um: FloatArray, angle: float, um: float) -> FloatArray:
    """Return a plane as seen at other places: so far away along and across a direction."""
    h, w = plane.shape
    yy, xx = np.mgrid[0:h, 0:w].astype(np.float32)
    s, c = np.sin(angle), np.cos(angle)
    map_x, map_y = xx + (along_um * c + across_um * s) / um, yy + (along_um * s - across_um * c) / um
    near = cv2.remap(plane, map_x.astype(np.float32), map_y.astype(np.float32), cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(near, np.float32)


def defocus(section: PhantomSection, sigma_um: float, rng: np.random.Generator, look: str) -> Spoilt:
    """One side of the section, a patch of it, or more and more from one side to the other (there the spoilt area has half of the blur)."""
    spec = section.spec
    y, x = _place(section, 250, rng)
    along, across = _frame(section, y, x, rng.uniform(0, 2 * np.pi))
    tissue = tissue_of(section)
    if look == "patch":
        reach = np.sqrt(0.16 * tissue.sum() / np.pi) * spec.um_per_px
        sigma = np.where(np.hypot(along, 1.4 * across) < 1.2 * reach, sigma_um, 0)
    elif look == "tilt":
        low, high = np.percentile(along[tissue], (50, 98))
        sigma = 1.3 * sigma_um * np.clip((along - low) / (high - low), 0, 1)
    else:
        share = (tissue & (along > 0)).sum() / max(int(tissue.sum()), 1)
        sigma = np.where((along > 0) == (share <= 0.5), sigma_um, 0)
    return blurred(section, sigma.astype(np.float32), rng), np.asarray(sigma > 0.5 * sigma_um, bool)


def blurred(section: PhantomSection, sigma_um: FloatArray, rng: np.random.Generator) -> Image:
    """Return the image with a blur that may change from place to place: linear between a few levels."""
    spec, light = section.spec, light_of(section)
    levels = np.unique(sigma_um) if len(np.unique(sigma_um)) <= 2 else np.linspace(0, float(sigma_um.max()), 7)
    for plane in light:
        out, sharp = np.zeros_like(plane), plane.copy()
        for k, level in enumerate(levels):
            soft = sharp if level == 0 else noisy(spec, cv2.GaussianBlur(sharp, (0, 0), level / spec.um_per_px), rng)
            step = levels[1] - levels[0] if len(levels) > 1 else 1.0
            weight = np.clip(1 - np.abs(sigma_um - levels[k]) / step, 0, 1) if len(levels) > 1 else np.ones_like(plane)
            out += weight * soft
        plane[:] = np.where(sigma_um > 0, out, sharp)
    return seen(spec, light)


def fold(section: PhantomSection, width_um: float, rng: np.random.Generator, look: str) -> Spoilt:
    """A strip that lies double or, in a pleat, three times; or the border laid over, leaving glass. Upper layers are a little blurred."""
    if look == "border":
        return _laid_over(section, width_um, rng)
    spec = section.spec
    y, x = _place(section, 200, rng)
    angle, length = rng.uniform(0, np.pi), rng.uniform(5, 8) * width_um
    along, across = _frame(section, y, x, angle)
    across = across - 0.1 * width_um * np.sin(along / length * 2 * np.pi)  # folds are not quite straight
    taper = np.sqrt(np.clip(1 - (2 * along / length) ** 2, 0, 1))
    area = (np.abs(across) < width_um / 2 * taper) & tissue_of(section)
    moves = [width_um - 2 * across] + [np.full_like(across, width_um)] * (look == "pleat")  # mirrored at the edge, and the layer above
    light, nowhere = light_of(section), np.zeros_like(across)
    for plane in light:
        soft = np.asarray(cv2.GaussianBlur(plane, (0, 0), 1.5 / spec.um_per_px), np.float32)
        for move in moves:
            plane[area] += (_moved(soft, nowhere, move, angle, spec.um_per_px) - np.float32(spec.glass))[area]
    return seen(spec, light), area


def _laid_over(section: PhantomSection, width_um: float, rng: np.random.Generator) -> Spoilt:
    spec, tissue, light = section.spec, tissue_of(section), light_of(section)
    y, x, angle = _at_border(section, rng)
    along, _ = _frame(section, y, x, angle)
    depth = along - width_um  # from the bend; what lies beyond it is laid over
    cap = (depth < 0) & tissue
    _, pieces = cv2.connectedComponents(cap.astype(np.uint8))
    ny, nx = np.argwhere(cap)[np.argmin(((np.argwhere(cap) - (y, x)) ** 2).sum(1))]
    cap &= pieces == pieces[ny, nx]
    covered = _moved(cap.astype(np.float32), -2 * depth, np.zeros_like(depth), angle, spec.um_per_px) > 0
    covered &= (depth >= 0) & (depth <= 1.5 * width_um)  # what the border of the image reflects is no tissue
    for plane in light:
        soft = np.asarray(cv2.GaussianBlur(plane, (0, 0), 1.5 / spec.um_per_px), np.float32)
        above = _moved(soft, -2 * depth, np.zeros_like(depth), angle, spec.um_per_px) - np.float32(spec.glass)
        plane[covered] += above[covered]
        plane[cap] = noisy(spec, np.full(int(cap.sum()), spec.glass, np.float32), rng)
    return seen(spec, light), np.asarray((covered & tissue) | cap, bool)


_BUBBLES = {  # light inside, blur inside (um), then rims: (place inside the edge, um; width, um; light added)
    "bright_rim": (0.6, 6.0, ((10.0, 7.0, 1.0),)),
    "dark_rim": (0.9, 3.0, ((8.0, 9.0, -0.6),)),
    "two_rims": (1.0, 4.0, ((6.0, 7.0, -0.55), (22.0, 7.0, 0.5))),
    "dark": (0.35, 6.0, ()),
    "edge": (0.7, 5.0, ((8.0, 8.0, -0.4), (22.0, 6.0, 0.4))),
}


def bubble(section: PhantomSection, radius_um: float, rng: np.random.Generator, look: str) -> Spoilt:
    """A disc of air: blurred inside, at its rim light is gathered or lost. An edge one reaches over the border of the tissue."""
    spec = section.spec
    inside, blur_um, rims = _BUBBLES[look]
    if look == "edge":
        y, x, angle = _at_border(section, rng)
        y, x = (v + 0.35 * radius_um / spec.um_per_px * f(angle) for v, f in ((y, np.sin), (x, np.cos)))
    else:
        y, x = _place(section, radius_um + 40, rng)
    along, across = _frame(section, y, x, rng.uniform(0, np.pi))
    radius = np.hypot(along, across * rng.uniform(0.88, 1.0))
    factor = 1 + (inside - 1) * (0.5 - 0.5 * np.tanh((radius - radius_um) / 6))
    for place, width, more in rims:
        factor = factor + more * np.exp(-(((radius - radius_um + place) / width) ** 2))
    area = (radius < radius_um) | (np.abs(factor - 1) > 0.05)
    light = light_of(section)
    for plane in light:
        soft = np.asarray(cv2.GaussianBlur(plane, (0, 0), blur_um / spec.um_per_px), np.float32) * factor.astype(np.float32)
        plane[area] = noisy(spec, soft, rng)[area]
    return seen(spec, light), np.asarray(area, bool)


def tear(section: PhantomSection, width_um: float, rng: np.random.Generator, look: str) -> Spoilt:
    """A gap from the border inwards, widest at the border; or a crack inside, at least six times as long as wide."""
    spec, tissue = section.spec, tissue_of(section)
    if look == "inside":
        length = rng.uniform(6.5, 8) * width_um
        y, x = _place(section, min(0.5 * length, 330) + 40, rng)
        along, across = _frame(section, y, x, rng.uniform(0, np.pi))
        widening = np.sqrt(np.clip(1 - (2 * along / length) ** 2, 0, 1))
    else:
        y, x = _place(section, 350, rng)
        along, across = _frame(section, y, x, rng.uniform(0, 2 * np.pi))
        widening = np.sqrt(np.clip(along / 250, 0, 1))
    bent = across - 0.15 * width_um * np.sin(along / 90)
    gap = np.asarray((np.abs(bent) < width_um / 2 * widening) & tissue, bool)
    light = light_of(section)
    for plane in light:
        plane[gap] = noisy(spec, np.full(int(gap.sum()), spec.glass, np.float32), rng)
    return seen(spec, light), gap


def missing(section: PhantomSection, side_um: float, rng: np.random.Generator, look: str) -> Spoilt:
    """A field, or a strip of the mosaic, that was never written: zero in every channel, or in one, or filled with one value."""
    y, x = _place(section, side_um / 2, rng)
    half = side_um / 2 / section.spec.um_per_px
    h, w = section.image.shape[1:]
    yy, xx = np.mgrid[0:h, 0:w]
    area = np.abs(yy - y) < half / 2 if look == "strip" else (np.abs(yy - y) < half) & (np.abs(xx - x) < half)
    image = section.image.copy()
    rows = [int(rng.integers(len(image)))] if look == "one_channel" else list(range(len(image)))
    for k in rows:
        image[k][area] = round(section.spec.offset) if look == "filled" else 0
    return image, np.asarray(area, bool)
