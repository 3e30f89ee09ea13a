"""ImageJ: a zip of outlines per slide, for the ROI manager."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import roifile

from sevhisto.export.given import GivenSlide, slide_formats
from sevhisto.export.text import slide_path
from sevhisto.rings import Shape

_MOVE, _LINE, _CLOSE = 0.0, 1.0, 4.0
_EPOCH = (1980, 1, 1, 0, 0, 0)


@slide_formats.register("imagej")
def imagej(given: GivenSlide, folder: Path) -> list[str]:
    """Write ``<slide>.zip``: lesion, zones and drawn areas in full-resolution pixels."""
    with zipfile.ZipFile(slide_path(folder, given.slide.name, ".zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in _members(given):
            archive.writestr(zipfile.ZipInfo(f"{name}.roi", _EPOCH), data)
    return ["a .zip that is edited in ImageJ goes into corrections/ as it is; ImageJ adds -1, -2 to equal names, and they still count"]


def _members(given: GivenSlide) -> list[tuple[str, bytes]]:
    shapes = [*given.slide.drawn, *(shape for shapes in given.outlines for shape in shapes)]
    counts: dict[str, int] = {}
    found = []
    for shape in shapes:
        again = counts.get(shape.name, 0)
        counts[shape.name] = again + 1
        name = f"{shape.name}-{again}" if again else shape.name  # as ImageJ keeps equal names apart
        found.append((name.replace("/", "_"), roi_bytes(shape, name)))
    return found


def roi_bytes(shape: Shape, name: str) -> bytes:
    """Return a shape as an ImageJ ROI: a polygon where it is one ring, else a composite; points are float32."""
    rings = [ring[:, ::-1] for polygon in shape.polygons for ring in polygon]
    if len(rings) == 1:
        return bytes(roifile.ImagejRoi.frompoints(rings[0].astype(np.float32), name=name).tobytes())
    path = np.concatenate([_path(ring) for ring in rings]).astype(np.float32)
    points = np.concatenate(rings)
    (left, top), (right, bottom) = np.floor(points.min(axis=0)).astype(int), np.ceil(points.max(axis=0)).astype(int)
    box = {"left": int(left), "top": int(top), "right": int(right), "bottom": int(bottom)}
    roi = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.RECT, shape_roi_size=len(path), multi_coordinates=path, name=name, **box)
    return bytes(roi.tobytes())


def _path(ring: np.ndarray) -> np.ndarray:
    steps = np.full((len(ring), 3), _LINE)
    steps[0, 0], steps[:, 1:] = _MOVE, ring
    return np.append(steps.ravel(), _CLOSE)
