"""How blurred the nuclei of a section are, in um, from the overview of the nuclear stain.

An image is smoothed by two Gaussians. Of nuclei (discs of a known size, anywhere) blurred by s, the energy of the gradient after each is
known: the Hankel transform of a disc times that of the Gaussian. Their ratio falls with s and depends on neither brightness, offset nor the
number of nuclei; it is read backwards. (The ratio of gradients after re-blurring, as in Zhuo and Sim, Defocus map estimation from a single
image, Pattern Recognition 44, 1852-1858, 2011; here of discs instead of straight edges, and of tiles instead of single edges.)
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from scipy import ndimage
from scipy.special import j1

from sevhisto.imaging.blobs import large
from sevhisto.imaging.surroundings import median_around
from sevhisto.types import BoolArray, DoubleArray, FloatArray

MIN_SNR = 4.0
"""Energy of structure over that of noise below which a tile says nothing."""
TILE_UM = 96.0
MIN_TILES = 4
"""A blurred tile alone may hold a vessel or a tract; focus is lost over areas."""
SURELY, PERHAPS = 1.7, 1.45
"""Of the sharper quarter: on clean synthetic sections and real cords the blurrier tenth has 1.2 to 1.4."""
_STEPS_UM = np.arange(0, 20.1, 0.1)


def merging_blur(nucleus_um: float) -> float:
    """Return the sigma (um) at which two touching nuclei become one: Sparrow's limit, no dip between two peaks.

    Of Gaussians it is reached when they are two sigma apart. A disc of diameter D has a sigma of D / 4 by its variance.
    """
    return float(np.sqrt((nucleus_um / 2) ** 2 - (nucleus_um / 4) ** 2))


def _energy(nucleus_um: float, sigma_um: float) -> float:
    q = np.linspace(1e-4, 1.0, 2000)  # cycles per um
    disc = (j1(np.pi * nucleus_um * q) / q) ** 2
    return float(np.sum(disc * q**3 * np.exp(-((2 * np.pi * sigma_um * q) ** 2))))


@lru_cache(maxsize=16)
def _ratios(nucleus_um: float, fine_um: float, coarse_um: float, um: float) -> DoubleArray:
    """Return the ratio of energies for each blur of `_STEPS_UM`; a pixel blurs by its own variance."""
    pixel = um**2 / 12
    both = [[_energy(nucleus_um, float(np.sqrt(s**2 + a**2 + pixel))) for s in _STEPS_UM] for a in (fine_um, coarse_um)]
    return np.asarray(np.array(both[0]) / np.array(both[1]), np.float64)


def _gradient_energy(image: FloatArray, sigma_px: float) -> FloatArray:
    soft = cv2.GaussianBlur(image, (0, 0), sigma_px)
    gx, gy = cv2.Sobel(soft, cv2.CV_32F, 1, 0, ksize=1, scale=0.5), cv2.Sobel(soft, cv2.CV_32F, 0, 1, ksize=1, scale=0.5)
    return np.asarray(gx * gx + gy * gy, np.float32)


@lru_cache(maxsize=16)
def _noise_energy(sigma_px: float) -> float:
    """Return the gradient energy of white noise of variance 1 after smoothing: the sum of squares of the filter."""
    side = 2 * int(np.ceil(6 * sigma_px)) + 5
    spot = np.zeros((side, side), np.float32)
    spot[side // 2, side // 2] = 1
    return float(_sum_squares(spot, sigma_px))


def _sum_squares(spot: FloatArray, sigma_px: float) -> float:
    return float(_gradient_energy(spot, sigma_px).sum(dtype=np.float64))


def blur_of_tiles(image: FloatArray, inside: BoolArray, um: float, nucleus_um: float, tile: int) -> FloatArray:
    """Return the blur (sigma, um) of each tile, float32 (ceil(h / tile), ceil(w / tile)); NaN where it cannot be told.

    Parameters
    ----------
    image : (h, w) float32, nuclear stain
    inside : (h, w) bool, tissue that counts; a tile needs it over half its area
    um : pixel size
    nucleus_um : diameter of a nucleus
    tile : side in pixels

    Noise is taken from the tiles that show least structure (Immerkaer, Fast noise variance estimation, CVIU 64, 300-302, 1996).
    """
    fine_um = max(1.5, 0.75 * um)
    coarse_um = 2 * fine_um
    # where the tissue ends is no nucleus: its step is kept out
    core = np.asarray(cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=max(round(2 * coarse_um / um), 1)) > 0)
    cover = _tiles(core.astype(np.float32), tile)
    enough = cover > 0.5
    if not enough.any():
        return np.full(cover.shape, np.nan, np.float32)
    share = np.maximum(cover, 1e-3)
    second = cv2.filter2D(image, -1, np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6)
    noise = float(np.percentile((_tiles(second**2 * core, tile) / share)[enough], 5))
    fine, coarse = (
        _tiles(_gradient_energy(image, s / um) * core, tile) / share - noise * _noise_energy(s / um) for s in (fine_um, coarse_um)
    )
    told = enough & (coarse > MIN_SNR * noise * _noise_energy(coarse_um / um)) & (coarse > 0)
    ratio = np.where(told, fine / np.where(told, coarse, 1), 0)
    blur = np.interp(-ratio, -_ratios(nucleus_um, fine_um, coarse_um, um), _STEPS_UM)
    return np.asarray(np.where(told, blur, np.nan), np.float32)


def _tiles(image: FloatArray, tile: int) -> FloatArray:
    h, w = image.shape
    padded = np.pad(image, ((0, -h % tile), (0, -w % tile)))
    return np.asarray(padded.reshape(padded.shape[0] // tile, tile, -1, tile).mean((1, 3)), np.float32)


def out_of_focus(values: FloatArray, usable: BoolArray, um: float, nucleus_um: float) -> tuple[BoolArray, float]:
    """Return the part of a section that is out of focus, (h, w) bool, and the section's median blur (um).

    A tile is as sharp as its sharpest channel: what is out of focus is so in all, while the structures of one stain can be large; and
    as its neighbourhood: of 3 x 3 tiles the median. It must be blurred until touching nuclei merge, and 1.7 times as much as the sharper
    quarter of the section, since panels and tissue differ in how fine their finest structures are. The part goes on around such tiles
    as far as they are 1.45 times as blurred. A section that is blurred all over has no such part; its median tells it from others.
    """
    tile = max(round(TILE_UM / um), 8)
    out = np.zeros_like(usable)
    if not usable.any():
        return out, float("nan")
    blur = np.full((-(-usable.shape[0] // tile), -(-usable.shape[1] // tile)), np.nan, np.float32)
    for channel in values:
        flat = np.where(usable, channel - np.median(channel[usable]), 0).astype(np.float32)  # no step where the tissue ends
        blur = np.fmin(blur, blur_of_tiles(flat, usable, um, nucleus_um, tile))
    known = np.isfinite(blur)
    if not known.any():
        return out, float("nan")
    middle, sharp = (float(v) for v in np.percentile(blur[known], (50, 25)))
    around = np.nan_to_num(median_around(blur, 3)) * known
    sure = large(around > max(merging_blur(nucleus_um), SURELY * sharp), MIN_TILES)
    labels, _ = ndimage.label(around > PERHAPS * sharp, np.ones((3, 3), int))
    bad = np.isin(labels, np.unique(labels[sure])) & (labels > 0)
    bad |= _enclosed(bad, known)
    out |= np.repeat(np.repeat(bad, tile, axis=0), tile, axis=1)[: out.shape[0], : out.shape[1]]
    return out, middle


def _enclosed(bad: BoolArray, known: BoolArray) -> BoolArray:
    """Return tiles without a say most of whose neighbours with a say are bad."""
    ones = np.ones((3, 3), np.float32)
    n_bad = ndimage.convolve(bad.astype(np.float32), ones, mode="constant")
    n_known = ndimage.convolve(known.astype(np.float32), ones, mode="constant")
    return np.asarray(~known & (n_bad > 0) & (n_bad > n_known / 2), bool)
