"""Macrophages, glia and vesicles: CD68+ cells that clump and foam, CD206+ ones, astrocytes, sEV puncta."""

from __future__ import annotations

import math

import cv2
import numpy as np

from sevhisto.phantom.geometry import Mask, inside
from sevhisto.phantom.structure import FULL, SHIFT, Cells, Painter, blobs, fixed, lines
from sevhisto.types import DoubleArray, FloatArray

CELL_UM = 7.5  # typical radius of a macrophage


def _foamy(painter: Painter, rng: np.random.Generator, paint: Mask, glow: Mask, xy: DoubleArray, radius_um: DoubleArray) -> None:
    """Paint cells with vacuoles, and the autofluorescence that sits on them."""
    px = painter.px
    shapes = fixed(blobs(rng, xy, radius_um * px, 0.14))
    level = (FULL * rng.uniform(0.5, 1.2, len(xy))).astype(int)
    shine = (FULL * rng.uniform(0.35, 1.2, len(xy))).astype(int)
    holes = np.where(radius_um > 4, rng.integers(0, 4, len(xy)), 0)
    phi, far, size = rng.uniform(0, 2 * np.pi, (len(xy), 3)), rng.uniform(0.2, 0.65, (len(xy), 3)), rng.uniform(1.0, 2.2, (len(xy), 3))
    for i, shape in enumerate(shapes):
        cv2.fillPoly(paint, [shape], int(level[i]), cv2.LINE_8, SHIFT)
        cv2.fillPoly(glow, [shape], int(shine[i]), cv2.LINE_8, SHIFT)
        for k in range(holes[i]):
            away = far[i, k] * radius_um[i] * px
            centre = fixed(np.array([xy[i, 0] + away * math.cos(phi[i, k]), xy[i, 1] + away * math.sin(phi[i, k])]))
            cv2.circle(paint, (int(centre[0]), int(centre[1])), int(size[i, k] * px * 16), 0, -1, cv2.LINE_8, SHIFT)


def macrophages(painter: Painter, cd68: Mask, glow: Mask) -> Cells:
    """Paint CD68+ cells: clumps that reach the core's target, a thinning halo outside, a few microglia far off."""
    rng, anatomy, spec = painter.rng("macrophages"), painter.anatomy, painter.spec
    d = anatomy.distance
    found: list[DoubleArray] = []
    sizes: list[DoubleArray] = []

    def put(xy: DoubleArray, radius: DoubleArray) -> None:
        _foamy(painter, rng, cd68, glow, xy, radius)
        found.append(xy)
        sizes.append(radius)

    halo = (np.where(d < 0, 0, 6 + 420 * np.exp(-np.clip(d, 0, None) / 90)) * anatomy.map_tissue).astype(np.float32)
    xy = anatomy.sample(rng, halo, painter.count(halo))
    put(xy, rng.uniform(4.5, 7.5, len(xy)))
    if painter.core_px and spec.coverage_of("CD68"):
        weight = (np.where(d < 0, 1.0, 0.0) * anatomy.map_tissue).astype(np.float32)
        # the denser the cells shall lie, the less they can clump
        clumped = 0.85 if spec.coverage_of("CD68") <= 0.45 else 0.0
        clumps = anatomy.sample(rng, weight, 1 + painter.count(weight * 160))

        def add(n: int, share: float) -> None:
            size = rng.uniform(0.75, 1.3, n) * CELL_UM * math.sqrt(share)
            middle = clumps[rng.integers(len(clumps), size=n)] if rng.random() < clumped else anatomy.sample(rng, weight, n)
            centre = middle + rng.normal(0, 20 * painter.px, (len(middle), 2))
            ok = inside(anatomy.tissue, centre)
            put(centre[ok], size[: len(centre)][ok])

        painter.grow(cd68, spec.coverage_of("CD68") * painter.core_px, math.pi * (CELL_UM * painter.px) ** 2, add)
    painter.clip(cd68)
    painter.clip(glow)
    xy, radius = np.concatenate(found), np.concatenate(sizes)
    whole = radius > 0.6 * CELL_UM  # what is left are processes, cut without a nucleus
    n = len(xy)
    return Cells(xy, radius, np.ones(n, dtype=bool), np.zeros(n, dtype=bool), whole & (rng.random(n) < 0.9))


def cd206(painter: Painter, paint: Mask, cd68: Mask, cells: Cells, walls: DoubleArray) -> Cells:
    """Paint CD206 on the declared part of the CD68 area, and on perivascular and meningeal cells without CD68; return all cells."""
    rng, spec = painter.rng("cd206"), painter.spec
    share = spec.coverage_of("CD206")
    in_core = inside(painter.anatomy.core, cells.xy)
    for i in np.flatnonzero(~in_core & (rng.random(len(cells)) < share)):
        _copy(painter, rng, paint, cd68, cells, int(i), 1.0)
    target = share * painter.covered(cd68)
    deficit = target - painter.covered(paint)
    order = rng.permutation(np.flatnonzero(in_core))
    for i in np.tile(order, 4):
        if deficit < max(0.5, 0.001 * target):
            break
        usual = math.pi * (cells.radius_um[i] * painter.px) ** 2
        deficit -= _copy(painter, rng, paint, cd68, cells, int(i), min(1.0, math.sqrt(0.5 * deficit / usual)))
    return _append(cells, _lining(painter, rng, paint, walls))


