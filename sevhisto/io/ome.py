"""OME-XML in a TIFF: which plane is which, what the channels are called, how they were imaged, how large a pixel is."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sevhisto.io.comparable import SAME
from sevhisto.io.pixelsize import Calibration, calibration
from sevhisto.io.scene import Acquisition, broken
from sevhisto.types import SlideError

_LARGEST_XML = 2**24
_MS = {"s": 1e3, "ms": 1.0, "µs": 1e-3, "μs": 1e-3, "us": 1e-3, "ns": 1e-6}  # micro sign and Greek mu
_NOT_SCENES = {"label", "label image", "macro", "macro image", "thumbnail", "overview"}
Place = tuple[str, int]
"""A plane's file name ("" for this one) and page."""


@dataclass
class OmeImage:
    """One image of an OME-TIFF.

    Attributes
    ----------
    size : (C, Z, T); C counts samples
    planes : page of each (channel plane, z, t)
    acquisition : one per channel, or none at all
    """

    shape: tuple[int, int]
    size: tuple[int, int, int]
    names: list[str | None]
    calibration: Calibration
    bits: int | None
    planes: dict[tuple[int, int, int], Place] = field(default_factory=dict)
    acquisition: tuple[Acquisition, ...] = ()


def parse_ome(text: str, path: Path, n_pages: int, samples: int) -> list[OmeImage]:
    """Return the images that the OME-XML declares.

    Parameters
    ----------
    text : the XML
    path : the TIFF it stands in
    n_pages : pages in the TIFF
    samples : samples per pixel of its first page: one plane holds so many of SizeC

    Raises
    ------
    SlideError
        Malformed XML, a DOCTYPE, planes that the files do not hold, companion files that are absent or in another folder.
    """
    root = parse_xml(text, path, "OME-XML")
    if next(inside(root, "BinaryOnly"), None) is not None:
        raise broken(path, "its OME-XML stands in another file", "save the image as one OME-TIFF")
    images = []
    for image in inside(root, "Image"):
        pixels = next(inside(image, "Pixels"), None)
        if pixels is None or (image.get("Name") or "").strip().lower() in _NOT_SCENES:
            continue
        try:
            found = _image(pixels, root.get("UUID", ""), path, n_pages, samples)
            found.acquisition = _acquisition(root, image, pixels, found.size[0])
            images.append(found)
        except (TypeError, ValueError) as error:
            raise broken(path, f"its OME-XML has a number that is none ({error})") from error
    if not images:
        raise broken(path, "its OME-XML declares no image")
    return images


def parse_xml(text: str, path: Path, kind: str) -> ET.Element:
    """Return the root of the XML called `kind`; SlideError where it is damaged, too large, or defines entities."""
    if len(text) > _LARGEST_XML or "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise broken(path, f"its {kind} is too large or defines entities, which no microscope writes")
    try:
        return ET.fromstring(text.strip("\ufeff\0 \r\n\t"))  # noqa: S314 - entities were refused above
    except (ET.ParseError, ValueError) as error:
        raise broken(path, f"its {kind} is damaged ({error})") from error


def _acquisition(root: ET.Element, image: ET.Element, pixels: ET.Element, n: int) -> tuple[Acquisition, ...]:
    """How each of `n` channels was imaged; none where the XML says nothing."""
    objective = _objective(root, image)
    found: list[Acquisition] = []
    for i, channel in enumerate(inside(pixels, "Channel")):
        gain = _stated(channel, "DetectorSettings", "Gain")
        less = _stated(channel, "LightSourceSettings", "Attenuation")
        light = 100 * (1 - less) if less is not None and 0 <= less <= 1 else None
        one = Acquisition(_exposure_ms(pixels, i), gain, light, objective)
        found += [one] * int(channel.get("SamplesPerPixel", 1))
    return tuple(found) if len(found) == n and any(a != Acquisition() for a in found) else ()


def _exposure_ms(pixels: ET.Element, channel: int) -> float | None:
    """Exposure of a channel; None where it is not stated, has no known unit, or differs between planes."""
    times = [
        float(plane.get("ExposureTime", 0)) * _MS.get(plane.get("ExposureTimeUnit", "s"), math.nan)
        for plane in inside(pixels, "Plane")
        if plane.get("ExposureTime") is not None and int(plane.get("TheC", -1)) == channel
    ]
    if not times or not all(math.isfinite(t) and t > 0 for t in times) or max(times) - min(times) > SAME * max(times):
        return None
    return times[0]


