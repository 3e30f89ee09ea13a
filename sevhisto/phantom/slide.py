"""Several synthetic sections on one slide, as a tiled, pyramidal OME-TIFF whose bytes depend on nothing but the sections."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import quoteattr

import cv2
import numpy as np
import numpy.typing as npt
import tifffile

from sevhisto.phantom import optics
from sevhisto.phantom.section import PhantomSection
from sevhisto.phantom.spec import stream
from sevhisto.types import Problem, SevhistoError

TILE = 512
_OME = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


def slide_layout(shapes: Sequence[tuple[int, int]], columns: int, padding: int) -> tuple[tuple[int, int], list[tuple[int, int]]]:
    """Return the canvas (height, width) and each section's top left corner (y, x): rows from the top, sections centred in their cell."""
    if not shapes or columns < 1 or padding < 0:
        raise SevhistoError(Problem("phantom slide", "needs a section, a column and padding of 0 or more", "correct the layout"))
    columns = min(columns, len(shapes))
    rows = [shapes[i : i + columns] for i in range(0, len(shapes), columns)]
    wide = [max(row[c][1] for row in rows if c < len(row)) for c in range(columns)]
    high = [max(s[0] for s in row) for row in rows]
    place = []
    for r, row in enumerate(rows):
        for c, (h, w) in enumerate(row):
            y = padding * (r + 1) + sum(high[:r]) + (high[r] - h) // 2
            place.append((y, padding * (c + 1) + sum(wide[:c]) + (wide[c] - w) // 2))
    return (sum(high) + padding * (len(high) + 1), sum(wide) + padding * (columns + 1)), place


def write_slide(
    path: Path | str,
    sections: Sequence[PhantomSection],
    padding_um: float = 100.0,
    columns: int = 3,
    channel_names: Sequence[str] | None = None,
) -> list[tuple[int, int]]:
    """Write sections on glass, in slide order (left to right, top to bottom); return each one's offset (y, x) in px.

    A point of a section's truth (x, y) lies at (x + offset x, y + offset y) on the slide. Rotation is a setting of the section, so that
    nothing is resampled. One section with padding 0 is written without a copy.

    Parameters
    ----------
    path : ends in .ome.tif
    sections : of the same markers and pixel size
    channel_names : names in the file, in marker order; the markers where not given

    Raises
    ------
    SevhistoError : sections that do not fit on one slide
    """
    first = sections[0].spec if sections else None
    if first is None or any((s.spec.markers, s.spec.um_per_px) != (first.markers, first.um_per_px) for s in sections):
        raise SevhistoError(Problem("phantom slide", "sections differ in markers or pixel size, or there is none", "put like with like"))
    names = tuple(channel_names or first.markers)
    if len(names) != len(first.markers):
        raise SevhistoError(Problem("phantom slide", f"{len(names)} channel names for {len(first.markers)} markers", "name each channel"))
    shape, place = slide_layout([s.truth.anatomy.frame.shape for s in sections], columns, round(padding_um / first.um_per_px))
    if len(sections) == 1 and place[0] == (0, 0):
        _write(Path(path), sections[0].image, names, first.um_per_px)
        return place
    canvas = np.zeros((len(names), *shape), np.uint16)
    bare = np.ones(shape, dtype=bool)
    for section, (y, x) in zip(sections, place, strict=True):
        h, w = section.image.shape[1:]
        canvas[:, y : y + h, x : x + w] = section.image
        bare[y : y + h, x : x + w] = False
    n = int(np.count_nonzero(bare))
    for k, marker in enumerate(first.markers):
        canvas[k][bare] = optics.bare_glass(first, n, stream(sections[0].seed, "glass", marker))
    _write(Path(path), canvas, names, first.um_per_px)
    return place


def ome_xml(names: Sequence[str], shape: tuple[int, int], um_per_px: float) -> str:
    """Return OME metadata without dates or random ids."""
    channels = "".join(f'<Channel ID="Channel:0:{i}" Name={quoteattr(n)} SamplesPerPixel="1"/>' for i, n in enumerate(names))
    planes = "".join(f'<TiffData IFD="{i}" FirstC="{i}" PlaneCount="1"/>' for i in range(len(names)))
    schema = f'xmlns="{_OME}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="{_OME} {_OME}/ome.xsd"'
    size = f'SizeX="{shape[1]}" SizeY="{shape[0]}" SizeC="{len(names)}" SizeZ="1" SizeT="1"'
    physical = f'PhysicalSizeX="{um_per_px:.10g}" PhysicalSizeXUnit="um" PhysicalSizeY="{um_per_px:.10g}" PhysicalSizeYUnit="um"'
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><OME {schema} Creator="sevhisto phantom"><Image ID="Image:0" Name="synthetic">'
        f'<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" {size} {physical}>{channels}{planes}</Pixels></Image></OME>'
    ).replace('Unit="um"', 'Unit="&#181;m"')


def _write(path: Path, image: npt.NDArray[np.uint16], names: Sequence[str], um_per_px: float) -> None:
    h, w = image.shape[1:]
    levels = max(0, math.ceil(math.log2(max(h, w) / TILE)) - 1)
    resolution = 1e4 / um_per_px
    common = {
        "photometric": "minisblack",
        "tile": (TILE, TILE),
        "compression": "zlib",
        "compressionargs": {"level": 1},
        "predictor": True,
        "metadata": None,
        "software": "sevhisto phantom",
        "maxworkers": 1,
    }
    with tifffile.TiffWriter(path, bigtiff=image.nbytes > 2**31, ome=False) as writer:
        description = ome_xml(names, (h, w), um_per_px)
        writer.write(
            image, subifds=levels, description=description, resolution=(resolution, resolution), resolutionunit="CENTIMETER", **common
        )
        for k in range(1, levels + 1):
            image = np.stack([cv2.resize(p, (p.shape[1] // 2, p.shape[0] // 2), interpolation=cv2.INTER_AREA) for p in image])
            scaled = resolution / 2**k
            writer.write(image, subfiletype=1, resolution=(scaled, scaled), resolutionunit="CENTIMETER", **common)
