"""Shading: the gain of each place in the camera field, and the way from raw pixels to those of an evenly lit one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from sevhisto.compiled import compiled
from sevhisto.types import SHADING_NODES, AnyArray, DoubleArray, FloatArray, IntArray, Problem, Shading, SlideError

LEAST_GAIN, MOST_GAIN = 0.5, 2.0


@dataclass(frozen=True)
class Flat:
    """The shading of one image, in its own pixels.

    Attributes
    ----------
    gain : (n, SHADING_NODES, SHADING_NODES) float32, of each channel that is read
    dark : (n,) float32, grey levels
    field_px : (height, width) of a field
    origin_px : (y, x) where a field starts
    end_px : (y, x) where the image ends
    """

    gain: FloatArray
    dark: FloatArray
    field_px: tuple[float, float]
    origin_px: tuple[float, float]
    end_px: tuple[int, int]

    def seen_from(self, y0: int, x0: int) -> Flat:
        """Return the same for a part of the image that starts at a pixel of it."""
        (oy, ox), (ey, ex) = self.origin_px, self.end_px
        return replace(self, origin_px=(oy - y0, ox - x0), end_px=(ey - y0, ex - x0))

    def of(self, rows: Sequence[int]) -> Flat:
        """Return that of some of the channels."""
        return replace(self, gain=self.gain[list(rows)], dark=self.dark[list(rows)])


def flat_of(shading: Shading, um: float, shape: tuple[int, int]) -> Flat:
    """Return the shading of an image of (height, width) `shape` and `um` per pixel."""
    h, w = shape
    field = (float(h), float(w)) if shading.field_um is None else (shading.field_um[0] / um, shading.field_um[1] / um)
    origin = (shading.origin_um[0] / um, shading.origin_um[1] / um)
    return Flat(shading.gain, shading.dark.astype(np.float32), field, origin, shape)


def flattened(raw: AnyArray, flat: Flat, y0: int, x0: int, step: int = 1) -> FloatArray:
    """Return what an evenly lit camera would have seen, (n, h, w) float32: ``dark + (raw - dark) / gain``.

    What is exactly 0 holds no data and stays 0. Each pixel depends on its own place only, to the last bit.

    Parameters
    ----------
    raw : (n, h, w), one plane per channel of `flat`: pixels, or means over `step` x `step` of them, which are divided by mean gains
    y0, x0 : pixel of the image at which it starts
    """
    n, h, w = raw.shape
    rows, columns = (np.minimum(np.arange(m * step) + start, end - 1) for m, start, end in zip((h, w), (y0, x0), flat.end_px, strict=True))
    nodes = [_nodes(p, o, f) for p, o, f in zip((rows, columns), flat.origin_px, flat.field_px, strict=True)]
    out = np.empty((n, h, w), np.float32)
    for k in range(n):
        gain, dark = flat.gain[k], flat.dark[k]
        if (gain == 1).all():
            out[k] = raw[k]
        elif step == 1:
            _flatten_into(raw[k], gain, dark, *nodes[0], *nodes[1], out[k])
        else:
            down, across = (_mean_weights(*at, step) for at in nodes)
            mean = np.einsum(
                "yj,xj->yx", np.einsum("yi,ij->yj", down, gain.astype(np.float64)), across
            )  # not BLAS: the same bits everywhere
            out[k] = np.where(raw[k] == 0, 0, dark + (raw[k] - dark) / mean.astype(np.float32))
    return out


def _nodes(pixels: IntArray, origin: float, field: float) -> tuple[IntArray, FloatArray]:
    """Return, for the centres of rows or columns of pixels, the node before each, and the weight of the one behind."""
    phase = (pixels + 0.5 - origin) / field
    place = (phase - np.floor(phase)) * (SHADING_NODES - 1)
    low = np.minimum(place.astype(np.int64), SHADING_NODES - 2)
    return low, np.asarray(place - low, np.float32)


def _mean_weights(low: IntArray, weight: FloatArray, step: int) -> DoubleArray:
    """Return the mean weight of every node over each `step` rows, (n / step, SHADING_NODES)."""
    out = np.zeros((len(low) // step, SHADING_NODES))
    row = np.arange(len(low)) // step
    np.add.at(out, (row, low), (1 - weight.astype(np.float64)) / step)
    np.add.at(out, (row, low + 1), weight.astype(np.float64) / step)
    return out


@compiled
def _flatten_into(
    raw: AnyArray, gain: FloatArray, dark: np.float32, top: IntArray, down: FloatArray, left: IntArray, across: FloatArray, out: FloatArray
) -> None:
    line = np.empty(gain.shape[1], np.float32)
    for y in range(raw.shape[0]):
        for j in range(len(line)):
            line[j] = gain[top[y], j] + (gain[top[y] + 1, j] - gain[top[y], j]) * down[y]
        for x in range(raw.shape[1]):
            here = line[left[x]] + (line[left[x] + 1] - line[left[x]]) * across[x]
            value = np.float32(raw[y, x])
            out[y, x] = dark + (value - dark) / here if value != 0 else value


def bounded(gain: DoubleArray) -> tuple[FloatArray, bool]:
    """Return a gain (h, w) with mean 1 and within 0.5 to 2, and whether it had to be cut."""
    even = gain / gain.mean()
    return np.asarray(np.clip(even, LEAST_GAIN, MOST_GAIN), np.float32), bool(even.min() < LEAST_GAIN or even.max() > MOST_GAIN)


def gain_of_image(image: AnyArray, dark: float, where: str) -> tuple[FloatArray, bool]:
    """Return the gain that an image of an evenly bright field shows, at its nodes, and whether it had to be cut.

    Parameters
    ----------
    image : (h, w); whole numbers are grey levels over `dark`, other numbers the gain itself up to a factor
    where : the file, for errors

    It is averaged over a 64th of the field along each side, so that neither its noise nor its dust is written into every field.
    """
    light = image.astype(np.float64) - (dark if image.dtype.kind in "iu" else 0.0)
    cells = cv2.resize(light, (SHADING_NODES - 1, SHADING_NODES - 1), interpolation=cv2.INTER_AREA)
    grid = _between(_between(np.asarray(cells, np.float64)).T).T
    if not np.isfinite(grid).all() or grid.min() <= 0:
        raise SlideError(Problem(where, "is not brighter than the dark level everywhere", "give an image of an evenly bright field"))
    return bounded(grid)


def _between(cells: DoubleArray) -> DoubleArray:
    """Return the values on the edges of rows of cells, (n + 1, w): between two the mean of both, at the ends on in a straight line."""
    wide = np.concatenate([2 * cells[:1] - cells[1:2], cells, 2 * cells[-1:] - cells[-2:-1]])
    return np.asarray((wide[:-1] + wide[1:]) / 2, np.float64)
