"""Outlines of ImageJ (.roi, .zip): read in memory, composite shapes with their curves included."""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sevhisto.rings import check_places
from sevhisto.types import AnyArray, DoubleArray, Problem, SevhistoError

MAX_BYTES, MAX_MEMBER_BYTES, MAX_MEMBERS = 20_000_000, 4_000_000, 2000
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class Roi(NamedTuple):
    """One shape: its name, rings and lines (n, 2) y, x in full-resolution pixels, width of its lines, and what ImageJ calls it."""

    name: str
    rings: list[DoubleArray]
    strokes: list[DoubleArray]
    width_px: float
    kind: str


def read_rois(path: Path, data: bytes) -> list[Roi]:
    """Return the shapes of a .roi or .zip with these bytes; SevhistoError, which names the file, where that is not possible."""
    members = [(path.stem, data)] if path.suffix.lower() == ".roi" else _members(path, data)
    return [_roi(path, name, member) for name, member in members]


def _error(path: Path, what: str, remedy: str) -> SevhistoError:
    return SevhistoError(Problem(path.name, what, remedy))


def _members(path: Path, data: bytes) -> list[tuple[str, bytes]]:
    """Read the .roi members in memory: nothing is unpacked to disk, and neither a bomb nor a flood is read."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = [i for i in archive.infolist() if i.filename.lower().endswith(".roi") and not Path(i.filename).name.startswith("._")]
            if not infos:
                raise _error(path, "holds no ImageJ outline (.roi)", "save the ROI manager's outlines: More, Save")
            if any(i.compress_type not in _PACKED for i in infos):
                raise _error(path, "is packed in a way that ImageJ does not use", "save it from ImageJ again")
            if len(infos) > MAX_MEMBERS or any(i.file_size > MAX_MEMBER_BYTES for i in infos):
                what = f"holds more than {MAX_MEMBERS} outlines, or one of more than {MAX_MEMBER_BYTES // 1_000_000} MB"
                raise _error(path, what, "keep lesion and excluded areas only")
            if sum(i.file_size for i in infos) > MAX_BYTES:
                raise _error(path, f"unpacks to more than {MAX_BYTES // 1_000_000} MB", "keep lesion and excluded areas only")
            return [(Path(i.filename).stem, archive.read(i)) for i in infos]
    except SevhistoError:
        raise
    except Exception as error:  # zipfile raises BadZipFile, zlib.error, ValueError, RuntimeError (encrypted) and more
        raise _error(path, f"is not a readable zip file: {error}", "save it from ImageJ again") from error


def _roi(path: Path, stem: str, data: bytes) -> Roi:
    import roifile

    try:
        roi = roifile.ImagejRoi.frombytes(data)
        if roi.roitype.name == "UNKNOWN":
            raise ValueError("its type is unknown")
        rings, strokes = _roi_rings(roi), _roi_strokes(roi)
        width = float(roi.float_stroke_width or roi.stroke_width or 0)
    except Exception as error:  # roifile raises struct.error, IndexError, ValueError and more on damage
        raise _error(path, f"{stem}.roi is damaged or of an unknown kind: {error}", "save it from ImageJ again") from error
    return Roi((roi.name or stem).strip(), rings, strokes, width, roi.roitype.name.lower())


def _roi_rings(roi: Any) -> list[DoubleArray]:
    if roi.subtype.name in ("TEXT", "IMAGE"):  # stored as their box
        return []
    if roi.composite or roi.roitype.name in ("POLYGON", "FREEHAND", "TRACED", "RECT"):
        found = path_rings(roi.multi_coordinates) if roi.composite else [roi.coordinates()]
        rings = [np.asarray(c, np.float64)[:, ::-1] for c in found]
        for ring in rings:
            check_places(ring)
        if all(len(r) < 3 for r in rings):
            raise ValueError("its outline has no area")
        return [r for r in rings if len(r) >= 3]
    if roi.roitype.name == "OVAL":
        angle = np.linspace(0, 2 * math.pi, 361)
        y = (roi.top + roi.bottom) / 2 + (roi.bottom - roi.top) / 2 * np.sin(angle)
        x = (roi.left + roi.right) / 2 + (roi.right - roi.left) / 2 * np.cos(angle)
        return [np.column_stack([y, x])]
    return []


def path_rings(path: AnyArray) -> list[DoubleArray]:
    """Return the rings (n, 2), x, y of a composite shape of ImageJ; its curves, which come from ovals, become CURVE_STEPS lines each.

    Parameters
    ----------
    path : (n,) floats: 0 x y moves, 1 x y draws a line, 2 and 3 draw Bezier curves of two and three further points, 4 closes
    """
    rings: list[list[DoubleArray]] = []
    i, values = 0, np.asarray(path, np.float64)
    while i < len(values):
        kind = int(values[i])
        if kind not in _CURVES:
            raise ValueError(f"unknown step {kind} in a composite shape")
        points = values[i + 1 : i + 1 + 2 * _CURVES[kind]].reshape(-1, 2)
        if len(points) < _CURVES[kind]:
            raise ValueError("a composite shape ends too early")
        if kind == 0:
            rings.append([points[0]])
        elif kind != 4:
            rings[-1] += _bezier(np.concatenate([rings[-1][-1][None], points])) if kind > 1 else [points[0]]
        i += 1 + 2 * _CURVES[kind]
    return [np.array(ring) for ring in rings]


_CURVES = {0: 1, 1: 1, 2: 2, 3: 3, 4: 0}
"""Points of each step of a composite shape's path."""
CURVE_STEPS = 32


def _bezier(points: DoubleArray) -> list[DoubleArray]:
    """Return points along a Bezier curve, without its first [de Casteljau]."""
    t = np.linspace(0, 1, CURVE_STEPS + 1)[1:, None, None]
    curve = np.repeat(points[None], CURVE_STEPS, axis=0)
    while curve.shape[1] > 1:
        curve = (1 - t) * curve[:, :-1] + t * curve[:, 1:]
    return list(curve[:, 0])


def _roi_strokes(roi: Any) -> list[DoubleArray]:
    if roi.roitype.name not in ("LINE", "POLYLINE", "FREELINE", "POINT"):
        return []
    points = np.asarray(roi.coordinates(), np.float64)[:, ::-1]
    if not len(points):
        raise ValueError("it has no points")
    check_places(points)
    return [p[None] for p in points] if roi.roitype.name == "POINT" else [points]
