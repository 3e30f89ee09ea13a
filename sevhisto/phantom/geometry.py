"""Outlines of cord, core and cavity as polygons, the canvas they lie on, and coarse maps of what is where."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sevhisto.phantom.spec import SectionSpec, stream
from sevhisto.types import DoubleArray, FloatArray

Mask = npt.NDArray[np.uint8]
MAP_UM = 8.0  # grid of the coarse maps


@dataclass(frozen=True)
class Frame:
    """The canvas: height and width in px, and where the cord's centre and axes lie on it (pixel centres at whole numbers)."""

    shape: tuple[int, int]
    um_per_px: float
    rotation: float
    centre: tuple[float, float]

    def to_px(self, points_um: DoubleArray) -> DoubleArray:
        """Return (N, 2) x, y in px of points in the cord's own um."""
        c, s = math.cos(self.rotation), math.sin(self.rotation)
        turned = points_um @ np.array([[c, s], [-s, c]])
        return np.asarray(turned / self.um_per_px + np.array(self.centre), dtype=np.float64)


@dataclass
class Anatomy:
    """Polygons in px (x, y), full-resolution masks (0 or 255) and coarse maps (one value per MAP_UM square).

    Attributes
    ----------
    tissue : outline without cavities; core : core without cavities
    distance : signed um from the core's border, inf without a core; grey : 0..1, grey matter
    depth : um from the pia inwards
    """

    frame: Frame
    outline: DoubleArray
    core_outline: DoubleArray | None
    cavities: list[DoubleArray]
    tissue: Mask
    core: Mask
    map_px: float
    map_tissue: FloatArray
    distance: FloatArray
    grey: FloatArray
    depth: FloatArray

    def sample(self, rng: np.random.Generator, weight: FloatArray, n: int) -> DoubleArray:
        """Return (n, 2) x, y px drawn by a coarse weight map; points off the tissue are drawn again, a few may be missing at the end."""
        cumulative = np.cumsum(weight.ravel(), dtype=np.float64)
        if n <= 0 or not cumulative.size or cumulative[-1] <= 0:
            return np.zeros((0, 2))
        kept: list[DoubleArray] = []
        missing = n
        for _ in range(6):
            cell = np.searchsorted(cumulative, rng.random(missing) * cumulative[-1], side="right")
            y, x = np.divmod(cell, weight.shape[1])
            points = (np.stack([x, y], 1) + rng.random((missing, 2))) * self.map_px - 0.5
            kept.append(points[inside(self.tissue, points)])
            missing = n - sum(map(len, kept))
            if missing <= 0:
                break
        return np.concatenate(kept)

    def at(self, values: FloatArray, points: DoubleArray) -> FloatArray:
        """Return a coarse map's values at px points."""
        cell = ((points + 0.5) / self.map_px).astype(np.int64)
        x, y = np.clip(cell[:, 0], 0, values.shape[1] - 1), np.clip(cell[:, 1], 0, values.shape[0] - 1)
        return values[y, x]


def inside(mask: Mask, points: DoubleArray) -> npt.NDArray[np.bool_]:
    """Return which px points fall on the mask."""
    p = np.rint(points).astype(np.int64)
    ok = (p[:, 0] >= 0) & (p[:, 1] >= 0) & (p[:, 0] < mask.shape[1]) & (p[:, 1] < mask.shape[0])
    ok[ok] = mask[p[ok, 1], p[ok, 0]] > 0
    return np.asarray(ok, dtype=np.bool_)


def fill_polygon(mask: Mask, polygon: DoubleArray, value: int = 255) -> None:
    """Set the pixels whose centre lies inside the polygon (x, y px); cv2's own filling adds the pixels of the border line."""
    a, b = polygon, np.roll(polygon, -1, axis=0)
    first = max(0, math.ceil(float(a[:, 1].min())))
    last = min(mask.shape[0] - 1, math.floor(float(a[:, 1].max())))
    for y in range(first, last + 1):
        crossed = (a[:, 1] <= y) != (b[:, 1] <= y)
        p, q = a[crossed], b[crossed]
        xs = np.sort(p[:, 0] + (y - p[:, 1]) * (q[:, 0] - p[:, 0]) / (q[:, 1] - p[:, 1]))
        for x0, x1 in zip(xs[::2], xs[1::2], strict=True):
            mask[y, max(0, math.ceil(x0)) : max(0, math.ceil(x1))] = value


def area(polygon: DoubleArray) -> float:
    """Return the area of a simple polygon, in its own unit squared."""
    x, y = polygon[:, 0], polygon[:, 1]
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def harmonics(rng: np.random.Generator, theta: DoubleArray, first: int, last: int, rms: float) -> DoubleArray:
    """Return a smooth periodic random curve over the angle."""
    orders = np.arange(first, last + 1)
    amplitude = rng.normal(size=len(orders)) / orders
    wave = (amplitude[:, None] * np.cos(orders[:, None] * theta + rng.uniform(0, 2 * np.pi, len(orders))[:, None])).sum(0)
    return np.asarray(rms * wave / max(float(np.sqrt((amplitude**2).sum() / 2)), 1e-9))