def _objective(root: ET.Element, image: ET.Element) -> str:
    used = next((e.get("ID") for name in ("ObjectiveSettings", "ObjectiveRef") for e in inside(image, name)), None)
    lens = next((e for e in inside(root, "Objective") if used is not None and e.get("ID") == used), None)
    if lens is None:
        return ""
    power, aperture = lens.get("NominalMagnification"), lens.get("LensNA")
    return f"{float(power):g}x/{float(aperture):g}" if power and aperture else lens.get("Model", "")


def _stated(channel: ET.Element, element: str, attribute: str) -> float | None:
    value = next((e.get(attribute) for e in inside(channel, element)), None)
    number = float(value) if value else math.nan
    return number if math.isfinite(number) else None


def inside(element: ET.Element, name: str) -> Iterator[ET.Element]:
    """Elements called `name`, whatever their namespace, at any depth."""
    return (e for e in element.iter() if e.tag.rsplit("}", 1)[-1] == name)


def _image(pixels: ET.Element, uuid: str, path: Path, n_pages: int, samples: int) -> OmeImage:
    width, height, c, z, t = (int(pixels.get(f"Size{a}", 0)) for a in "XYCZT")
    if min(c, z, t) < 1 or c % samples:
        raise broken(path, f"its OME-XML declares {c} channels, {z} planes and {t} times; a page holds {samples} samples")
    parts = list(inside(pixels, "TiffData"))
    if len(list(inside(pixels, "BinData"))):
        raise broken(path, "its OME-XML holds the pixels itself", "save the image as OME-TIFF")
    names = {e.text or "" for e in inside(pixels, "UUID")} | {e.get("FileName", "") for e in inside(pixels, "UUID")}
    if (c // samples) * z * t > n_pages * max(1, len(names)):
        raise broken(path, f"its OME-XML declares {(c // samples) * z * t} planes, but the file holds {n_pages}")
    bits = pixels.get("SignificantBits")
    scale = [float(v) if (v := pixels.get(f"PhysicalSize{a}")) else None for a in "XY"]
    units = [pixels.get(f"PhysicalSize{a}Unit", "µm") for a in "XY"]
    size = calibration(scale[0], scale[1], units[0], "OME-XML")
    if units[0] != units[1]:
        size = Calibration(None, "OME-XML", f"width in {units[0]}, height in {units[1]}")
    channels = [e.get("Name") for e in inside(pixels, "Channel")]
    image = OmeImage((height, width), (c, z, t), channels, size, int(bits) if bits else None)
    image.planes = _planes(parts, pixels.get("DimensionOrder", "XYCZT"), (c // samples, z, t), n_pages, uuid, path)
    return image


def _planes(
    parts: list[ET.Element], order: str, size: tuple[int, int, int], n_pages: int, uuid: str, path: Path
) -> dict[tuple[int, int, int], Place]:
    axes = [a for a in order if a in "CZT"]
    if sorted(axes) != ["C", "T", "Z"]:
        raise broken(path, f"its OME-XML orders planes as {order!r}")
    lengths = dict(zip("CZT", size, strict=True))
    total, planes = size[0] * size[1] * size[2], dict[tuple[int, int, int], Place]()
    for part in parts:
        file = _companion(part, uuid, path)
        first = {a: int(part.get(f"First{a}", 0)) for a in "CZT"}
        page = int(part.get("IFD", 0))
        count = int(part.get("PlaneCount", 1 if part.get("IFD") is not None else total))
        at = first[axes[0]] + lengths[axes[0]] * (first[axes[1]] + lengths[axes[1]] * first[axes[2]])
        for i in range(min(count, total - at)):
            rest, key = at + i, {}
            for a in axes:
                rest, key[a] = divmod(rest, lengths[a])
            if not file and page + i >= n_pages:
                raise broken(path, f"its OME-XML refers to page {page + i + 1} of {n_pages}: planes are missing")
            planes[key["C"], key["Z"], key["T"]] = (file, page + i)
    if len(planes) != total:
        raise broken(path, f"its OME-XML places {len(planes)} of {total} planes: some are missing")
    if len(set(planes.values())) != total:
        raise broken(path, "its OME-XML uses one page for several planes: some are missing")
    return planes


def _companion(part: ET.Element, uuid: str, path: Path) -> str:
    """Name of the file beside this one that holds the planes; "" for this file."""
    element = next(inside(part, "UUID"), None)
    name = element.get("FileName", "") if element is not None else ""
    if element is None or not name or name == path.name or (uuid and (element.text or "").strip() == uuid):
        return ""
    if "/" in name or "\\" in name or name in (".", ".."):
        raise _companion_error(path, f"refers to a file in another folder ({name!r})")
    if not (path.parent / name).is_file():
        raise _companion_error(path, f"needs the file {name!r}, which is not beside it")
    return name


def _companion_error(path: Path, what: str) -> SlideError:
    return broken(path, what, "copy every file of the image into slides/, or save it as one OME-TIFF")
