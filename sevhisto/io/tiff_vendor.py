"""What scanner makers write into the descriptions of their TIFF files: QPTIFF (PerkinElmer, Akoya) and SCN (Leica)."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sevhisto.io.ome import inside, parse_xml
from sevhisto.io.pixelsize import Calibration, calibration
from sevhisto.io.scene import Acquisition, broken

_QPI, _SCN = "PerkinElmer-QPI-ImageDescription", "scn"
_KINDS = {_QPI: (".qptiff", "QPTIFF"), _SCN: (".scn", "SCN")}
_CLICKS_UM = 1000  # SCN states lengths in nanometres
Grid = dict[tuple[int, int], int]
"""The page of each (channel, z)."""


def maker_of(text: str, path: Path) -> str:
    """Return "QPTIFF", "SCN", or "" for other files; SlideError for a file that is named as one and is none."""
    for root, (suffix, kind) in _KINDS.items():
        if f"<{root}" in text[:4096]:
            return kind
        if path.name.lower().endswith(suffix):
            raise broken(path, f"is named {kind} but holds no <{root}> description", "save it again from the scanner, or as OME-TIFF")
    return ""


@dataclass(frozen=True)
class QptiffPage:
    """One page of a QPTIFF: what it shows (FullResolution, ReducedResolution, Thumbnail, Overview, Label), and of which channel."""

    kind: str
    name: str
    biomarker: str
    acquisition: Acquisition


def qptiff_page(text: str, path: Path, number: int) -> QptiffPage:
    """Return what the description of page `number` says; SlideError where it is no such description."""
    if f"<{_QPI}" not in text[:4096]:
        raise broken(path, f"page {number} has no PerkinElmer-QPI description")
    root = parse_xml(text, path, f"description of page {number}")
    facts = {e.tag: (e.text or "").strip() for e in root}
    if not facts.get("ImageType"):
        raise broken(path, f"the description of page {number} has no ImageType")
    inner = root.find("Biomarker/Name")
    biomarker = (inner.text or "").strip() if inner is not None else facts.get("Biomarker", "")
    gain = root.find("CameraSettings/Gain")
    try:
        exposure = float(facts["ExposureTime"]) / 1000 if facts.get("ExposureTime") else None  # microseconds
        stated = float(gain.text) if gain is not None and gain.text else None
    except ValueError as error:
        raise broken(path, f"the description of page {number} has a number that is none ({error})") from error
    if exposure is not None and not (math.isfinite(exposure) and exposure > 0):
        exposure = None
    return QptiffPage(facts["ImageType"], facts.get("Name", ""), biomarker, Acquisition(exposure, stated, None, facts.get("Objective", "")))


def qptiff_names(pages: Sequence[QptiffPage], path: Path) -> list[str]:
    """Return channel names that tell the channels apart: the dyes, or the biomarkers where a dye was used twice."""
    for names in ([p.name for p in pages], [p.biomarker for p in pages]):
        if all(names) and len(set(names)) == len(names):
            return names
    raise broken(
        path, "neither Name nor Biomarker tells its channels apart", "name the channels in the scanner's software and export again"
    )


@dataclass(frozen=True)
class ScnImage:
    """One image of an SCN file.

    Attributes
    ----------
    names : of the channels; none for a colour image
    planes : the pages at full resolution
    levels : the pages of each smaller copy
    """

    shape: tuple[int, int]
    calibration: Calibration
    names: list[str]
    acquisition: Acquisition
    planes: Grid
    levels: list[Grid]


def parse_scn(text: str, path: Path) -> list[ScnImage]:
    """Return the images of an SCN file without the macro, which shows the whole slide; SlideError where parts are missing."""
    root = parse_xml(text, path, "SCN description")
    found = []
    try:
        for collection in inside(root, "collection"):
            whole = _size(collection)
            for image in inside(collection, "image"):
                view = _one(image, "view")
                if _size(view) != whole:
                    found.append(_scn_image(image, view))
    except ValueError as error:
        raise broken(path, f"its SCN description is incomplete ({error})") from error
    if not found:
        raise broken(path, "its SCN description names no image but the overview of the slide")
    used = [page for image in found for grid in (image.planes, *image.levels) for page in grid.values()]
    if len(set(used)) != len(used):
        raise broken(path, "its SCN description uses one page for several images")
    return found


def _scn_image(image: ET.Element, view: ET.Element) -> ScnImage:
    pixels = _one(image, "pixels")
    height, width = _size(pixels)
    levels: dict[int, Grid] = {}
    for part in inside(pixels, "dimension"):
        grid = levels.setdefault(_number(part, "r", 0), {})
        key = (_number(part, "c", 0), _number(part, "z", 0))
        if key in grid:
            raise ValueError(f"channel {key[0]}, plane {key[1]} stands there twice")
        grid[key] = _number(part, "ifd")
        if part.get("r", "0") == "0" and _size(part) != (height, width):
            raise ValueError("the first dimension is not as large as the image")
    full = levels.pop(0, {})
    n, n_z = 1 + max((c for c, _ in full), default=-1), 1 + max((z for _, z in full), default=-1)
    if not full or len(full) != n * n_z:
        raise ValueError(f"{len(full)} of {n * n_z} planes are listed")
    tall, wide = _size(view)
    size = calibration(wide / width / _CLICKS_UM, tall / height / _CLICKS_UM, "um", "SCN")
    smaller = [grid for _, grid in sorted(levels.items()) if grid.keys() == full.keys()]
    return ScnImage((height, width), size, _scn_names(image, n), _scn_acquisition(image), full, smaller)


def _scn_names(image: ET.Element, n: int) -> list[str]:
    given = {_number(e, "index", i): e.get("name", "") for i, e in enumerate(inside(image, "channel"))}
    if n == 1 or not given:
        return []
    if sorted(given) != list(range(n)):
        raise ValueError(f"channel numbers {sorted(given)} for {n} channels")
    return [given[i] for i in range(n)]


def _scn_acquisition(image: ET.Element) -> Acquisition:
    power, aperture = ((next((e.text or "" for e in inside(image, name)), "").strip()) for name in ("objective", "numericalAperture"))
    return Acquisition(objective=f"{power}x" + (f"/{aperture}" if aperture else "") if power else "")


def _one(element: ET.Element, name: str) -> ET.Element:
    found = list(inside(element, name))
    if len(found) != 1:
        raise ValueError(f"an image has {len(found)} elements {name}")
    return found[0]


def _size(element: ET.Element) -> tuple[int, int]:
    height, width = _number(element, "sizeY"), _number(element, "sizeX")
    if height < 1 or width < 1:
        raise ValueError(f"a size of {width} x {height}")
    return height, width


def _number(element: ET.Element, name: str, default: int | None = None) -> int:
    text = element.get(name)
    if text is None and default is not None:
        return default
    if text is None or not text.strip().isdecimal():
        raise ValueError(f"{name} of {element.tag.rsplit('}', 1)[-1]} is {'missing' if text is None else repr(text)}")
    return int(text)
