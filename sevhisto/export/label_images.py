"""OME-Zarr and OME-TIFF: zones and regions of each section as label images, at full resolution, with as many levels as the image."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import tifffile

from sevhisto.export.given import GivenSlide, PlacedSection, slide_formats
from sevhisto.export.label_tiles import TILE, Labels, zlib_stream
from sevhisto.export.regions import colours
from sevhisto.export.text import printable
from sevhisto.export.zarr_v2 import write_array, write_group
from sevhisto.rings import MADE_HERE
from sevhisto.types import AnyArray, SectionView, decode_thumbnail

_YX = [{"name": "y", "type": "space", "unit": "micrometer"}, {"name": "x", "type": "space", "unit": "micrometer"}]


_LEVELS = np.rint(decode_thumbnail(np.arange(256, dtype=np.uint8))).astype(np.uint16)
"""Grey level of each code of a thumbnail."""


def pyramid(image: AnyArray, n: int) -> Iterator[AnyArray]:
    """Yield n levels of an image (c, h, w) uint16: means of 2 x 2 pixels, the odd last row or column repeated."""
    yield image
    for _ in range(n - 1):
        odd = [(0, s % 2) for s in image.shape[1:]]
        even = np.pad(image, [(0, 0), *odd], mode="edge") if any(last for _, last in odd) else image
        rows = np.add(even[:, ::2], even[:, 1::2], dtype=np.uint32)
        image = np.rint((rows[..., ::2] + rows[..., 1::2]) / np.float32(4)).astype(np.uint16)
        yield image


def _corner_um(record: SectionView, factor: int) -> tuple[float, float]:
    """Return the middle (y, x) of the first pixel, which stands for `factor` x `factor` of full resolution, in um of the slide."""
    y, x = ((c + (factor - 1) / 2) * float(record.meta["um_per_px"]) for c in record.meta["corner_px"])
    return y, x


def _title(section: PlacedSection) -> str:
    return printable(f"{section.animal} {section.section}, panel {section.panel}")


# ---------------------------------------------------------------- OME-Zarr


@slide_formats.register("ome-zarr")
def ome_zarr(given: GivenSlide, folder: Path) -> list[str]:
    """Write a .zarr (NGFF 0.4) per section: the overview (corrected intensity, grey levels) with labels at full resolution, in um.

    Image and labels have as many levels, as NGFF asks for; those of the image begin at the overview's pixels.
    """
    for section, record, every, name in zip(given.slide.sections, given.views, given.labels, given.names, strict=True):
        root, um, factor = folder / f"{name}.zarr", float(record.meta["um_per_px"]), int(record.meta["overview_factor"])
        codes = np.ascontiguousarray(np.moveaxis(record.masks["thumbnail"], -1, 0))
        image = _LEVELS[codes]
        n = len(every[0].levels)
        channels = [
            {"label": printable(m), "active": True, "color": "FFFFFF", "window": _window(codes[i])} for i, m in enumerate(record.markers)
        ]
        title, axes = _title(section), [{"name": "c", "type": "channel"}, *_YX]
        shown = {"name": title, "version": "0.4", "channels": channels, "rdefs": {"model": "color"}}
        scales = _multiscale(title, axes, n, um * factor, _corner_um(record, factor))
        write_group(root, {"multiscales": [scales], "omero": shown, "sevhisto": list(given.notes)})
        for i, level in enumerate(pyramid(image, n)):
            _write_image(root / str(i), level)
        write_group(root / "labels", {"labels": [one.name for one in every]})
        for one in every:
            scales = _multiscale(one.name, list(_YX), n, um, _corner_um(record, 1), middle=True)
            write_group(root / "labels" / one.name, {"multiscales": [scales], "image-label": _image_label(one)})
            for i, tiled in enumerate(one.levels):
                across = -(-tiled.shape[1] // tiled.side)
                chunks = ((divmod(k, across), tile) for k, tile in enumerate(tiled.tiles))
                write_array(root / "labels" / one.name / str(i), tiled.shape, (tiled.side, tiled.side), "|u1", chunks)
    return ["labels have the pixels of the slide, the image beside them those of the overview; scale and translation put both on the slide"]


def _write_image(folder: Path, image: AnyArray) -> None:
    """Write (n, h, w) uint16, a chunk per channel, in squares of 1024."""
    side = (min(image.shape[1], TILE), min(image.shape[2], TILE))

    def chunks() -> Iterator[tuple[tuple[int, ...], bytes]]:
        for c, y, x in product(range(len(image)), *(range(0, n, s) for n, s in zip(image.shape[1:], side, strict=True))):
            part = image[c, y : y + side[0], x : x + side[1]]
            whole = np.zeros(side, "<u2")
            whole[: part.shape[0], : part.shape[1]] = part
            yield (c, y // side[0], x // side[1]), zlib_stream(whole)

    write_array(folder, image.shape, (1, *side), "<u2", chunks())


def _multiscale(
    name: str, axes: list[dict[str, str]], n: int, size: float, corner: tuple[float, float], middle: bool = False
) -> dict[str, Any]:
    """Return where n levels lie; `middle` : their pixels show the middle one of those that they stand for, not the mean."""
    ones, zeros = [1.0] * (len(axes) - 2), [0.0] * (len(axes) - 2)
    sets = []
    for i in range(n):
        place = [c + size * (2**i // 2 if middle else (2**i - 1) / 2) for c in corner]
        scale = {"type": "scale", "scale": [*ones, size * 2**i, size * 2**i]}
        sets.append({"path": str(i), "coordinateTransformations": [scale, {"type": "translation", "translation": [*zeros, *place]}]})
    return {"version": "0.4", "name": name, "axes": axes, "datasets": sets}


def _window(codes: AnyArray) -> dict[str, float]:
    share = np.cumsum(np.bincount(codes.ravel(), minlength=256)) / max(codes.size, 1)
    top = float(_LEVELS[min(int(np.searchsorted(share, 0.998)), 255)])
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
    """Write a .ome.tif per section with two channels of labels, zones and regions, at full resolution with levels.

    Its description names the values.
    """
    for section, record, every, name in zip(given.slide.sections, given.views, given.labels, given.names, strict=True):
        um, corner = float(record.meta["um_per_px"]), _corner_um(record, 1)
        named = {one.name: {str(v): text for v, text in one.names.items()} for one in every}
        about = json.dumps({"labels": named, "notes": list(given.notes)}, ensure_ascii=False)
        metadata = _ome(_title(section), about, every, um, corner) | {"UUID": str(uuid5(NAMESPACE_URL, section.record))}
        with tifffile.TiffWriter(folder / f"{name}.ome.tif", ome=True) as tif:
            for i, levels in enumerate(zip(*(one.levels for one in every), strict=True)):
                first = {"subifds": len(every[0].levels) - 1, "metadata": metadata} if i == 0 else {"subfiletype": 1, "metadata": None}
                tif.write(
                    (tile for level in levels for tile in level.tiles),
                    shape=(len(levels), *levels[0].shape),
                    dtype=np.uint8,
                    tile=(levels[0].side, levels[0].side),
                    resolution=(1e4 / um / 2**i, 1e4 / um / 2**i),
                    resolutionunit="CENTIMETER",
                    photometric="minisblack",
                    compression="zlib",
                    **first,
                )
    return []


def _ome(title: str, about: str, every: Sequence[Labels], size: float, corner: tuple[float, float]) -> dict[str, Any]:
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
