"""What is drawn of a section: its lesion, zones, tissue, cavity and masked area, as masks and as outlines on the slide."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from skimage.measure import find_contours

from sevhisto.config import StudyConfig
from sevhisto.export.outlines import mask_polygons
from sevhisto.rings import MADE_HERE, Shape
from sevhisto.types import BoolArray, DoubleArray, SectionView, examined

NO_CORE = 32767
"""Distance of sections without a lesion core."""
LESION = "lesion"


def zone_masks(record: SectionView, config: StudyConfig) -> dict[str, BoolArray]:
    """Return the measured tissue of each zone but ``all``, (h, w) bool; none where the section has no core.

    The tables divide full-resolution pixels, these masks are at overview resolution: their areas differ a little.
    """
    if not record.meta["has_core"]:
        return {}
    distance = record.masks["distance"]
    here = examined(record) & (distance != NO_CORE)
    ranges = {name: r for name, r in config.zones.ranges.items() if r[1] < math.inf}
    return {name: here & (distance >= low) & (distance < high) for name, (low, high) in ranges.items()}


def named_masks(record: SectionView, config: StudyConfig) -> Iterator[tuple[str, BoolArray]]:
    """Yield name and mask of everything that is outlined: the lesion under the name it is read back by, the rest marked as made here."""
    if record.meta["has_core"]:
        yield LESION, record.masks["core"] > 0
    for zone, mask in zone_masks(record, config).items():
        yield f"{MADE_HERE}zone {zone}" + ("" if zone == "core" else " um"), mask
    for name in ("tissue", "cavity", "masked"):
        yield f"{MADE_HERE}{name}", record.masks[name] > 0


def section_shapes(record: SectionView, config: StudyConfig) -> list[Shape]:
    """Return the outlines of a section in full-resolution pixels of its slide; empty ones are left out."""
    meta = record.meta
    factor, corner = float(meta["overview_factor"]), (float(meta["corner_px"][0]), float(meta["corner_px"][1]))
    shapes = [Shape(name, mask_polygons(np.asarray(mask), factor, corner)) for name, mask in named_masks(record, config)]
    return [s for s in shapes if s.polygons]


def zone_borders(record: SectionView, edges_um: Sequence[float]) -> dict[float, list[DoubleArray]]:
    """Return the lines at some distances from the core, where they cross tissue: (n, 2) y, x in full-resolution pixels of the slide.

    A line that closes ends where it began. Distances that no tissue has are left out; all are where the section has no core.
    """
    distance = record.masks["distance"]
    if not record.meta["has_core"]:
        return {}
    here = np.where((record.masks["tissue"] > 0) & (distance != NO_CORE), distance, np.nan).astype(np.float64)
    factor, corner = float(record.meta["overview_factor"]), np.asarray(record.meta["corner_px"], np.float64)
    lines = {float(edge): [(line + 0.5) * factor + corner for line in find_contours(here, edge)] for edge in edges_um}
    return {edge: found for edge, found in lines.items() if found}


def zone_of(name: str) -> str:
    """Return the zone of a shape's name, or an empty text."""
    head = f"{MADE_HERE}zone "
    return name.removeprefix(head).removesuffix(" um") if name.startswith(head) else ""


def colours(names: Mapping[str, object]) -> dict[str, tuple[int, int, int]]:
    """Return a colour per name, told apart with every common colour vision: lesion orange, zones from dark to light blue."""
    fixed = {
        LESION: (255, 149, 0),
        f"{MADE_HERE}tissue": (255, 255, 255),
        f"{MADE_HERE}cavity": (86, 180, 233),
        f"{MADE_HERE}masked": (240, 228, 66),
        "white matter": (204, 121, 167),
    }
    zones = [n for n in names if zone_of(n)]
    shades = {
        n: (0, round(60 + 140 * i / max(1, len(zones) - 1)), round(140 + 100 * i / max(1, len(zones) - 1))) for i, n in enumerate(zones)
    }
    return {n: fixed.get(n) or shades.get(n) or (200, 200, 200) for n in names}
