"""What speaks for an outline of the lesion core, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sevhisto.imaging.geometry import around, dilated
from sevhisto.types import AnyArray, BoolArray, FloatArray

NEAR_UM = 80.0
"""Just outside the core: the glial border is brightest here."""
FAR_UM = 300.0
"""Beyond that, up to here, is tissue to which the border is compared."""
RING_UM = 40.0
SIGN = 0.7
"""Of two pixels drawn at random, the one that should be brighter is, this often: less is no sign of a lesion."""
MIN_CONTRAST = 2.0
"""Brighter over darker side of the border: below it, no lesion is claimed."""
SURE = 0.5
"""Confidence below which a person should look at the outline first."""
GROUNDS = {
    "rim": (0.5, 1.0, 6.0),
    "stability": (0.8, 1.0, 5.5),
    "enclosure": (0.5, 1.0, 1.0),
}
"""Grounds of the confidence: where each is worth nothing, where all, and its weight. Logistic regression of Dice >= 0.85, wrong outlines
counting twice, on half of the seeds of synthetic sections (clean, faint, noisy, shaded, small, at the edge, with an open border, with
islands, blurred; with and without nuclei; transverse and sagittal). Noise and agreement told no more on the other half."""
BASE = -7.7
UNKNOWN = 0.6
"""Worth of a ground that could not be measured, such as the rim of a dense marker."""
_SAMPLE = 4000


@dataclass(frozen=True)
class Evidence:
    """What can be measured of an outline; NaN where there is nothing to measure it on.

    Attributes
    ----------
    contrast : brighter over darker side of the border, in the cue that draws it
    noise : the same as a difference, in robust standard deviations within the two sides
    rim : share of pairs in which tissue at the border is brighter than tissue farther out (landmark only): the glial border is a ridge
    density : share of pairs in which the inside is denser than what is around it, in nuclei or another marker; of several the best
    agreement : Dice of the outline with those that each other cue draws by itself; their mean
    stability : area with the cut 20 % nearer to the inside, over that with the cut 20 % nearer to the outside
    enclosure : share of the ring around it that lies on the far side of the cut
    """

    contrast: float
    noise: float
    rim: float
    density: float
    agreement: float
    stability: float
    enclosure: float

    @property
    def claims(self) -> bool:
        """Whether it is a lesion: grey and white matter differ too, so darkness needs a second sign, a glial border or density."""
        return self.contrast >= MIN_CONTRAST and (self.rim >= SIGN or self.density >= SIGN)

    @property
    def confidence(self) -> float:
        """How sure the outline is, 0 to 1."""
        total = BASE
        for name, (nothing, all_of_it, weight) in GROUNDS.items():
            value = getattr(self, name)
            worth = UNKNOWN if math.isnan(value) else min(max((value - nothing) / (all_of_it - nothing), 0.0), 1.0)
            total += weight * worth
        return 1 / (1 + math.exp(-total))

    @property
    def facts(self) -> dict[str, float | None]:
        """For the record."""
        return {name: None if math.isnan(v) else round(float(v), 4) for name, v in vars(self).items() if name != "contrast"}


def share_above(a: AnyArray, b: AnyArray) -> float:
    """Return how often a value of `b` is larger than one of `a`, ties half (Mann and Whitney 1947); NaN where one is empty.

    Of long arrays evenly spread values stand for all.
    """
    if a.size == 0 or b.size == 0:
        return float("nan")
    low = np.sort(a[:: max(1, a.size // _SAMPLE)])
    high = b[:: max(1, b.size // _SAMPLE)]
    rank = np.searchsorted(low, high, side="left") + np.searchsorted(low, high, side="right")
    return float(rank.mean()) / (2 * low.size)


def spread(values: AnyArray) -> float:
    """Return the robust standard deviation (1.4826 MAD); 0 of nothing."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values)))) if values.size else 0.0


def dice(a: BoolArray, b: BoolArray) -> float:
    """Return the Dice coefficient of two masks; 1 where both are empty."""
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return 2 * np.count_nonzero(a & b) / total if total else 1.0


def weigh(
    core: BoolArray, guide: FloatArray, densities: Sequence[FloatArray], solid: BoolArray, um: float, stability: float, agreement: float
) -> Evidence:
    """Return what speaks for a core.

    Parameters
    ----------
    core, solid : (h, w) bool; `solid` is tissue without cavity
    guide : (h, w) float32, the cue that draws the border, low inside: a dense one comes with its sign turned
    densities : (h, w) float32 each, cues that are high inside; the guide is not among them
    um : pixel size
    stability, agreement : as in `Evidence`
    """
    box = around(core, math.ceil(FAR_UM / um) + 2)
    core, guide, solid = core[box], guide[box], solid[box]
    reach = dilated(core, max(round(NEAR_UM / um), 1))
    inside, rim = core & solid, reach & ~core & solid
    ring = dilated(core, max(round(RING_UM / um), 1)) & ~core & solid
    far = dilated(reach, max(round((FAR_UM - NEAR_UM) / um), 1)) & ~reach & solid
    nan = float("nan")
    if not rim.any():
        return Evidence(1.0, 0.0, nan, nan, agreement, stability, 0.0)
    dense = float(guide[rim].mean()) < 0
    outer = float(np.median(guide[rim]))
    inner = float(np.median(guide[inside])) if inside.any() else 0.0  # a core that is all cavity
    bright, dark = (-inner, -outer) if dense else (outer, inner)
    noise = math.hypot(spread(guide[inside]), spread(guide[rim]))
    found = [share_above(d[box][rim | far], d[box][inside]) for d in densities]
    if dense:
        found.append(share_above(guide[inside], guide[rim | far]))
    return Evidence(
        contrast=max(bright, 1.0) / max(dark, 1.0),
        noise=(outer - inner) / max(noise, 1e-6),
        rim=nan if dense else share_above(guide[far], guide[rim]),
        density=max((v for v in found if not math.isnan(v)), default=nan),
        agreement=agreement,
        stability=stability,
        enclosure=np.count_nonzero(ring & (guide >= (inner + outer) / 2)) / max(int(ring.sum()), 1),
    )
