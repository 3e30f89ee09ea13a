"""Brightfield stains: colour to amount of each stain, in milli optical density."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from skimage import color

from sevhisto.registry import Registry
from sevhisto.types import AnyArray, DoubleArray, FloatArray


@dataclass(frozen=True)
class Stain:
    """Stains that are seen together, with the optical density of each in red, green and blue.

    Attributes
    ----------
    components : names, as `channel` in study.toml gives them
    vectors : (3, 3) float64; one row per component, and a residual row where there are fewer than three
    """

    components: tuple[str, ...]
    vectors: DoubleArray


stains: Registry[Stain] = Registry("stain")


def _complete(*rows: tuple[float, float, float]) -> DoubleArray:
    unit = np.array([np.array(r) / np.linalg.norm(r) for r in rows])
    if len(unit) == 2:
        residual = np.cross(unit[0], unit[1])
        unit = np.vstack([unit, residual / np.linalg.norm(residual)])
    return unit


# Ruifrok & Johnston 2001 and Landini's collection, as scikit-image ships them
stains.register("hematoxylin_dab")(Stain(("hematoxylin", "dab"), _complete(tuple(color.rgb_from_hdx[0]), tuple(color.rgb_from_hdx[1]))))
stains.register("hematoxylin_eosin_dab")(Stain(("hematoxylin", "eosin", "dab"), _complete(*(tuple(r) for r in color.rgb_from_hed))))
stains.register("masson")(Stain(("collagen", "cytoplasm"), _complete(tuple(color.rgb_from_bpx[0]), tuple(color.rgb_from_bpx[1]))))
# Estimated from one real tile (liver, tile02_PSR of github.com/mfarzi/liverquant): collagen is the median optical density of the densest
# tenth of its collagen mask, red with the picric acid that lies under it; picric is the median of the parenchyma 20 px and more from any
# collagen. A pure red (fast red) with a pure yellow leaves that brownish parenchyma a third as red as the fibres.
stains.register("picrosirius")(Stain(("collagen", "picric"), _complete((0.190, 0.651, 0.735), (0.214, 0.416, 0.884))))


def optical_density(rgb: AnyArray) -> FloatArray:
    """Return milli optical density of 8-bit colour, float32, same shape; one grey level is added so that black stays finite."""
    return np.asarray(-1000 * np.log10((rgb.astype(np.float32) + 1) / 256), np.float32)


def unmix_stains(rgb: AnyArray, stain: Stain, components: tuple[str, ...]) -> FloatArray:
    """Return the amount of each wanted component, shape (n, h, w) float32, in milli optical density along its vector.

    Parameters
    ----------
    rgb : (3, h, w) uint8
    components : wanted components, each one of ``stain.components``
    """
    weights = np.linalg.inv(stain.vectors)  # od = amounts @ vectors
    columns = [stain.components.index(c) for c in components]
    return np.asarray(np.tensordot(weights[:, columns].T.astype(np.float32), optical_density(rgb), axes=1), np.float32)
