"""Brightfield stains: colour to amount of each stain, in milli optical density, with the colours of the batch's own stains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from skimage import color

from sevhisto.config import PanelSettings
from sevhisto.registry import Registry
from sevhisto.types import AnyArray, BoolArray, DoubleArray, FloatArray, PixelSource

MIN_DENSITY = 150.0
"""Milli optical density of the most absorbed colour from which a pixel tells the colour of a stain (Macenko 2009: 0.15)."""
EXTREME = 0.01
"""Share of the absorption that may lie beyond a stain's own colour (Macenko 2009: the 1st and 99th percentile of the angles)."""
LEEWAY = 0.25
"""How far a batch's stain may lie from its published colour, as a share of the angle between the two stains."""
WINDOW_PX, N_WINDOWS = 256, 16
MAX_PIXELS = 200_000


@dataclass(frozen=True)
class Stain:
    """Stains that are seen together, with the optical density of each in red, green and blue.

    Attributes
    ----------
    components : names, as `channel` in study.toml gives them
    vectors : (3, 3) float64; one row per component, and a residual row where there are fewer than three
    dyes : components without an antibody, each read as its excess over the other component. Nuclei and dense cytoplasm take up both dyes
        of a trichrome; matrix is where its own dye prevails
    """

    components: tuple[str, ...]
    vectors: DoubleArray
    dyes: tuple[str, ...] = ()


stains: Registry[Stain] = Registry("stain")


def _unit(row: Sequence[float] | DoubleArray) -> DoubleArray:
    return np.asarray(np.asarray(row, np.float64) / np.linalg.norm(row), np.float64)


def _complete(*rows: Sequence[float] | DoubleArray) -> DoubleArray:
    unit = [_unit(r) for r in rows]
    return np.array(unit if len(unit) == 3 else [*unit, _unit(np.cross(unit[0], unit[1]))])


# Ruifrok & Johnston 2001 and Landini's collection, as scikit-image ships them
_PONCEAU = _unit(color.rgb_from_bpx[1])
_HEMATOXYLIN = _unit(color.rgb_from_hed[0])
stains.register("hematoxylin_dab")(Stain(("hematoxylin", "dab"), _complete(color.rgb_from_hdx[0], color.rgb_from_hdx[1])))
stains.register("hematoxylin_eosin_dab")(Stain(("hematoxylin", "eosin", "dab"), _complete(*color.rgb_from_hed)))
# what is not collagen is red cytoplasm and dark nuclei, which three colours cannot tell apart from it and from each other: their mixture
stains.register("masson")(Stain(("collagen", "cytoplasm"), _complete(color.rgb_from_bpx[0], _PONCEAU + _HEMATOXYLIN), ("collagen",)))
# Estimated from one real tile (liver, tile02_PSR of github.com/mfarzi/liverquant): collagen is the median optical density of the densest
# tenth of its collagen mask, red with the picric acid that lies under it; picric is the median of the parenchyma 20 px and more from any
# collagen. A pure red (fast red) with a pure yellow leaves that brownish parenchyma a third as red as the fibres.
stains.register("picrosirius")(Stain(("collagen", "picric"), _complete((0.190, 0.651, 0.735), (0.214, 0.416, 0.884)), ("collagen",)))


def optical_density(rgb: AnyArray) -> FloatArray:
    """Return milli optical density of 8-bit colour, float32, same shape; one grey level is added so that black stays finite."""
    return np.asarray(-1000 * np.log10((rgb.astype(np.float32) + 1) / 256), np.float32)


def unmix_stains(rgb: AnyArray, stain: Stain, components: tuple[str, ...], excess: bool = False) -> FloatArray:
    """Return the amount of each wanted component, shape (n, h, w) float32, in milli optical density along its vector.

    Parameters
    ----------
    rgb : (3, h, w) uint8
    components : wanted components, each one of ``stain.components``
    excess : of the stain's `dyes`, return by how much each exceeds the other component
    """
    inverse = np.linalg.inv(stain.vectors)  # od = amounts @ vectors
    columns = []
    for name in components:
        column = stain.components.index(name)
        other = inverse[:, 1 - column] if excess and name in stain.dyes else 0.0
        columns.append(inverse[:, column] - other)
    return np.asarray(np.tensordot(np.array(columns, np.float32), optical_density(rgb), axes=1), np.float32)


def dye_markers(panel: PanelSettings) -> list[str]:
    """Return the markers that are a dye of matrix, without an antibody: no control tells what is positive, the counterstain does."""
    dyes = stains[panel.stain].dyes if panel.kind == "brightfield" else ()
    return [c.marker for c in panel.channels if c.channel in dyes]


