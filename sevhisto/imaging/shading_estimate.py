"""Shading from the slides of a batch: what repeats from camera field to camera field is the camera's, what does not is the tissue's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from sevhisto.imaging.shading import bounded
from sevhisto.types import SHADING_NODES, AnyArray, BoolArray, DoubleArray, FloatArray

CELLS = 24
"""Cells along a camera field, in each of which the tissue's level is taken."""
FEWEST_FIELDS = 12.0
"""Fields of tissue under which nothing is estimated."""
UNSURE = 0.02
"""Standard error of the gain from which on an estimate is unsure."""
STRONG = 1.5
"""Brightest over darkest place of the field, from which on shading is strong."""
_SMOOTH = 0.25  # sigma of the tissue's smooth level, as a share of the field
_DEGREE = 2  # cos^4 of the angle, and a tilt: within 0.5 % where the corner loses 40 %
_ROUNDS, _TOLERATED = 8, 1.5
_ALIKE = 0.06  # error of the gain from sections of 1 field that all lie alike in their fields, on synthetic ones
_FAINT = 0.1  # of the median level: where less light is, its logarithm is noise


@dataclass(frozen=True)
class FieldView:
    """One slide as cells of about a 24th of a camera field.

    Attributes
    ----------
    level : (n_markers, h, w) float32, median intensity of the tissue in each cell; NaN where less than three quarters of it are tissue
    y, x : (h,), (w,) float64, place of the centre of each row and column of cells, in camera fields
    cell_fields : (height, width) of a cell in fields
    """

    level: FloatArray
    y: DoubleArray
    x: DoubleArray
    cell_fields: tuple[float, float]


@dataclass(frozen=True)
class FieldGain:
    """The gain of one channel: (SHADING_NODES, SHADING_NODES) float32, its standard error, fields behind it, and whether it was cut."""

    gain: FloatArray
    error: float
    n_fields: float
    cut: bool

    @property
    def stands_out(self) -> bool:
        """Whether dividing by it takes away clearly more than it adds."""
        return bool(self.n_fields >= FEWEST_FIELDS and float(np.std(self.gain)) >= 2 * self.error)


