"""What is on a section, painted before any optics: one layer of brightness (0..255) per marker, and lists of nuclei and cells."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import cKDTree

from sevhisto.phantom.geometry import Anatomy, Mask, inside
from sevhisto.phantom.spec import MARKERS, SectionSpec, stream
from sevhisto.types import BoolArray, DoubleArray, FloatArray

FULL = 200  # paint of full brightness
SHIFT = 4  # cv2 draws with 4 bits behind the point


@dataclass
class Cells:
    """Macrophages: centre (x, y px), radius (um), whether CD68+, CD206+, and whether the nucleus is in the section."""

    xy: DoubleArray
    radius_um: DoubleArray
    cd68: BoolArray
    cd206: BoolArray
    nucleated: BoolArray

    def __len__(self) -> int:
        return len(self.xy)


@dataclass
class Nuclei:
    """Nuclei: centre (x, y px), radius of a circle of equal area (um), and which lie in the core."""

    xy: DoubleArray
    radius_um: DoubleArray
    in_core: BoolArray

    def __len__(self) -> int:
        return len(self.xy)


def fixed(points: DoubleArray) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    """Return px as cv2 fixed-point whole numbers."""
    return np.rint(points * (1 << SHIFT)).astype(np.int32)


def lines(paint: Mask, paths: DoubleArray, widths: DoubleArray, levels: DoubleArray) -> None:
    """Draw (n, points, 2) paths; width in px and brightness by path, in few calls."""
    width = np.maximum(1, np.rint(widths)).astype(np.int64)
    level = np.clip(np.rint(levels / 16) * 16, 16, 255).astype(np.int64)
    points = fixed(paths)
    for key in np.unique(level * 1000 + width):
        chosen = points[(level * 1000 + width) == key]
        cv2.polylines(paint, list(chosen), False, int(key // 1000), int(key % 1000), cv2.LINE_8, SHIFT)


def blobs(rng: np.random.Generator, xy: DoubleArray, radius_px: DoubleArray, rough: float, vertices: int = 14) -> DoubleArray:
    """Return (n, vertices, 2) uneven outlines of cells."""
    theta = np.linspace(0, 2 * np.pi, vertices, endpoint=False)
    turn = rng.uniform(0, np.pi, len(xy))
    stretch = rng.uniform(1.0, 1.45, len(xy))
    r = radius_px[:, None] * (1 + rough * rng.normal(size=(len(xy), vertices)).clip(-2, 2))
    u, v = r * np.cos(theta) * np.sqrt(stretch)[:, None], r * np.sin(theta) / np.sqrt(stretch)[:, None]
    c, s = np.cos(turn)[:, None], np.sin(turn)[:, None]
    return np.stack([c * u - s * v, s * u + c * v], -1) + xy[:, None, :]


class Painter:
    """Paints one section; every component draws from random numbers of its own."""

    def __init__(self, spec: SectionSpec, anatomy: Anatomy, seed: int) -> None:
        self.spec, self.anatomy, self.seed = spec, anatomy, seed
        self.px = 1 / spec.um_per_px
        self.turn = anatomy.frame.rotation
        self.map_mm2 = (anatomy.map_px * spec.um_per_px / 1000) ** 2
        core = anatomy.core_outline
        if core is None:
            self.roi = (slice(0, 0), slice(0, 0))
        else:
            x0, y0 = np.maximum(np.floor(core.min(0)).astype(int), 0)
            x1, y1 = np.ceil(core.max(0)).astype(int) + 1
            self.roi = (slice(int(y0), int(y1)), slice(int(x0), int(x1)))
        self.core_px = cv2.countNonZero(anatomy.core[self.roi]) if core is not None else 0

    def rng(self, name: str) -> np.random.Generator:
        """Return the random numbers of a component."""
        return stream(self.seed, name)

    def blank(self) -> Mask:
        """Return an empty layer."""
        return np.zeros(self.anatomy.frame.shape, np.uint8)

    def clip(self, paint: Mask) -> Mask:
        """Keep what lies on tissue."""
        return np.asarray(cv2.bitwise_and(paint, self.anatomy.tissue, dst=paint), dtype=np.uint8)

    def count(self, weight_per_mm2: FloatArray) -> int:
        """Return how many objects a map of densities (per mm2) asks for."""
        return round(float((weight_per_mm2 * self.anatomy.map_tissue).sum(dtype=np.float64)) * self.map_mm2)

    def covered(self, paint: Mask) -> int:
        """Return the painted pixels of the core."""
        if not self.core_px:
            return 0
        return int(cv2.countNonZero(cv2.bitwise_and(paint[self.roi], self.anatomy.core[self.roi])))

    def grow(self, paint: Mask, target_px: float, mean_px: float, add: Callable[[int, float], None]) -> None:
        """Call ``add(n, share of the usual size)`` until the paint covers `target_px` of the core."""
        for _ in range(2000):
            deficit = target_px - self.covered(paint)
            if deficit < max(0.5, 0.001 * target_px):
                return
            add(max(1, int(0.3 * deficit / mean_px)), min(1.0, 0.3 * deficit / mean_px))
        raise RuntimeError("the phantom's coverage target was not reached")

    # ---------------------------------------------------------------- fibres, vessels, pia

    def walk(self, rng: np.random.Generator, start: DoubleArray, angle: DoubleArray, length_px: DoubleArray, bend: float) -> DoubleArray:
        """Return (n, 12, 2) curved paths through the start points, as their middle."""
        steps = 11
        bends = np.cumsum(rng.normal(0, bend, (len(start), steps)), axis=1)
        headings = angle[:, None] + bends - bends.mean(axis=1, keepdims=True)
        move = np.stack([np.cos(headings), np.sin(headings)], -1) * (length_px / steps)[:, None, None]
        path = np.concatenate([np.zeros((len(start), 1, 2)), np.cumsum(move, axis=1)], axis=1)
        return np.asarray(path - path.mean(axis=1, keepdims=True) + start[:, None, :])

    def fibres(self, marker: str, paint: Mask) -> None:
        """Add curved fibres of a set orientation until their coverage of the core is reached."""
        spec, model, rng = self.spec, MARKERS[marker], self.rng("fibres " + marker)
        if not self.core_px or spec.coverage_of(marker) == 0:
            return
        width_um = model.fibre_width_um
        weight = np.where(self.anatomy.distance < 0, 1.0, 0.0).astype(np.float32)
        weight *= 0.25 + patches(rng, weight.shape, 5)
        length_um = 70.0

        def add(n: int, share: float) -> None:
            start = self.anatomy.sample(rng, weight, n)
            k = len(start)
            kappa = spec.fibre_concentration
            angle = self.turn + math.radians(spec.fibre_deg) + rng.vonmises(0, kappa, k) / 2
            length = length_um * share * rng.uniform(0.5, 1.5, k) * self.px
            width = width_um * self.px * (rng.uniform(0.6, 1.4, k) if share == 1 else np.full(k, 0.5))
            lines(paint, self.walk(rng, start, angle, length, 0.16), width, FULL * rng.uniform(0.55, 1.15, k))

        self.grow(paint, spec.coverage_of(marker) * self.core_px, length_um * width_um * self.px**2, add)
        self.clip(paint)

    def vessels(self, paints: dict[str, tuple[Mask, float, float]]) -> DoubleArray:
        """Draw vessels (rings and tubes) and the pia on every given layer (paint, brightness, width um); return vessel walls, px."""
        rng, anatomy = self.rng("vessels"), self.anatomy
        weight = np.where(anatomy.distance > 25, 22 + 26 * anatomy.grey, 0).astype(np.float32) * anatomy.map_tissue
        xy = anatomy.sample(rng, weight, self.count(weight))
        n = len(xy)
        radius = rng.lognormal(math.log(6), 0.35, n).clip(4, 16) * self.px
        tube = rng.random(n) < 0.35
        theta = np.linspace(0, 2 * np.pi, 12)
        ring = xy[:, None] + np.stack([np.cos(theta), np.sin(theta)], -1) * (radius[:, None] * rng.uniform(0.85, 1.15, (n, 12)))[..., None]
        ring[:, -1] = ring[:, 0]
        path = self.walk(rng, xy, rng.uniform(0, np.pi, n), rng.uniform(30, 90, n) * self.px, 0.12)
        level = rng.uniform(0.6, 1.2, n)
        outline = anatomy.outline
        arcs = np.stack([outline, np.roll(outline, -1, axis=0)], 1)
        arc_level = np.clip(0.3 + 0.9 * patches(rng, (len(arcs), 2), 9)[:, 0] + rng.normal(0, 0.05, len(arcs)), 0, 1.2)
        for paint, brightness, width in paints.values():
            lines(paint, ring[~tube], np.full(int((~tube).sum()), 2.4 * self.px), FULL * brightness * level[~tube])
            lines(paint, path[tube], radius[tube] * 0.9, FULL * brightness * level[tube])
            shown = arc_level > 0.5
            lines(paint, arcs[shown], np.full(int(shown.sum()), 2 * width * self.px), FULL * brightness * arc_level[shown])
            self.clip(paint)
        return np.concatenate([ring[~tube][:, :-1].reshape(-1, 2), path[tube].reshape(-1, 2)])

    # ---------------------------------------------------------------- nuclei

    def nuclei(self, paint: Mask, cells: Cells, walls: DoubleArray) -> Nuclei:
        """Paint nuclei: those of macrophages and vessel walls first, then glia and neurons; some touch, none hides another."""
        rng, anatomy = self.rng("nuclei"), self.anatomy
        d = anatomy.distance
        border = np.exp(-np.clip(d, 0, None) / 110)
        density = np.where(d < 0, 3300, 1150 + 350 * anatomy.grey + 900 * border) * self.spec.nuclei_density
        weight: FloatArray = (density * anatomy.map_tissue).astype(np.float32)
        xy = anatomy.sample(rng, weight, self.count(weight))
        diameter = rng.normal(6.6, 0.7, len(xy)).clip(5, 8.5)
        neuron = (anatomy.at(anatomy.grey, xy) > 0.6) & (rng.random(len(xy)) < 0.16) & (anatomy.at(d, xy) > 0)
        diameter[neuron] = rng.uniform(8.8, 10, int(neuron.sum()))
        walls = walls[rng.random(len(walls)) < 0.12]
        first = cells.xy[cells.nucleated]
        near = xy[rng.random(len(xy)) < 0.12]  # a partner that touches
        r_near = rng.uniform(2.7, 3.8, len(near))
        phi = rng.uniform(0, 2 * np.pi, len(near))
        partner = near + np.stack([np.cos(phi), np.sin(phi)], 1) * ((r_near + 3.2) * self.px)[:, None]
        centres = np.concatenate([first, walls, xy, partner])
        radii = np.concatenate([rng.uniform(3.4, 4.2, len(first)), rng.uniform(2.6, 3.2, len(walls)), diameter / 2, r_near])
        keep = spaced(centres, radii * self.px, 0.93) & inside(anatomy.tissue, centres)
        cells.nucleated[np.flatnonzero(cells.nucleated)] = keep[: len(first)]
        centres, radii = centres[keep], radii[keep]
        level = FULL * rng.uniform(0.45, 1.15, len(centres))
        shapes = blobs(rng, centres, radii * self.px, 0.03, 12)
        for points, value in zip(fixed(shapes), level.astype(int), strict=True):
            cv2.fillConvexPoly(paint, points, int(value), cv2.LINE_8, SHIFT)
        self.clip(paint)
        return Nuclei(centres, radii, inside(anatomy.core, centres))


def spaced(xy: DoubleArray, radius: DoubleArray, closeness: float) -> BoolArray:
    """Return which discs to keep so that no two are nearer than `closeness` times the sum of their radii; the earlier one stays."""
    keep = np.ones(len(xy), dtype=bool)
    if len(xy) < 2:
        return keep
    pairs = cKDTree(xy).query_pairs(2 * float(radius.max()), output_type="ndarray")
    gap = np.linalg.norm(xy[pairs[:, 0]] - xy[pairs[:, 1]], axis=1)
    close = pairs[gap < closeness * (radius[pairs[:, 0]] + radius[pairs[:, 1]])]
    for early, late in close[np.lexsort((close[:, 1], close[:, 0]))]:
        if keep[early]:
            keep[late] = False
    return keep


def patches(rng: np.random.Generator, shape: tuple[int, int], cell: int) -> FloatArray:
    """Return smooth random patches, mean 0.5, about 0..1."""
    h, w = (max(2, math.ceil(s / cell) + 1) for s in shape)
    coarse = rng.random((h, w), dtype=np.float32)
    return np.asarray(cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC).clip(0, 1), dtype=np.float32)