def cord_outline(spec: SectionSpec, rng: np.random.Generator) -> DoubleArray:
    """Return the cord's outline (um, x right, y ventral): an uneven oval with the ventral fissure, or a band with cut ends."""
    a, b = (s / 2 for s in spec.size_um)
    theta = np.linspace(0, 2 * np.pi, 900, endpoint=False)
    power = 2.25 if spec.orientation == "transverse" else 9.0
    r = (np.abs(np.cos(theta) / a) ** power + np.abs(np.sin(theta) / b) ** power) ** (-1 / power)
    r *= 1 + harmonics(rng, theta, 2, 9, 0.012) + harmonics(rng, theta, 14, 40, 0.003)
    if spec.orientation == "transverse":
        shift = rng.normal(0, 0.015)
        r *= 1 - 0.20 * np.exp(-(((theta - np.pi / 2 - shift) / 0.045) ** 2)) - 0.03 * np.exp(-(((theta - 1.5 * np.pi) / 0.06) ** 2))
    return np.stack([r * np.cos(theta), r * np.sin(theta)], 1)


def _room(centre: DoubleArray, theta: DoubleArray, outline: DoubleArray) -> DoubleArray:
    """Return how far the outline is from the centre in each direction."""
    a = outline - centre
    d = np.roll(a, -1, axis=0) - a
    ray = np.stack([np.cos(theta), np.sin(theta)], 1)
    cross = ray[:, :1] * d[:, 1] - ray[:, 1:] * d[:, 0]
    cross = np.where(np.abs(cross) < 1e-12, 1e-12, cross)
    t = (a[:, 0] * d[:, 1] - a[:, 1] * d[:, 0]) / cross
    s = (a[:, 0] * ray[:, 1:] - a[:, 1] * ray[:, :1]) / cross
    return np.asarray(np.where((t > 0) & (s >= 0) & (s <= 1), t, np.inf).min(axis=1))


def _scaled_to(target: float, low: float, high: float, value_at: Callable[[float], float]) -> float:
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if value_at(middle) < target else (low, middle)
    return high


def core_and_cavities(spec: SectionSpec, outline: DoubleArray, rng: np.random.Generator) -> tuple[DoubleArray | None, list[DoubleArray]]:
    """Return the core's outline, drawn to the area of the spec, and its cavities, drawn to their share of it (um)."""
    if not spec.injured:
        return None, []
    a, b = (s / 2 for s in spec.size_um)
    centre = np.array([spec.lesion_position[0] * a, spec.lesion_position[1] * b]) + rng.normal(0, 0.015 * b, 2)
    theta = np.linspace(0, 2 * np.pi, 480, endpoint=False)
    ray = np.stack([np.cos(theta), np.sin(theta)], 1)
    aspect = 1.2 if spec.orientation == "transverse" else 1.7
    shape = 1 / np.hypot(np.cos(theta) / aspect, np.sin(theta))
    shape *= np.clip(1 + harmonics(rng, theta, 2, 6, 0.10) + harmonics(rng, theta, 7, 18, 0.035), 0.45, None)
    limit = np.maximum(_room(centre, theta, outline) - 0.024 * min(a, b) * 2, 1.0)

    def radius(size: float) -> DoubleArray:
        return np.minimum(size * shape, limit)

    def star_area(r: DoubleArray) -> float:
        return area(ray * r[:, None])

    r = radius(_scaled_to(spec.core_um2, 0.0, 4 * a, lambda size: star_area(radius(size))))
    core = centre + ray * r[:, None]
    if spec.cavity_fraction == 0:
        return core, []
    target = spec.cavity_fraction * area(core)
    hollow = np.clip(1 + harmonics(rng, theta, 1, 4, 0.22) + harmonics(rng, theta, 5, 14, 0.07), 0.3, 2.0)
    small = _satellite(rng, centre, theta, r, target)
    rest = target - sum(area(s) for s in small)
    inner = np.minimum(hollow * _scaled_to(rest, 0.0, 2.0, lambda s: star_area(r * np.minimum(hollow * s, 0.88))), 0.88)
    main = centre + ray * (r * inner)[:, None]
    clear = [s for s in small if not _overlap(main, s)]
    return core, [main, *clear]


def _satellite(rng: np.random.Generator, centre: DoubleArray, theta: DoubleArray, r: DoubleArray, target: float) -> list[DoubleArray]:
    """Return a small cavity near the core's border, a sixth of the cavity area."""
    size = math.sqrt(target / 6 / math.pi)
    k = int(rng.integers(len(theta)))
    away = r[k] - size * 1.9
    if away < size * 3.2 + math.sqrt(target / math.pi) * 0.6:
        return []
    place = centre + away * np.array([math.cos(theta[k]), math.sin(theta[k])])
    wave = size * np.clip(1 + harmonics(rng, theta, 2, 5, 0.12), 0.5, 1.4)
    blob = place + np.stack([np.cos(theta), np.sin(theta)], 1) * wave[:, None]
    gap = float(np.min(np.linalg.norm(centre + np.stack([np.cos(theta), np.sin(theta)], 1) * r[:, None] - place, axis=1)))
    return [blob] if gap > 1.5 * size else []


