"""Faults of histology, put into a synthetic section one at a time, with the area that they spoil.

Every fault does to the light what it does on a real slide (`faults_local`, `faults_whole`). All sizes are invented, in the order of what
slides show. Most faults have several looks: what finds one look only has learnt the drawing, not the fault.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from sevhisto.phantom import faults_local as local
from sevhisto.phantom import faults_whole as whole
from sevhisto.phantom.faults_local import Image
from sevhisto.phantom.section import PhantomSection
from sevhisto.phantom.spec import stream
from sevhisto.registry import did_you_mean
from sevhisto.types import BoolArray, Problem, SevhistoError

STRENGTHS = ("weak", "middle", "strong")


@dataclass
class FaultySection:
    """A section with one fault: its image (channels, h, w) uint16, the area that it spoils (h, w) bool, its look, and the clean section.

    The area is empty for a fault of the whole image.
    """

    clean: PhantomSection
    image: Image
    area: BoolArray
    look: str


@dataclass(frozen=True)
class Fault:
    """One fault: what puts it in, given the section, a size per strength, random numbers and a look; the three sizes; the looks."""

    put: Callable[[PhantomSection, float, np.random.Generator, str], tuple[Image, BoolArray]]
    sizes: tuple[float, float, float]
    looks: tuple[str, ...]
    what: str


def inject(section: PhantomSection, fault: str, strength: str = "middle", seed: int = 0, look: str = "") -> FaultySection:
    """Return a section with a fault put in; `section` itself is not changed.

    Parameters
    ----------
    fault : a name of `FAULTS`
    strength : weak, middle or strong
    seed : where it lies; independent of the section's own seed
    look : one of the fault's looks; empty draws one

    Raises
    ------
    SevhistoError : no such fault, strength or look
    """
    if fault not in FAULTS:
        raise SevhistoError(Problem("phantom fault", f"unknown {fault!r}", did_you_mean(fault, list(FAULTS))))
    chosen = FAULTS[fault]
    for what, name, known in (("strength", strength, STRENGTHS), ("look", look, ("", *chosen.looks))):
        if name not in known:
            raise SevhistoError(Problem("phantom fault", f"unknown {what} {name!r} of {fault}", did_you_mean(name, list(known))))
    rng = stream(section.seed, "fault", fault, seed)
    look = look or str(rng.choice(chosen.looks))
    image, area = chosen.put(section, chosen.sizes[STRENGTHS.index(strength)], rng, look)
    return FaultySection(section, image, area, look)


FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        "defocus": Fault(local.defocus, (2.0, 4.0, 8.0), ("half", "patch", "tilt"), "sigma (um) of the blur of a part of the section"),
        "defocus_all": Fault(whole.defocus_all, (2.0, 4.0, 8.0), ("all",), "sigma (um) of the blur of the whole section"),
        "fold": Fault(
            local.fold, (30.0, 60.0, 120.0), ("flap", "pleat", "border"), "width (um) of tissue lying double or, in a pleat, three times"
        ),
        "bubble": Fault(
            local.bubble, (60.0, 120.0, 200.0), ("bright_rim", "dark_rim", "two_rims", "dark", "edge"), "radius (um) of a disc of air"
        ),
        "tear": Fault(local.tear, (25.0, 60.0, 120.0), ("border", "inside"), "width (um) of a gap"),
        "missing": Fault(
            local.missing, (60.0, 150.0, 300.0), ("square", "strip", "one_channel", "filled"), "side (um) of what was not written"
        ),
        "saturated": Fault(
            whole.saturated, (0.002, 0.01, 0.05), ("gain", "plateau"), "share of the tissue at the top of one channel's range"
        ),
        "clipped": Fault(whole.clipped, (0.01, 0.05, 0.25), ("offset",), "share of the tissue at 0 in one channel"),
        "unstained": Fault(whole.unstained, (0.2, 0.05, 0.0), ("stain",), "share of one stain that is left"),
        "exposure": Fault(whole.exposure, (1.6, 2.5, 4.0), ("up", "down"), "factor on one channel's light, up or down"),
        "seam_steps": Fault(
            whole.seam_steps, (0.05, 0.15, 0.3), ("fields", "strips"), "step of the gain between camera fields, and depth of their vignette"
        ),
        "seam_shift": Fault(
            whole.seam_shift, (5.0, 15.0, 40.0), ("rows", "columns", "fields", "gap"), "shift (um) of every other strip or field"
        ),
        "empty": Fault(whole.empty, (0.0, 0.1, 0.3), ("glass", "dust"), "glass without tissue; depth of the vignette"),
    }
)