def _copy(painter: Painter, rng: np.random.Generator, paint: Mask, cd68: Mask, cells: Cells, i: int, size: float) -> int:
    """Show CD206 where cell i shows CD68; return the pixels of the core that it adds."""
    reach = cells.radius_um[i] * painter.px * 1.35 * size
    x, y = cells.xy[i]
    y0, y1 = max(0, int(y - reach)), min(paint.shape[0], int(y + reach) + 2)
    x0, x1 = max(0, int(x - reach)), min(paint.shape[1], int(x + reach) + 2)
    disc = np.zeros((y1 - y0, x1 - x0), np.uint8)
    level = int(FULL * rng.uniform(0.55, 1.2))
    cv2.circle(disc, (int((x - x0) * 16), int((y - y0) * 16)), max(1, int(reach * 16)), level, -1, cv2.LINE_8, SHIFT)
    disc[cd68[y0:y1, x0:x1] == 0] = 0
    here = paint[y0:y1, x0:x1]
    added = np.count_nonzero((disc > 0) & (here == 0) & (painter.anatomy.core[y0:y1, x0:x1] > 0))
    np.maximum(here, disc, out=here)
    cells.cd206[i] = True
    return int(added)


def _lining(painter: Painter, rng: np.random.Generator, paint: Mask, walls: DoubleArray) -> Cells:
    """Paint flat CD206+ cells on vessels and under the pia; they carry no CD68."""
    outline, px = painter.anatomy.outline, painter.px
    around = float(np.linalg.norm(np.diff(outline, axis=0), axis=1).sum()) / px
    centre = outline.mean(0)
    at = rng.integers(len(outline), size=int(around / 75))
    along = outline[(at + 1) % len(outline)] - outline[at]
    inward = (centre - outline[at]) / np.linalg.norm(centre - outline[at], axis=1, keepdims=True)
    pial = outline[at] + inward * (rng.uniform(3, 7, len(at)) * px)[:, None]
    chosen = walls[rng.random(len(walls)) < 0.04]
    xy = np.concatenate([pial, chosen])
    angle = np.concatenate([np.arctan2(along[:, 1], along[:, 0]), rng.uniform(0, np.pi, len(chosen))])
    n = len(xy)
    path = painter.walk(rng, xy, angle, rng.uniform(12, 22, n) * px, 0.08)
    lines(paint, path, np.full(n, 4 * px), FULL * rng.uniform(0.6, 1.1, n))
    painter.clip(paint)
    off, on = np.zeros(n, dtype=bool), np.ones(n, dtype=bool)
    return Cells(xy, np.full(n, 4.0), off, on, rng.random(n) < 0.6)


def _append(a: Cells, b: Cells) -> Cells:
    return Cells(*(np.concatenate([getattr(a, k), getattr(b, k)]) for k in ("xy", "radius_um", "cd68", "cd206", "nucleated")))


def astrocytes(painter: Painter, paint: Mask) -> None:
    """Paint GFAP processes: stars in grey matter, radial in white, crowded and stout in the border of the lesion, none in the core."""
    rng, anatomy, px = painter.rng("astrocytes"), painter.anatomy, painter.px
    reactive = np.exp(-np.clip(anatomy.distance, 0, None) / 85).astype(np.float32)
    density = (np.where(anatomy.distance < 0, 0, 260 - 60 * anatomy.grey + 2100 * reactive) * anatomy.map_tissue).astype(np.float32)
    xy = anatomy.sample(rng, density, painter.count(density))
    arms = 5
    centre = np.repeat(xy, arms, axis=0)
    n = len(centre)
    grey, boost = anatomy.at(anatomy.grey, centre), anatomy.at(reactive, centre)
    middle = anatomy.outline.mean(0)
    out = np.arctan2(*(centre - middle)[:, ::-1].T)
    if painter.spec.orientation != "transverse":
        out = np.full(n, painter.turn)
    spread = np.where(grey > 0.5, rng.uniform(-np.pi, np.pi, n), rng.normal(0, 0.45, n) + np.pi * rng.integers(0, 2, n))
    angle = out + np.where(boost > 0.3, rng.uniform(-np.pi, np.pi, n), spread)
    length = rng.uniform(10, 24, n) * (1 + 0.7 * boost) * px
    start = centre + np.stack([np.cos(angle), np.sin(angle)], 1) * (length * 0.5)[:, None]
    width = (1.1 + 1.3 * boost) * px * rng.uniform(0.7, 1.3, n)
    lines(paint, painter.walk(rng, start, angle, length, 0.12), width, FULL * (0.32 + 0.75 * boost) * rng.uniform(0.7, 1.25, n))
    paint[anatomy.core > 0] = 0
    painter.clip(paint)


def puncta(painter: Painter, paint: Mask, cells: Cells) -> DoubleArray:
    """Paint sEV puncta, mostly on CD206+ cells; return their centres (px)."""
    rng, anatomy, px = painter.rng("puncta"), painter.anatomy, painter.px
    taken = np.repeat(cells.xy, rng.poisson(np.where(cells.cd206 & cells.cd68, *painter.spec.uptake)), axis=0)
    taken = taken + rng.normal(0, 3.5 * px, taken.shape)
    loose: FloatArray = (np.where(anatomy.distance < 0, *painter.spec.loose_per_mm2) * anatomy.map_tissue).astype(np.float32)
    if painter.core_px == 0:
        loose *= 0
        taken = taken[:0]
    xy = np.concatenate([taken, anatomy.sample(rng, loose, painter.count(loose))])
    xy = xy[inside(anatomy.tissue, xy)]
    radius = np.maximum(rng.uniform(0.5, 1.1, len(xy)) * px, 0.5)
    level = FULL * rng.uniform(0.5, 1.25, len(xy))
    for point, r, value in zip(fixed(xy), radius, level.astype(int), strict=True):
        cv2.circle(paint, (int(point[0]), int(point[1])), int(r * 16), int(value), -1, cv2.LINE_8, SHIFT)
    painter.clip(paint)
    return xy