def _overlap(a: DoubleArray, b: DoubleArray) -> bool:
    contour = np.ascontiguousarray(a, dtype=np.float32).reshape(-1, 1, 2)
    return any(cv2.pointPolygonTest(contour, (float(x), float(y)), True) > -8 for x, y in b[::4])


def _grey_matter(spec: SectionSpec, shape: tuple[int, int], to_map: Callable[[DoubleArray], DoubleArray]) -> FloatArray:
    """Return 0..1: the butterfly of a transverse section, or bands of a longitudinal one."""
    a, b = (s / 2 for s in spec.size_um)
    out = np.zeros(shape, np.float32)

    def stroke(points: Sequence[tuple[float, float]], width: float) -> None:
        line = np.rint(to_map(np.array([(x * a, y * b) for x, y in points])) * 16).astype(np.int32)
        cv2.polylines(out, [line], False, 1.0, max(1, round(width * b / MAP_UM)), cv2.LINE_8, 4)

    if spec.orientation == "transverse":
        for side in (-1, 1):
            stroke([(side * 0.16, 0.02), (side * 0.25, -0.20), (side * 0.37, -0.45), (side * 0.46, -0.66)], 0.20)
            stroke([(side * 0.16, 0.02), (side * 0.28, 0.20), (side * 0.34, 0.40)], 0.30)
            stroke([(side * 0.33, 0.34), (side * 0.37, 0.46)], 0.36)
        stroke([(-0.2, 0.03), (0.2, 0.03)], 0.16)
    else:
        for y in (0.0,) if spec.orientation == "sagittal" else (-0.33, 0.33):
            stroke([(-1.2, y), (1.2, y)], 0.5 if spec.orientation == "sagittal" else 0.36)
    return np.asarray(np.clip((cv2.GaussianBlur(out, (0, 0), 2.0) - 0.3) / 0.4, 0, 1), dtype=np.float32)


def build_anatomy(spec: SectionSpec, seed: int) -> Anatomy:
    """Return outlines, masks and coarse maps of a section, already turned by the spec's rotation."""
    rng = stream(seed, "anatomy")
    outline = cord_outline(spec, rng)
    core, cavities = core_and_cavities(spec, outline, rng)
    frame = _frame(spec, outline)
    to_px = frame.to_px
    outline_px = to_px(outline)
    core_px = None if core is None else to_px(core)
    cavities_px = [to_px(c) for c in cavities]
    tissue, core_mask = np.zeros(frame.shape, np.uint8), np.zeros(frame.shape, np.uint8)
    fill_polygon(tissue, outline_px)
    if core_px is not None:
        fill_polygon(core_mask, core_px)
    for hole in cavities_px:
        fill_polygon(tissue, hole, 0)
        fill_polygon(core_mask, hole, 0)
    scale = MAP_UM / spec.um_per_px
    shape = (math.ceil(frame.shape[0] / scale), math.ceil(frame.shape[1] / scale))

    def coarse(polygon: DoubleArray) -> Mask:
        mask = np.zeros(shape, np.uint8)
        fill_polygon(mask, (polygon + 0.5) / scale - 0.5)
        return mask

    whole = coarse(outline_px)
    solid = whole.copy()
    for hole in cavities_px:
        solid[coarse(hole) > 0] = 0
    distance = np.full(shape, np.inf, np.float32)
    if core_px is not None:
        flag = coarse(core_px)
        distance = (cv2.distanceTransform(255 - flag, cv2.DIST_L2, 5) - cv2.distanceTransform(flag, cv2.DIST_L2, 5)) * np.float32(MAP_UM)
    grey = _grey_matter(spec, shape, lambda p: (to_px(p) + 0.5) / scale - 0.5)
    depth = cv2.distanceTransform(whole, cv2.DIST_L2, 5) * np.float32(MAP_UM)
    return Anatomy(frame, outline_px, core_px, cavities_px, tissue, core_mask, scale, (solid > 0).astype(np.float32), distance, grey, depth)


def _frame(spec: SectionSpec, outline: DoubleArray) -> Frame:
    turn = math.radians(spec.rotation_deg)
    bare = Frame((0, 0), spec.um_per_px, turn, (0.0, 0.0)).to_px(outline)
    margin = spec.margin_um / spec.um_per_px
    low, high = bare.min(0) - margin, bare.max(0) + margin
    return Frame((math.ceil(high[1] - low[1]), math.ceil(high[0] - low[0])), spec.um_per_px, turn, (float(-low[0]), float(-low[1])))
