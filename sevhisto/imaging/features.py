"""Features of pixels at several scales in micrometres: what a trained classifier sees of each image.

Every scale gives the smoothed image, its slope and the two curvatures of its Hessian; and from the second on the texture around the pixel:
the square roots of the eigenvalues of the structure tensor, slopes of the next finer scale summed over this one. All are in the image's own
unit: slope and curvature are multiplied by the scale and its square [Lindeberg 1998], so that a structure gives the same value whatever
the pixel size.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np

from sevhisto.compiled import compiled
from sevhisto.types import DoubleArray, FloatArray

OF_A_SCALE = ("smooth", "slope", "valley", "ridge", "across", "along")
"""Steepest and flattest direction of the texture, last; the finest scale has none."""
CUT = 3.0
"""Sigmas at which a Gaussian is cut off."""
STENCIL = 2
"""Pixels that a derivative reaches."""


def feature_names(inputs: Sequence[str], scales_um: Sequence[float]) -> list[str]:
    """Return the name of every feature, in order."""
    return [f"{what} of {name}, {s:g} um" for name in inputs for i, s in enumerate(scales_um) for what in OF_A_SCALE[: 4 + 2 * (i > 0)]]


def grid_step(um: float, scales_um: Sequence[float]) -> int:
    """Return how many pixels of `um` make a pixel of the features: as many as the finest scale holds."""
    return max(int(scales_um[0] / um + 1e-6), 1)


def reach_px(px_um: float, scales_um: Sequence[float]) -> int:
    """Return how far around a pixel its features look, in pixels of the grid."""
    return sum(len(_weights(s, px_um)) - 1 for s in scales_um[-2:]) + STENCIL


def features(images: Sequence[FloatArray], px_um: float, scales_um: Sequence[float], inner: tuple[slice, slice]) -> FloatArray:
    """Return the features of the pixels in `inner`, (n_features, h, w) float32.

    Parameters
    ----------
    images : (height, width) float32 each, averaged to the grid of features; mirrored at their edges
    px_um : pixel size of that grid
    scales_um : sigmas, ascending. A pixel averages over its own area, so that much less is smoothed: sigma^2 - px^2 / 12
    inner : rows and columns; with `reach_px` of image around them, their features do not depend on where the image was cut
    """
    shape = images[0][inner].shape
    out = np.empty((len(images) * (6 * len(scales_um) - 2), *shape), np.float32)
    k = 0
    for image in images:
        finer: tuple[FloatArray, FloatArray] | None = None
        for s in scales_um:
            weights = _weights(s, px_um)
            soft = smoothed(image, weights)
            fx, fy, slope, valley, ridge = derivatives(np.pad(soft, STENCIL, mode="symmetric"), np.float32(s / px_um))
            planes = [soft, slope, valley, ridge]
            if finer is not None:
                planes += _texture(*(smoothed(a * b, weights)[inner] for a, b in combinations_with_replacement(finer, 2)))
            for plane in planes[:4]:
                out[k] = plane[inner]
                k += 1
            for plane in planes[4:]:
                out[k] = plane
                k += 1
            finer = fx, fy
    return out


def _texture(xx: FloatArray, xy: FloatArray, yy: FloatArray) -> tuple[FloatArray, FloatArray]:
    mean, apart = (xx + yy) / 2, np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    return np.sqrt(mean + apart), np.sqrt(np.maximum(mean - apart, 0))


def _weights(scale_um: float, px_um: float) -> FloatArray:
    """Return half of a Gaussian, (r + 1,) float32 from the middle outwards; all of it sums to 1."""
    sigma = np.sqrt(max(scale_um**2 - px_um**2 / 12, (0.5 * px_um) ** 2)) / px_um
    half: DoubleArray = np.exp(-0.5 * (np.arange(int(np.ceil(CUT * sigma)) + 1) / sigma) ** 2)
    return np.asarray(half / (2 * half.sum() - half[0]), np.float32)


@compiled
def _mirrored(i: int, n: int) -> int:
    """Return the pixel that stands for pixel i of an image of n: the outermost is repeated."""
    period = 2 * n
    i %= period
    return i if i < n else period - 1 - i


@compiled
def smoothed(image: FloatArray, weights: FloatArray) -> FloatArray:
    """Return (h, w) float32 smoothed with symmetric weights (from the middle outwards), mirrored at the edges.

    Each pixel is summed in one order, so that it comes out the same to the last bit wherever the image was cut.
    """
    h, w = image.shape
    r = len(weights) - 1
    out = np.empty((h, w), np.float32)
    line = np.empty(w + 2 * r, np.float32)
    middle = line[r : r + w]
    for y in range(h):
        row = image[y]
        for x in range(w):
            middle[x] = weights[0] * row[x]
        for j in range(1, r + 1):
            above, below, weight = image[_mirrored(y - j, h)], image[_mirrored(y + j, h)], weights[j]
            for x in range(w):
                middle[x] += weight * (above[x] + below[x])
        for j in range(1, r + 1):
            line[r - j] = middle[_mirrored(-j, w)]
            line[r + w - 1 + j] = middle[_mirrored(w - 1 + j, w)]
        made = out[y]
        for x in range(w):
            made[x] = weights[0] * middle[x]
        for j in range(1, r + 1):
            left, right, weight = line[r - j : r - j + w], line[r + j : r + j + w], weights[j]
            for x in range(w):
                made[x] += weight * (left[x] + right[x])
    return out


@compiled
def derivatives(padded: FloatArray, scale_px: np.float32) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return derivatives along x and y, slope, and both eigenvalues of the Hessian, the larger first; (h, w) float32 each.

    `padded` : image with STENCIL more pixels around it; `scale_px` : what a derivative is multiplied by

    Differences of fourth order: (8 (f1 - f-1) - (f2 - f-2)) / 12, and (16 (f1 + f-1) - (f2 + f-2) - 30 f0) / 12.
    """
    h, w = padded.shape[0] - 4, padded.shape[1] - 4
    slope, valley, ridge = np.empty((h, w), np.float32), np.empty((h, w), np.float32), np.empty((h, w), np.float32)
    down = np.empty((h, w), np.float32)
    across = np.empty((h + 4, w), np.float32)
    eight, sixteen, thirty, half = np.float32(8), np.float32(16), np.float32(30), np.float32(0.5)
    once, twice = scale_px / np.float32(12), scale_px * scale_px / np.float32(12)
    for y in range(h + 4):
        row, made = padded[y], across[y]
        for x in range(w):
            made[x] = once * (eight * (row[x + 3] - row[x + 1]) - (row[x + 4] - row[x]))
    for y in range(h):
        a, b, c, d, e = padded[y], padded[y + 1], padded[y + 2], padded[y + 3], padded[y + 4]
        ta, tb, td, te = across[y], across[y + 1], across[y + 3], across[y + 4]
        for x in range(w):
            fx = across[y + 2, x]
            fy = once * (eight * (d[x + 2] - b[x + 2]) - (e[x + 2] - a[x + 2]))
            xx = twice * (sixteen * (c[x + 3] + c[x + 1]) - (c[x + 4] + c[x]) - thirty * c[x + 2])
            yy = twice * (sixteen * (d[x + 2] + b[x + 2]) - (e[x + 2] + a[x + 2]) - thirty * c[x + 2])
            xy = once * (eight * (td[x] - tb[x]) - (te[x] - ta[x]))
            mean, apart = half * (xx + yy), half * (xx - yy)
            turn = np.sqrt(apart * apart + xy * xy)
            down[y, x] = fy
            slope[y, x] = np.sqrt(fx * fx + fy * fy)
            valley[y, x] = mean + turn
            ridge[y, x] = mean - turn
    return across[2 : h + 2].copy(), down, slope, valley, ridge