def view_fields(values: FloatArray, tissue: BoolArray, field_px: tuple[float, float], origin_px: tuple[float, float]) -> FieldView:
    """Return a slide as cells; `values` (n_markers, h, w) and `tissue` (h, w) in overview pixels, like field and origin."""
    side = max(1, round(min(field_px) / CELLS))
    h, w = (n // side for n in tissue.shape)
    inside = _cells(tissue, side, h, w)
    n = inside.sum(axis=-1)
    level = np.empty((len(values), h, w), np.float32)
    for k, plane in enumerate(values):
        ordered = np.sort(np.where(inside, _cells(plane, side, h, w), np.inf), axis=-1)  # inf: what is no tissue comes last
        level[k] = np.take_along_axis(ordered, np.minimum(n // 2, side**2 - 1)[..., None], axis=-1)[..., 0]
    level[:, n < 0.75 * side**2] = np.nan
    y, x = (((np.arange(m) + 0.5) * side - o) / f for m, o, f in zip((h, w), origin_px, field_px, strict=True))
    return FieldView(level, y, x, (side / field_px[0], side / field_px[1]))


def _cells(image: AnyArray, side: int, h: int, w: int) -> AnyArray:
    return image[: h * side, : w * side].reshape(h, side, w, side).swapaxes(1, 2).reshape(h, w, side * side)


def estimate_gain(views: Sequence[FieldView], row: int, dark: float) -> FieldGain:
    """Return the gain of one channel over the camera field.

    The logarithm of the light is a smooth level of the tissue, free on every slide, plus a polynomial of degree 2 of the place in the
    field, the same on all. Both sides less their own smoothed values leave the polynomial alone (Speckman, JRSS B 50:413, 1988). It is
    fitted by least squares on values that are pulled in to 1.5 robust SD of the fit (Huber's modified residuals), so that
    cells and fibres, which are no tissue level, count little. The error is half the difference of two halves of the fields, and what
    tissue that always lies alike in its fields adds: its grey matter, then, would be at the same place of the field on every slide.

    Parameters
    ----------
    views : every slide of the batch, controls and samples
    row : the channel
    dark : grey levels without light
    """
    light = [v.level[row].astype(np.float64) - dark for v in views]
    known = [np.isfinite(one) for one in light]
    seen = np.concatenate([one[k] for one, k in zip(light, known, strict=True)]) if light else np.zeros(0)
    n_fields = float(sum(np.count_nonzero(k) * v.cell_fields[0] * v.cell_fields[1] for k, v in zip(known, views, strict=True)))
    even = np.ones((SHADING_NODES, SHADING_NODES), np.float32)
    if n_fields < FEWEST_FIELDS or np.median(seen) <= 0:
        return FieldGain(even, math.nan, n_fields, False)
    faint = _FAINT * float(np.median(seen))
    bright = [np.where(k, one, 0) > faint for one, k in zip(light, known, strict=True)]
    parts = [_Part.of(v, np.log(np.where(b, one, faint)), b, i) for i, (v, one, b) in enumerate(zip(views, light, bright, strict=True))]
    gains = [bounded(np.exp(_surface(_fitted(parts, half)))) for half in (None, 0, 1)]
    halves = float(np.sqrt(np.mean((gains[1][0] - gains[2][0]) ** 2)) / 2)
    return FieldGain(gains[0][0], math.hypot(halves, _ALIKE * alikeness(views)), n_fields, gains[0][1])


def alikeness(views: Sequence[FieldView]) -> float:
    """Return how alike pieces of tissue lie in their camera fields, 0 (evenly spread) to 1, over the root of the fields that each covers.

    The mean resultant length of the place of their centres (Mardia and Jupp, Directional statistics, 2000), of the worse direction.
    """
    turns: list[list[float]] = []
    areas: list[float] = []
    for view in views:
        there = np.isfinite(view.level[0])
        labels, n = ndimage.label(there)
        for y, x in ndimage.center_of_mass(there, labels, range(1, n + 1)):
            turns.append([2 * np.pi * (view.y[0] + y * view.cell_fields[0]), 2 * np.pi * (view.x[0] + x * view.cell_fields[1])])
        areas += (ndimage.sum_labels(there, labels, range(1, n + 1)) * view.cell_fields[0] * view.cell_fields[1]).tolist()
    weight = np.array(areas)
    length = np.abs((weight[:, None] * np.exp(1j * np.array(turns))).sum(axis=0)) / weight.sum()
    return float(length.max() / math.sqrt(max(1.0, float((weight**2).sum() / weight.sum()))))


@dataclass
class _Part:
    """One slide's share in the fit: logarithms of its light and where they are known (h, w), terms (n, h, w) and these less what is smooth
    of them, which half of the fields each cell is in, and the sigma of what counts as smooth (cells along y and x).
    """

    light: DoubleArray
    known: BoolArray
    terms: DoubleArray
    apart: DoubleArray
    half: AnyArray
    sigma: tuple[float, float]

    @classmethod
    def of(cls, view: FieldView, light: DoubleArray, known: BoolArray, number: int) -> _Part:
        terms = np.moveaxis(_terms(*(2 * (p - np.floor(p)) - 1 for p in (view.y, view.x))), -1, 0)
        half = (np.floor(view.y)[:, None] + np.floor(view.x) + number) % 2
        part = cls(light, known, terms, terms, half, (_SMOOTH / view.cell_fields[0], _SMOOTH / view.cell_fields[1]))
        part.apart = np.stack([t - part.smooth(t) for t in terms])
        return part

    def smooth(self, values: DoubleArray) -> DoubleArray:
        """Return the mean of what is known around each cell, by a Gaussian of a quarter of the field."""

        def blurred(image: DoubleArray) -> DoubleArray:
            y, x = self.sigma
            return np.asarray(cv2.GaussianBlur(image, (0, 0), sigmaX=x, sigmaY=y, borderType=cv2.BORDER_CONSTANT), np.float64)

        weight = blurred(self.known.astype(np.float64))
        return blurred(np.where(self.known, values, 0.0)) / np.maximum(weight, 1e-6)


def _terms(y: DoubleArray, x: DoubleArray) -> DoubleArray:
    """Return every product of Legendre polynomials up to degree 2 in all, but the constant: (len(y), len(x), 5)."""
    a, b = np.polynomial.legendre.legvander(y, _DEGREE), np.polynomial.legendre.legvander(x, _DEGREE)
    pairs = [(i, j) for i in range(_DEGREE + 1) for j in range(_DEGREE + 1 - i) if i + j]
    return np.stack([a[:, None, i] * b[None, :, j] for i, j in pairs], axis=-1)


def _fitted(parts: Sequence[_Part], half: int | None) -> DoubleArray:
    """Return the coefficients of the terms, from one half of the fields or from all."""
    used = [p.known & (True if half is None else p.half == half) for p in parts]
    design = np.concatenate([p.apart[:, u].T for p, u in zip(parts, used, strict=True)])
    light = [p.light for p in parts]
    found = np.zeros(design.shape[1])
    for _ in range(_ROUNDS):
        target = np.concatenate([(one - p.smooth(one))[u] for p, one, u in zip(parts, light, used, strict=True)])
        normal = np.einsum("ni,nj->ij", design, design)  # not BLAS: the same bits everywhere
        found = np.linalg.solve(normal + 1e-9 * np.trace(normal) * np.eye(len(found)), np.einsum("ni,n->i", design, target))
        fits = [np.tensordot(found, p.terms, axes=1) for p in parts]
        fits = [f + p.smooth(one - f) for p, one, f in zip(parts, light, fits, strict=True)]
        off = np.concatenate([(p.light - f)[p.known] for p, f in zip(parts, fits, strict=True)])
        most = _TOLERATED * 1.4826 * float(np.median(np.abs(off)))
        light = [f + np.clip(p.light - f, -most, most) for p, f in zip(parts, fits, strict=True)]
    return found


def _surface(coefficients: DoubleArray) -> DoubleArray:
    nodes = np.linspace(-1, 1, SHADING_NODES)
    return np.asarray(_terms(nodes, nodes) @ coefficients, np.float64)
