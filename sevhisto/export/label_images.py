"""OME-Zarr and OME-TIFF: zones and regions of each section as label images, at overview resolution, with as many levels as the image."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import tifffile

from sevhisto.config import StudyConfig
from sevhisto.export.given import GivenSlide, PlacedSection, slide_formats
from sevhisto.export.needed import needed
from sevhisto.export.regions import colours, zone_masks
from sevhisto.export.text import printable
from sevhisto.rings import MADE_HERE
from sevhisto.types import AnyArray, SectionView, decode_thumbnail

SMALLEST = 128
"""Levels are halved until the longer side is at most this."""
REGIONS = ("tissue", "cavity", "masked")
_YX = [{"name": "y", "type": "space", "unit": "micrometer"}, {"name": "x", "type": "space", "unit": "micrometer"}]


@dataclass(frozen=True)
class Labels:
    """A label image: (h, w) uint8, 0 is none, and the name of each value."""

    name: str
    image: AnyArray
    names: Mapping[int, str]


def section_labels(record: SectionView, config: StudyConfig) -> list[Labels]:
    """Return the labels of a section: ``zones`` (the core is 1, then outwards) and ``regions`` (tissue 1, cavity 2, masked 3)."""
    zones, regions = np.zeros(record.masks["tissue"].shape, np.uint8), np.zeros(record.masks["tissue"].shape, np.uint8)
    for i, mask in enumerate(zone_masks(record, config).values(), 1):
        zones[mask] = i
    for i, name in enumerate(REGIONS, 1):
        regions[record.masks[name] > 0] = i
    names = [name for name in config.zones.ranges if name != "all"]
    return [Labels("zones", zones, dict(enumerate(names, 1))), Labels("regions", regions, dict(enumerate(REGIONS, 1)))]


def levels_of(shape: tuple[int, ...]) -> int:
    """Return how many levels an image of this shape gets."""
    return 1 + max(0, int(np.ceil(np.log2(max(max(shape[-2:]), 1) / SMALLEST))))


def pyramid(image: AnyArray, n: int) -> Iterator[AnyArray]:
    """Yield n levels of an image (..., h, w): means of 2 x 2 pixels, the odd last row or column repeated."""
    yield image
    for _ in range(n - 1):
        odd = [(0, 0)] * (image.ndim - 2) + [(0, s % 2) for s in image.shape[-2:]]
        even = np.pad(image, odd, mode="edge").astype(np.float32)
        mean = (even[..., ::2, ::2] + even[..., 1::2, ::2] + even[..., ::2, 1::2] + even[..., 1::2, 1::2]) / 4
        image = np.rint(mean).astype(image.dtype)
        yield image


def label_pyramid(labels: AnyArray, n: int) -> Iterator[AnyArray]:
    """Yield n levels of labels: every second pixel, so that no label is made up."""
    for i in range(n):
        yield labels[:: 2**i, :: 2**i]


def _place(record: SectionView) -> tuple[float, tuple[float, float]]:
    """Return pixel size and the middle of the first pixel (y, x), um of the slide."""
    um, factor = float(record.meta["um_per_px"]), int(record.meta["overview_factor"])
    y, x = ((c + (factor - 1) / 2) * um for c in record.meta["corner_px"])
    return um * factor, (y, x)


def _sections(given: GivenSlide) -> Iterator[tuple[PlacedSection, SectionView, str]]:
    yield from zip(given.slide.sections, given.views, given.names, strict=True)


# ---------------------------------------------------------------- OME-Zarr


@slide_formats.register("ome-zarr")
def ome_zarr(given: GivenSlide, folder: Path) -> list[str]:
    """Write a .zarr (NGFF 0.4) per section: the overview (corrected intensity, grey levels) with its labels, both in um of the slide."""
    zarr = needed("zarr", "ome-zarr")
    for section, record, name in _sections(given):
        size, corner = _place(record)
        image = np.rint(decode_thumbnail(np.moveaxis(record.masks["thumbnail"], -1, 0))).astype(np.uint16)
        n = levels_of(image.shape)
        root = zarr.open_group(folder / f"{name}.zarr", mode="w", zarr_format=2)
        _write_levels(root, pyramid(image, n))
        channels = [
            {"label": printable(m), "active": True, "color": "FFFFFF", "window": _window(image[i])} for i, m in enumerate(record.markers)
        ]
        title = printable(f"{section.animal} {section.section}, panel {section.panel}")
        axes = [{"name": "c", "type": "channel"}, *_YX]
        shown = {"name": title, "version": "0.4", "channels": channels, "rdefs": {"model": "color"}}
        root.attrs.put({"multiscales": [_multiscale(title, axes, n, size, corner)], "omero": shown, "sevhisto": given.notes})
        every = section_labels(record, given.config)
        labels = root.create_group("labels")
        labels.attrs.put({"labels": [one.name for one in every]})
        for one in every:
            group = labels.create_group(one.name)
            _write_levels(group, label_pyramid(one.image, n))
            scales = _multiscale(one.name, list(_YX), n, size, corner)
            group.attrs.put({"multiscales": [scales], "image-label": _image_label(one)})
    return ["labels have overview resolution; scale and translation put them on the slide, in um"]


def _write_levels(group: Any, levels: Iterator[AnyArray]) -> None:
    for i, level in enumerate(levels):
        chunks = (1,) * (level.ndim - 2) + tuple(min(s, 1024) for s in level.shape[-2:])
        keys = {"name": "v2", "separator": "/"}
        array = group.create_array(str(i), shape=level.shape, chunks=chunks, dtype=level.dtype, chunk_key_encoding=keys, fill_value=0)
        array[...] = level


def _multiscale(name: str, axes: list[dict[str, str]], n: int, size: float, corner: tuple[float, float]) -> dict[str, Any]:
    ones, zeros = [1.0] * (len(axes) - 2), [0.0] * (len(axes) - 2)
    sets = []
    for i in range(n):
        place = [c + size * (2**i - 1) / 2 for c in corner]
        scale = {"type": "scale", "scale": [*ones, size * 2**i, size * 2**i]}
        sets.append({"path": str(i), "coordinateTransformations": [scale, {"type": "translation", "translation": [*zeros, *place]}]})
    return {"version": "0.4", "name": name, "axes": axes, "datasets": sets}


def _window(channel: AnyArray) -> dict[str, float]:
    top = float(np.percentile(channel, 99.8))
    return {"start": 0.0, "end": max(top, 1.0), "min": 0.0, "max": 65535.0}


def _image_label(labels: Labels) -> dict[str, Any]:
    shades = colours({_region(labels, v): v for v in labels.names})
    rgba = [{"label-value": v, "rgba": [*shades[_region(labels, v)], 255]} for v in labels.names]
    properties = [{"label-value": v, "name": name} for v, name in labels.names.items()]
    return {"version": "0.4", "colors": rgba, "properties": properties, "source": {"image": "../../"}}


def _region(labels: Labels, value: int) -> str:
    return f"{MADE_HERE}{'zone ' if labels.name == 'zones' else ''}{labels.names[value]}"


# ---------------------------------------------------------------- OME-TIFF


@slide_formats.register("ome-tiff")
def ome_tiff(given: GivenSlide, folder: Path) -> list[str]:
    """Write a .ome.tif per section with two channels of labels, zones and regions, as a pyramid; its description names the values."""
    for section, record, name in _sections(given):
        every = section_labels(record, given.config)
        size, corner = _place(record)
        n = levels_of(every[0].image.shape)
        levels = [np.stack(level) for level in zip(*(label_pyramid(one.image, n) for one in every), strict=True)]
        title = printable(f"{section.animal} {section.section}, panel {section.panel}")
        named = {one.name: {str(v): text for v, text in one.names.items()} for one in every}
        about = json.dumps({"labels": named, "notes": given.notes}, ensure_ascii=False)
        with tifffile.TiffWriter(folder / f"{name}.ome.tif", ome=True) as tif:
            resolution = (1e4 / size, 1e4 / size)
            common = {"photometric": "minisblack", "compression": "zlib", "tile": (256, 256), "resolutionunit": "CENTIMETER"}
            tif.write(
                levels[0],
                subifds=n - 1,
                metadata=_ome(title, about, every, size, corner) | {"UUID": str(uuid5(NAMESPACE_URL, section.record))},
                resolution=resolution,
                **common,
            )
            for i, level in enumerate(levels[1:], 1):
                tif.write(level, subfiletype=1, metadata=None, resolution=tuple(r / 2**i for r in resolution), **common)
    return []


def _ome(title: str, about: str, every: list[Labels], size: float, corner: tuple[float, float]) -> dict[str, Any]:
    places = {"PositionX": [corner[1]] * len(every), "PositionY": [corner[0]] * len(every)}
    units = {"PositionXUnit": ["µm"] * len(every), "PositionYUnit": ["µm"] * len(every)}
    return {
        "axes": "CYX",
        "Name": title,
        "Description": printable(about),
        "PhysicalSizeX": size,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": size,
        "PhysicalSizeYUnit": "µm",
        "Channel": {"Name": [one.name for one in every]},
        "Plane": {**places, **units},
    }
