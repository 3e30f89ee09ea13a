"""How large a typical nucleus is, told by the image: the scale at which its bright blobs stand out most."""

from __future__ import annotations

import cv2
import numpy as np

from sevhisto.types import AnyArray, DoubleArray, FloatArray

SMALLEST_UM, LARGEST_UM = 2.0, 60.0
SMALLEST_PX = 4.0  # a smaller disc has no scale of its own
_RATIO = 2**0.25  # between neighbouring scales
_INNER, _OUTER = 0.89, 1.12  # sigmas of the difference of Gaussians, in sigmas of the scale
_SKIRT_PX = 1.0  # by which blur of about a pixel and square roots widen a disc
_COARSE = 2.0  # a filter this many pixels wide or wider may run on a reduced image


def typical_diameter(samples: list[FloatArray], um: float) -> float:
    """Return the diameter of a typical nucleus in um, without any setting; nan where nothing stands out.

    Every local maximum over place and scale of a difference of Gaussians, normalised over scales (Lindeberg 1998), is a blob with a
    diameter and a contrast. Blobs of texture and noise are many but faint: the answer is the median weighted by contrast squared, which
    suppresses them, and diameter, which makes up for there being room for more small ones. Square roots of the intensities keep a few
    very bright objects from deciding.

    Parameters
    ----------
    samples : images (h, w) of one section, intensity in any unit
    um : micrometres per pixel
    """
    found = [_blobs(s, um) for s in samples if min(s.shape) > SMALLEST_PX]
    blobs = np.concatenate(found) if found else np.zeros((0, 2))
    if not len(blobs):
        return float("nan")
    diameters, contrast = blobs.T
    order = np.argsort(diameters, kind="stable")
    heap = np.cumsum((contrast**2 * diameters)[order])
    return float(diameters[order][np.searchsorted(heap, heap[-1] / 2)]) - _SKIRT_PX * um


def reduction(um: float) -> int:
    """Return by how much an image may be reduced without losing the smallest nuclei."""
    return max(1, int(SMALLEST_UM / SMALLEST_PX / um))


def _blobs(image: FloatArray, um: float) -> DoubleArray:
    """Return diameter in um and contrast of the bright blobs of an image, (n, 2)."""
    root = np.sqrt(np.maximum(image - np.float32(np.percentile(image, 5)), 0)).astype(np.float32)
    smallest, largest = max(SMALLEST_UM, SMALLEST_PX * um), min(LARGEST_UM, min(image.shape) * um / 2)
    if largest <= smallest:
        return np.zeros((0, 2))
    n = int(np.ceil(np.log(largest / smallest) / np.log(_RATIO))) + 1
    diameters = smallest * _RATIO ** np.arange(-1, n + 1)  # one more at each end, to tell a maximum
    stack = [_response(root, d / um) for d in diameters]
    found = [_maxima(stack[i - 1 : i + 2], diameters[i]) for i in range(1, len(diameters) - 1)]
    return np.concatenate(found)


def _response(root: FloatArray, diameter_px: float) -> tuple[int, FloatArray]:
    """Return the reduction used and the normalised response at one scale."""
    sigma = diameter_px / 2 / np.sqrt(2)  # a disc answers most where sigma = radius / sqrt(2)
    step = max(int(sigma / _COARSE), 1)
    if step > 1:
        h, w = root.shape
        root = np.asarray(cv2.resize(root, (max(w // step, 1), max(h // step, 1)), interpolation=cv2.INTER_AREA), np.float32)
    inner, outer = (cv2.GaussianBlur(root, (0, 0), max(sigma / step * k, 0.3)) for k in (_INNER, _OUTER))
    return step, np.asarray(inner - outer, np.float32)


def _maxima(three: list[tuple[int, FloatArray]], diameter: float) -> DoubleArray:
    """Return the blobs of the middle one of three neighbouring scales: diameter, refined by a parabola, and contrast."""
    (below_step, below), (step, here), (above_step, above) = three
    peak = (here >= cv2.dilate(here, np.ones((3, 3), np.uint8))) & (here > 0)
    y, x = np.nonzero(peak)
    value = here[peak].astype(np.float64)
    low, high = _near(below, y, x, step / below_step), _near(above, y, x, step / above_step)
    best = (value >= low) & (value >= high)
    value, low, high = value[best], low[best], high[best]
    bend = np.maximum(2 * value - low - high, 1e-12)
    shift = np.clip((high - low) / 2 / bend, -0.5, 0.5)
    return np.column_stack([diameter * _RATIO**shift, value])


def _near(response: FloatArray, y: AnyArray, x: AnyArray, ratio: float) -> DoubleArray:
    """Return the largest response around places given on another grid."""
    highest = cv2.dilate(response, np.ones((3, 3), np.uint8))
    rows = np.clip(((y + 0.5) * ratio).astype(np.int64), 0, response.shape[0] - 1)
    columns = np.clip(((x + 0.5) * ratio).astype(np.int64), 0, response.shape[1] - 1)
    return np.asarray(highest[rows, columns], np.float64)
