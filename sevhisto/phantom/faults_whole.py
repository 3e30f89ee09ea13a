"""Faults of a whole synthetic image: blur, saturation, clipping, no stain, wrong exposure, bad stitching, nothing on the slide."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sevhisto.phantom import optics
from sevhisto.phantom.faults_local import Image, Spoilt, blurred, light_of, seen, tissue_of
from sevhisto.phantom.section import PhantomSection, make_section
from sevhisto.types import FloatArray


def _whole(image: Image) -> Spoilt:
    return image, np.zeros(image.shape[1:], bool)


def defocus_all(section: PhantomSection, sigma_um: float, rng: np.random.Generator, look: str) -> Spoilt:
    """The whole section is blurred."""
    return _whole(blurred(section, np.full(section.image.shape[1:], sigma_um, np.float32), rng))


def _one(section: PhantomSection, rng: np.random.Generator) -> int:
    """Return one stained channel."""
    return int(rng.choice([i for i, m in enumerate(section.spec.markers) if m != "AF"]))


def saturated(section: PhantomSection, share: float, rng: np.random.Generator, look: str) -> Spoilt:
    """Too much light for the range; or a camera whose range ends far below that of its file, a plateau."""
    spec, k, light = section.spec, _one(section, rng), light_of(section)
    high = float(np.quantile(light[k][tissue_of(section)], 1 - share))
    if look == "plateau":
        light[k] = np.minimum(light[k], np.floor(high))
    else:
        light[k] *= max((spec.saturation - spec.offset) / max(high, 1), 1)
    return _whole(seen(spec, light))


def clipped(section: PhantomSection, share: float, rng: np.random.Generator, look: str) -> Spoilt:
    """A camera's offset so low that a share of the tissue is at 0."""
    k, image = _one(section, rng), section.image.astype(np.int32)
    image[k] -= int(np.quantile(image[k][tissue_of(section)], share))
    return _whole(np.clip(image, 0, None).astype(np.uint16))


def unstained(section: PhantomSection, left: float, rng: np.random.Generator, look: str) -> Spoilt:
    """One stain failed."""
    k = _one(section, rng)
    spec, marker = section.spec, section.spec.markers[k]
    image = section.image.copy()
    weak = spec.full_signal(marker) / spec.gain * left  # `signal` is before the gain of the batch
    image[k] = make_section(replace(spec, signal={**spec.signal, marker: weak}), section.seed, False).image[k]
    return _whole(image)


def exposure(section: PhantomSection, factor: float, rng: np.random.Generator, look: str) -> Spoilt:
    """One channel was exposed for too long or too short."""
    k, light = _one(section, rng), light_of(section)
    light[k] *= factor if look == "up" else 1 / factor
    return _whole(seen(section.spec, light))


def _fields(section: PhantomSection, rng: np.random.Generator) -> list[FloatArray]:
    """Return the place of each row and each column in fields of the camera."""
    size = section.spec.camera_field_um / section.spec.um_per_px
    return [np.asarray(np.arange(n) / size + rng.uniform(), np.float32) for n in section.image.shape[1:]]


def seam_steps(section: PhantomSection, step: float, rng: np.random.Generator, look: str) -> Spoilt:
    """Fields of the camera, or strips, brighter and darker by turns, each with a vignette; one stage moves for all channels."""
    spec, light = section.spec, light_of(section)
    place = _fields(section, rng)
    n, m = (int(p[-1]) + 1 for p in place)
    sign = np.where((np.arange(n)[:, None] + (np.arange(m)[None, :] if look == "fields" else 0)) % 2, 0.5, -0.5)
    gain = np.exp(step * (sign + 0.2 * rng.normal(size=(n, m) if look == "fields" else (n, 1)))) * np.ones((n, m))
    bow = [(p % 1 - 0.5) ** 2 * 4 * step for p in place]
    field = gain[place[0].astype(int)][:, place[1].astype(int)] * (1 + step - bow[0][:, None] - bow[1][None, :])
    return _whole(seen(spec, light * field.astype(np.float32)))


def seam_shift(section: PhantomSection, shift_um: float, rng: np.random.Generator, look: str) -> Spoilt:
    """Strips or fields, each laid beside its place; or a few rows lost between strips."""
    um, image = section.spec.um_per_px, section.image.copy()
    shift = max(1, round(shift_um / um))
    rows, columns = (p.astype(int) for p in _fields(section, rng))
    if look == "fields":
        for i in range(rows[-1] + 1):
            for j in range(columns[-1] + 1):
                angle = rng.uniform(0, 2 * np.pi)
                move = round(shift * np.sin(angle)), round(shift * np.cos(angle))
                here = np.ix_(np.arange(len(image)), np.flatnonzero(rows == i), np.flatnonzero(columns == j))
                image[here] = np.roll(section.image, move, axis=(1, 2))[here]
    elif look == "columns":
        image[:, :, columns % 2 == 1] = np.roll(section.image, shift, axis=1)[:, :, columns % 2 == 1]
    elif look == "gap":
        for i in range(1, rows[-1] + 1):
            image[:, rows == i] = np.roll(section.image, -i * shift, axis=1)[:, rows == i]
    else:
        image[:, rows % 2 == 1] = np.roll(section.image, shift, axis=2)[:, rows % 2 == 1]
    return _whole(image)


def empty(section: PhantomSection, shading: float, rng: np.random.Generator, look: str) -> Spoilt:
    """Glass alone, with the vignette of the camera; or with specks of dust, which glow in every channel."""
    spec = replace(section.spec, shading=shading)
    h, w = section.image.shape[1:]
    glass = np.full((h, w), spec.glass, np.float32)
    if look == "dust":
        yy, xx = np.mgrid[0:h, 0:w]
        for _ in range(6):
            y, x, reach = rng.uniform(0, h), rng.uniform(0, w), rng.uniform(4, 12) / spec.um_per_px
            glass[np.hypot(yy - y, xx - x) < reach] += 60
    return _whole(np.stack([optics.camera(spec, glass, m, int(rng.integers(2**31))) for m in spec.markers]))
