"""From painted structure to grey levels: blur, autofluorescence, bleed-through, shading, seams, noise, offset, saturation."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from sevhisto.phantom.geometry import Anatomy, Mask
from sevhisto.phantom.spec import MARKERS, SectionSpec, stream
from sevhisto.phantom.structure import FULL, patches
from sevhisto.types import FloatArray

STRIP = 64  # rows that are made into grey levels at once: what fits the processor's cache


def _fit(coarse: FloatArray, shape: tuple[int, int], map_px: float) -> FloatArray:
    """Return a coarse map at full resolution, linear between its squares' centres."""
    matrix = np.array([[1 / map_px, 0, 0.5 / map_px - 0.5], [0, 1 / map_px, 0.5 / map_px - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(coarse, matrix, (shape[1], shape[0]), flags=flags, borderMode=cv2.BORDER_REPLICATE), dtype=np.float32)


def _diffuse(spec: SectionSpec, anatomy: Anatomy, marker: str) -> FloatArray | None:
    """Return the coarse part of a stain that has no structure, as a share of full brightness."""
    kind = MARKERS[marker].kind
    d = anatomy.distance
    if kind == "glia":
        outside = 0.20 - 0.08 * anatomy.grey + 0.32 * np.exp(-((np.clip(d, 0, None) / 115) ** 2))
        return np.where(d < -4, 0.02, outside).astype(np.float32)
    if kind == "fibres" and spec.injured and spec.haze:
        return (spec.haze * np.exp(-np.clip(d, 0, None) / 40)).astype(np.float32)
    return None


def _blurred(plane: FloatArray, spec: SectionSpec) -> FloatArray:
    sigma = spec.psf_um / spec.um_per_px
    return plane if sigma < 0.05 else np.asarray(cv2.GaussianBlur(plane, (0, 0), sigma, dst=plane), dtype=np.float32)


def stain_plane(spec: SectionSpec, anatomy: Anatomy, paint: Mask | None, marker: str, seed: int) -> FloatArray:
    """Return the noise-free optical image of one stain alone (grey levels, float32): what the threshold's truth is taken from."""
    full = spec.full_signal(marker)
    if paint is None or full == 0:
        return np.zeros(anatomy.frame.shape, np.float32)
    plane = np.multiply(paint, np.float32(full / FULL), dtype=np.float32)
    coarse = _diffuse(spec, anatomy, marker)
    if coarse is not None:
        base = _fit(coarse * np.float32(full), anatomy.frame.shape, anatomy.map_px)
        base *= anatomy.tissue > 0
        np.maximum(plane, base, out=plane)
        del base
    if spec.texture:
        plane *= _texture(spec, anatomy, marker, seed)
    return _blurred(plane, spec)


def _texture(spec: SectionSpec, anatomy: Anatomy, name: str, seed: int) -> FloatArray:
    """Return a factor around 1 that varies over a few um."""
    h, w = anatomy.frame.shape
    cell = max(1.0, 5 / spec.um_per_px)
    grain = patches(stream(seed, "texture", name), (h, w), round(cell))
    grain -= 0.5
    grain *= 2 * spec.texture
    grain += 1
    return grain


def autofluorescence(spec: SectionSpec, anatomy: Anatomy, glow: Mask, seed: int) -> FloatArray:
    """Return the autofluorescence of a marker with share 1: tissue, a little more in white matter, and CD68+ cells."""
    uneven = 0.8 + 0.4 * patches(stream(seed, "af"), anatomy.distance.shape, 6)
    coarse = (spec.af_tissue * uneven * (1.12 - 0.25 * anatomy.grey)).astype(np.float32)
    plane = _fit(coarse, anatomy.frame.shape, anatomy.map_px)
    plane *= anatomy.tissue > 0
    plane += np.multiply(glow, np.float32(spec.af_cell / FULL), dtype=np.float32)
    return _blurred(plane, spec)


def photons(spec: SectionSpec, marker: str, stain: FloatArray, af: FloatArray, leaks: list[tuple[float, FloatArray]]) -> FloatArray:
    """Return all light of one channel, before the camera; adds into `stain`."""
    for share, plane in leaks:
        cv2.scaleAdd(plane, share, stain, dst=stain)
    cv2.scaleAdd(af, MARKERS[marker].af_share, stain, dst=stain)
    stain += np.float32(spec.glass)
    return stain


def camera(spec: SectionSpec, light: FloatArray, marker: str, seed: int) -> npt.NDArray[np.uint16]:
    """Return 16-bit grey levels: fields with vignette and gain, shot and read noise, offset, saturation.

    Shot noise (Poisson) and read noise (normal) are drawn as one by the Cornish-Fisher form ``s z + k (z^2 - 1) / (6 s^2)``, with variance
    s^2 and third moment k: exact mean, variance and, to first order, skew, and many times faster than counting photons.
    """
    height, width = light.shape
    out = np.empty(light.shape, np.uint16)
    rng = stream(seed, "camera", marker)
    field_px = spec.camera_field_um / spec.um_per_px
    phase = rng.uniform(0, 1, 2)
    if spec.field_origin_um is not None:
        phase = -np.array(spec.field_origin_um) / spec.camera_field_um % 1
    place_y, place_x = np.arange(height) / field_px + phase[0], np.arange(width) / field_px + phase[1]
    gain = (1 + spec.seam * rng.normal(size=(int(place_y[-1]) + 1, int(place_x[-1]) + 1))).astype(np.float32)
    bow_y, bow_x = (((p % 1 - 0.5) ** 2 * 4 * spec.shading).astype(np.float32) for p in (place_y, place_x))
    for y0 in range(0, height, STRIP):
        y1 = min(height, y0 + STRIP)
        field = gain[place_y[y0:y1].astype(int)][:, place_x.astype(int)]
        field *= np.float32(1 + spec.shading) - bow_y[y0:y1, None] - bow_x[None, :]
        grey = light[y0:y1] * field
        grey += _noise(spec, grey, rng)
        grey += np.float32(spec.offset + 0.5)
        out[y0:y1] = np.clip(grey, 0, spec.saturation)
    return out


def _noise(spec: SectionSpec, grey: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return shot and read noise for light of these grey levels."""
    epg = np.float32(spec.electrons_per_grey)
    z = rng.standard_normal(grey.shape, dtype=np.float32)
    variance = grey / epg
    skew = variance / (6 * epg)
    variance += np.float32(spec.read_noise**2)
    skew /= np.maximum(variance, np.float32(1e-6))
    skew *= z * z - 1
    z *= np.sqrt(variance)
    z += skew
    return z


def bare_glass(spec: SectionSpec, n: int, rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    """Return n pixels of glass without tissue, as the camera sees them."""
    grey = np.full(n, spec.glass, np.float32)
    grey += _noise(spec, grey, rng)
    return np.asarray(np.clip(grey + np.float32(spec.offset + 0.5), 0, spec.saturation), dtype=np.uint16)
