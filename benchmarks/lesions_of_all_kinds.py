"""What injured sections look like besides the plain phantom: changes to its light, for accuracy_lesion.py.

Each takes the light (c, h, w; grey levels above the camera's offset; GFAP is channel `g`), the section and random numbers, and returns the
light. The true core stays as it is, except where a part of the section is cut away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np

from sevhisto.phantom import PhantomSection
from sevhisto.phantom.faults import inject
from sevhisto.types import BoolArray, FloatArray

RIDGE, BASE, REACH_UM = 0.32, 0.20, 115.0  # the phantom's glial border, and its GFAP elsewhere
Change = Callable[[FloatArray, PhantomSection, int, np.random.Generator], FloatArray]


def _fit(values: FloatArray, section: PhantomSection) -> FloatArray:
    h, w = section.image.shape[1:]
    return np.asarray(cv2.resize(values.astype(np.float32), (w, h), interpolation=cv2.INTER_LINEAR), np.float32)


def _distance(section: PhantomSection) -> FloatArray:
    return _fit(np.nan_to_num(section.truth.anatomy.distance, posinf=1e6), section)


def _ridge(section: PhantomSection) -> FloatArray:
    """Return the border's share of the light outside the core, 0 to 1 (h, w)."""
    d = _distance(section)
    g = RIDGE * np.exp(-((np.clip(d, 0, None) / REACH_UM) ** 2))
    return np.asarray(np.where(d > 0, g / (BASE + g), 0), np.float32)


def _around(section: PhantomSection) -> FloatArray:
    """Return the angle of each pixel about the core's middle (h, w)."""
    core = section.truth.core_mask(with_cavity=True)
    y, x = (float(v.mean()) for v in np.nonzero(core)) if core.any() else (core.shape[0] / 2, core.shape[1] / 2)
    yy, xx = np.mgrid[0 : core.shape[0], 0 : core.shape[1]].astype(np.float32)
    return np.asarray(np.arctan2(yy - y, xx - x), np.float32)


def weak_border(light: FloatArray, section: PhantomSection, g: int, rng: np.random.Generator) -> FloatArray:
    """A third of the glial border."""
    light[g] *= 1 - 0.67 * _ridge(section)
    return light


def no_border(light: FloatArray, section: PhantomSection, g: int, rng: np.random.Generator) -> FloatArray:
    """No glial border, as days after the injury: the core is dark and dense only."""
    light[g] *= 1 - _ridge(section)
    return light


def broken_border(light: FloatArray, section: PhantomSection, g: int, rng: np.random.Generator) -> FloatArray:
    """No border along a sector of 40 to 110 degrees."""
    away = np.abs((_around(section) - rng.uniform(-np.pi, np.pi) + np.pi) % (2 * np.pi) - np.pi)
    light[g] *= 1 - _ridge(section) * (away < np.radians(rng.uniform(20, 55)))
    return light


def reactive(light: FloatArray, section: PhantomSection, g: int, rng: np.random.Generator) -> FloatArray:
    """GFAP as bright everywhere as at the border."""
    d = _distance(section)
    lifted = (BASE + RIDGE) / (BASE + RIDGE * np.exp(-((np.clip(d, 0, None) / REACH_UM) ** 2)))
    light[g] *= np.where(d > 0, lifted, 1)
    return light


def islands(light: FloatArray, section: PhantomSection, g: int, rng: np.random.Generator) -> FloatArray:
    """Two to five islands of glia, 60 to 140 um wide, within the core."""
    core = section.truth.core_mask()
    if not core.any():
        return light
    level = float(np.percentile(light[g][section.truth.anatomy.tissue > 0], 75))
    places = np.argwhere(core)
    where = np.zeros(core.shape, np.float32)
    for y, x in places[rng.integers(len(places), size=int(rng.integers(2, 6)))]:
        cv2.circle(where, (int(x), int(y)), round(rng.uniform(30, 70) / section.spec.um_per_px), 1.0, -1)
    light[g] += level * cv2.GaussianBlur(where * core, (0, 0), 4)
    return light


def grey_and_white(light: FloatArray, section: PhantomSection, g: int, rng: np.random.Generator) -> FloatArray:
    """White matter 2 to 4 times as bright as grey matter, or the other way round."""
    grey = _fit(section.truth.anatomy.grey, section)
    times = rng.uniform(2, 4)
    light[g] *= np.where(_distance(section) > 0, 1 + (times - 1) * (grey if rng.random() < 0.5 else 1 - grey), 1)
    return light


def shaded(light: FloatArray, section: PhantomSection, g: int, rng: np.random.Generator) -> FloatArray:
    """Light that falls to a quarter across the section, in all channels."""
    h, w = light.shape[1:]
    yy, xx = np.mgrid[0:h, 0:w].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    slope = (xx / w - 0.5) * np.cos(angle) + (yy / h - 0.5) * np.sin(angle)
    return np.asarray(light * (0.625 + 0.75 * np.clip(slope, -0.5, 0.5)), np.float32)


def noisy(light: FloatArray, section: PhantomSection, g: int, rng: np.random.Generator) -> FloatArray:
    """Tissue stands 3 standard deviations of an overview pixel above the glass."""
    for plane in light:
        sd = float(np.median(plane[section.truth.anatomy.tissue > 0])) / 3
        plane += 2 * sd * rng.standard_normal(plane.shape, np.float32)  # averaged over 2 x 2 pixels
    return light


def blurred(light: FloatArray, section: PhantomSection, g: int, rng: np.random.Generator) -> FloatArray:
    """Out of focus: a sigma of 10 to 20 um."""
    sigma = float(rng.uniform(10, 20)) / section.spec.um_per_px
    return np.stack([cv2.GaussianBlur(p, (0, 0), sigma) for p in light])


def _faulty(fault: str) -> Change:
    def change(light: FloatArray, section: PhantomSection, g: int, rng: np.random.Generator) -> FloatArray:
        image = inject(section, fault, str(rng.choice(["weak", "middle", "strong"])), int(rng.integers(1 << 16))).image
        return np.asarray(image.astype(np.float32) - np.float32(section.spec.offset), np.float32)

    return change


def partial(shape: tuple[int, int], core: BoolArray, rng: np.random.Generator) -> tuple[slice, slice]:
    """Return what is left of a section of which a side is missing, through the core's edge or beside it."""
    rows, columns = np.flatnonzero(core.any(axis=1)), np.flatnonzero(core.any(axis=0))
    cut = round(rng.uniform(-0.1, 0.3) * (columns[-1] - columns[0])) if core.any() else round(0.2 * shape[1])
    first = max(int(columns[0]) + cut, 0) if len(rows) else cut
    return (slice(None), slice(first, None)) if rng.random() < 0.5 or not len(rows) else (slice(None), slice(0, int(columns[-1]) + 1 - cut))


CHANGES: Mapping[str, Change] = MappingProxyType(
    {
        "weak border": weak_border,
        "no border": no_border,
        "broken border": broken_border,
        "reactive": reactive,
        "islands": islands,
        "grey and white": grey_and_white,
        "shaded": shaded,
        "noisy": noisy,
        "blurred": blurred,
        **{fault: _faulty(fault) for fault in ("fold", "tear", "bubble", "defocus")},
    }
)
"""Changes to the light by the name of a kind."""