def sample_density(source: PixelSource, tissue: BoolArray, factor: int, sigma_px: float) -> FloatArray:
    """Return the optical density of tissue in windows spread evenly over it, (n, 3) float32 milli optical density, n <= MAX_PIXELS.

    Parameters
    ----------
    source : full-resolution colour
    tissue : (h, w) bool, at overview resolution
    factor : full-resolution pixels per overview pixel
    sigma_px : smoothing of the density, as the measurement smooths it
    """
    side = max(WINDOW_PX // factor, 1)
    rows, columns = np.arange(0, tissue.shape[0], side), np.arange(0, tissue.shape[1], side)
    shares = np.add.reduceat(np.add.reduceat(tissue.astype(np.int64), rows, axis=0), columns, axis=1) if tissue.size else tissue
    y, x = np.nonzero(shares > 0.2 * side**2) if (shares > 0.2 * side**2).any() else np.nonzero(shares)
    chosen = np.unique(np.linspace(0, max(len(y) - 1, 0), N_WINDOWS).astype(int))[: len(y)]
    found = []
    for i in chosen:
        y0, x0 = int(y[i]) * side * factor, int(x[i]) * side * factor
        y1, x1 = min(y0 + side * factor, source.shape[0]), min(x0 + side * factor, source.shape[1])
        if y1 > y0 and x1 > x0:
            density = np.moveaxis(optical_density(source.read((0, 1, 2), y0, y1, x0, x1)), 0, -1)
            soft = cv2.GaussianBlur(density, (0, 0), sigma_px) if sigma_px >= 1 / 3 else density
            found.append(soft.reshape(-1, 3))
    pixels = np.concatenate(found) if found else np.zeros((0, 3), np.float32)
    return np.asarray(pixels[:: max(-(-len(pixels) // MAX_PIXELS), 1)], np.float32)


def fit_stain(
    stain: Stain, samples: Sequence[FloatArray], glass: DoubleArray, given: Mapping[str, Sequence[float]]
) -> tuple[Stain, tuple[str, ...]]:
    """Return a stain with the vectors of a batch, and per component where its vector is from: given, estimated or published.

    In the plane of the two published vectors, every pixel lies at an angle between them; a stain's own colour is where all but 1 % of
    the absorption of all slides together lies on the other side [Macenko 2009], each slide counting the same. Further from the published
    vector than a quarter of the angle between the two, on the side of the other stain, the stain is not there and the published vector
    holds, so that tissue without one stain does not turn the other into it; on the far side the estimate ends there.

    Parameters
    ----------
    samples : for each slide (n, 3) float32, milli optical density of tissue
    glass : (3,) float64, milli optical density of the clear slide
    given : vectors from study.toml, by component; they win. Only stains of two components are estimated.
    """
    names = stain.components
    known = [_unit(given[n]) if n in given else stain.vectors[i] for i, n in enumerate(names)]
    sources = ["given" if n in given else "published" for n in names]
    parts = [_absorbing(s, glass) for s in samples]
    weighted = [(p, np.linalg.norm(p, axis=1)) for p in parts if len(p)]
    if len(names) == 2 and weighted and "published" in sources:
        first, second = known
        across = _unit(first - (first @ second) * second)
        apart = float(np.arccos(np.clip(first @ second, -1, 1)))
        angle = np.concatenate([np.arctan2(p @ across, p @ second) for p, _ in weighted])
        share = np.concatenate([w / w.sum() for _, w in weighted])
        low, high = _quantiles(angle, share, (EXTREME, 1 - EXTREME))
        reach = LEEWAY * apart
        for i, (at, there) in enumerate(((min(high, apart + reach), high > apart - reach), (max(low, -reach), low < reach))):
            if sources[i] == "published" and there:
                known[i], sources[i] = np.cos(at) * second + np.sin(at) * across, "estimated"
    return replace(stain, vectors=_complete(*known)), tuple(sources)


def _absorbing(density: FloatArray, glass: DoubleArray) -> DoubleArray:
    clear = density.astype(np.float64) - glass
    return np.asarray(clear[clear.max(axis=1, initial=0) > MIN_DENSITY], np.float64)


def _quantiles(values: DoubleArray, weights: DoubleArray, shares: tuple[float, ...]) -> DoubleArray:
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order])
    return np.asarray(np.interp(np.array(shares) * below[-1], below, values[order]), np.float64)
