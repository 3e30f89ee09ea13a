"""DICOM whole slides, by pydicom: one file of a series names the slide; its folder holds the other channels and the smaller copies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from sevhisto.io.dicom_check import RECOPY, check_dicom
from sevhisto.io.dicom_index import missing_files, series_files
from sevhisto.io.jpeg_check import lost_bytes
from sevhisto.io.pixelsize import Calibration, calibration
from sevhisto.io.scene import RGB, Acquisition, SceneInfo, broken, checked_dtype, named, top_of_range, why
from sevhisto.types import AnyArray, SlideError

_EXPORT = "export it again from the scanner, or as OME-TIFF"
_JPEG = "1.2.840.10008.1.2.4."
_NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")
_RLE = "1.2.840.10008.1.2.5"
_CODECS: dict[str, Callable[..., AnyArray]] = {
    **dict.fromkeys((_JPEG + "50", _JPEG + "51"), imagecodecs.jpeg8_decode),
    **dict.fromkeys((_JPEG + "57", _JPEG + "70"), imagecodecs.ljpeg_decode),
    **dict.fromkeys((_JPEG + "80", _JPEG + "81"), imagecodecs.jpegls_decode),
    **dict.fromkeys((_JPEG + "90", _JPEG + "91"), imagecodecs.jpeg2k_decode),
}
_COLOURS = ("RGB", "YBR_FULL_422", "YBR_FULL", "YBR_ICT", "YBR_RCT")
Key = tuple[str, int, int, int]
"""A tile: optical path, plane in depth, row and column of tiles."""


class Instance:
    """One file: the tiles of one level, of one optical path or several.

    Attributes
    ----------
    shape : (height, width) of the whole level
    paths : identifiers of its optical paths
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stream = path.open("rb")
        try:
            import pydicom

            self._pixels = check_dicom(path)
            self.facts = pydicom.dcmread(self._stream, stop_before_pixels=True)
            self._understand()
        except BaseException as error:
            self.close()
            if isinstance(error, (SlideError, ImportError)) or not isinstance(error, Exception):
                raise
            raise broken(path, f"is not a readable DICOM slide ({why(error)})") from error

    def _understand(self) -> None:
        d = self.facts
        kind = kind_of(d)
        if kind != "VOLUME":
            raise broken(self.path, f"shows {kind or 'no slide'}, not the slide itself", "name the largest VOLUME file of the series")
        if "ConcatenationUID" in d:
            raise broken(self.path, "is one part of a concatenation", "export the slide with one file per level")
        self.syntax = str(d.file_meta.TransferSyntaxUID)
        if self.syntax not in (*_NATIVE, _RLE, *_CODECS):
            raise broken(self.path, f"is compressed in a way that is not known here ({d.file_meta.TransferSyntaxUID.name})", _EXPORT)
        self.photometric = str(d.PhotometricInterpretation)
        self.is_rgb = int(d.SamplesPerPixel) == 3
        plain = ("RGB",) if self.syntax in (*_NATIVE, _RLE) else _COLOURS
        if self.photometric not in (plain if self.is_rgb else ("MONOCHROME2",)):
            raise broken(self.path, f"holds {self.photometric} pixels, which are not read", _EXPORT)
        bits, self.bits = int(d.BitsAllocated), int(d.BitsStored)
        self.dtype = checked_dtype(self.path, f"{'i' if int(d.PixelRepresentation) else 'u'}{bits // 8}")
        if bits % 8 or int(d.HighBit) != self.bits - 1 or (self.is_rgb and bits != 8):
            raise broken(self.path, f"packs {self.bits} bits into {bits} in a way that is not read", _EXPORT)
        self.shape = int(d.TotalPixelMatrixRows), int(d.TotalPixelMatrixColumns)
        self.tile = int(d.Rows), int(d.Columns)
        if min(*self.shape, *self.tile) < 1:
            raise broken(self.path, f"declares an image of {self.shape} in tiles of {self.tile}")
        self.paths = tuple(str(p.OpticalPathIdentifier) for p in d.OpticalPathSequence)
        self.n_frames = int(d.NumberOfFrames)
        self.n_z = int(d.get("TotalPixelMatrixFocalPlanes", 1) or 1)
        self.frames = self._sparse() if d.get("DimensionOrganizationType") != "TILED_FULL" else self._full()

    def _full(self) -> dict[Key, int]:
        """Columns run fastest, then rows, planes in depth, optical paths."""
        rows, columns = (-(-n // t) for n, t in zip(self.shape, self.tile, strict=True))
        expected = rows * columns * self.n_z * len(self.paths)
        if expected != self.n_frames:
            raise broken(self.path, f"needs {expected} tiles and declares {self.n_frames}")
        keys = ((p, z, r, c) for p in self.paths for z in range(self.n_z) for r in range(rows) for c in range(columns))
        return {key: i for i, key in enumerate(keys)}

    def _sparse(self) -> dict[Key, int]:
        groups = self.facts.PerFrameFunctionalGroupsSequence
        if len(groups) != self.n_frames:
            raise broken(self.path, f"places {len(groups)} of {self.n_frames} tiles")
        shared = self.facts.SharedFunctionalGroupsSequence[0]
        places = []
        for group in groups:
            at = group.PlanePositionSlideSequence[0]
            optical = group if "OpticalPathIdentificationSequence" in group else shared
            told = optical.get("OpticalPathIdentificationSequence")
            if not told and len(self.paths) > 1:
                raise broken(self.path, "does not tell the optical path of its tiles")
            name = str(told[0].OpticalPathIdentifier) if told else self.paths[0]
            y, x = int(at.RowPositionInTotalImagePixelMatrix) - 1, int(at.ColumnPositionInTotalImagePixelMatrix) - 1
            if y % self.tile[0] or x % self.tile[1]:
                raise broken(self.path, f"has a tile at row {y}, column {x}, which is off the grid of tiles", _EXPORT)
            places.append((name, round(float(at.get("ZOffsetInSlideCoordinateSystem", 0) or 0), 6), y // self.tile[0], x // self.tile[1]))
        depths = sorted({z for _, z, _, _ in places})
        self.n_z = len(depths)
        frames = {(name, depths.index(z), r, c): i for i, (name, z, r, c) in enumerate(places)}
        if len(frames) != len(places):
            raise broken(self.path, "has two tiles at one place")
        return frames

    def read_tile(self, key: Key) -> AnyArray:
        """Tile (c, h, w); SlideError where it is missing or damaged: never zeros."""
        number = self.frames.get(key)
        if number is None:
            raise broken(self.path, f"lacks the tile in row {key[2] + 1}, column {key[3] + 1} of optical path {key[0]}")
        self._stream.seek(self._pixels.offsets[number])
        data = self._stream.read(self._pixels.lengths[number])
        if _CODECS.get(self.syntax) is imagecodecs.jpeg8_decode:
            from sevhisto.io.jpeg_scan import damage_in  # compiled code: loaded only where there is JPEG

            wrong = "some of its JPEG data are zeros" if lost_bytes(data) else damage_in(data)
            if wrong:
                raise broken(self.path, f"tile {number + 1} is damaged: {wrong}")
        try:
            tile = self._decode(data)
        except Exception as error:
            raise broken(self.path, f"tile {number + 1} cannot be decoded ({why(error)})") from error
        n = 3 if self.is_rgb else 1
        if tile.dtype != self.dtype or tile.shape not in ((*self.tile, n), self.tile if n == 1 else ()):
            raise broken(self.path, f"tile {number + 1} holds {tile.shape} pixels of {tile.dtype}, not what the header says")
        return np.moveaxis(tile.reshape(*self.tile, n), -1, 0)

    def _decode(self, data: bytes) -> AnyArray:
        n, (h, w) = 3 if self.is_rgb else 1, self.tile
        stored = self.dtype.newbyteorder("<")
        planar = self.is_rgb and int(self.facts.get("PlanarConfiguration", 0)) == 1
        if self.syntax in (*_NATIVE, _RLE):
            if self.syntax in _NATIVE:
                flat = np.frombuffer(data, stored)
            else:  # the standard's run lengths hold one plane per byte of a pixel
                flat = np.frombuffer(imagecodecs.dicomrle_decode(data, stored), stored)
                planar = self.is_rgb
            return np.moveaxis(flat.reshape(n, h, w), 0, -1) if planar else flat.reshape(h, w, n)
        if self.is_rgb and _CODECS[self.syntax] is imagecodecs.jpeg8_decode:
            space = "RGB" if self.photometric == "RGB" else "YCBCR"
            return np.asarray(imagecodecs.jpeg8_decode(data, colorspace=space, outcolorspace="RGB"))
        return np.asarray(_CODECS[self.syntax](data))

    def close(self) -> None:
        """Let go of the file."""
        self._stream.close()


class DicomSlideFile:
    """A slide in DICOM files of one series. Files of equal size hold its optical paths, which are the channels."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._instances: list[Instance] = []
        try:
            first = self._add(path)
            missing = missing_files(path, str(first.facts.get("SeriesInstanceUID", "")))
            if missing:
                more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
                raise broken(path, f"lacks {missing[0]}{more}, which its DICOMDIR lists", RECOPY)
            for other in series_files(path):
                if other != path:
                    self._add(other)
            groups: dict[tuple[int, int], list[Instance]] = {}
            for instance in sorted(self._instances, key=lambda i: (-i.shape[0] * i.shape[1], i.path.name)):
                groups.setdefault(instance.shape, []).append(instance)
            full, *smaller = groups.values()
            if full[0] is not first:
                raise broken(path, f"is a part of the slide {full[0].path.name}", f"name {full[0].path.name} in slides.csv")
            self._check(full)
            self._owners = {p: i for i in full for p in i.paths}
            self._levels = [self._owners, *(found for found in map(self._level, smaller) if found)]
            self.scenes: tuple[SceneInfo, ...] = (self._info(full),)
        except BaseException:
            self.close()
            raise

    def _add(self, path: Path) -> Instance:
        self._instances.append(Instance(path))
        return self._instances[-1]

    def _check(self, full: Sequence[Instance]) -> None:
        kinds = {(i.dtype.name, i.is_rgb, i.n_z) for i in full}
        if len(kinds) > 1:
            raise broken(self.path, f"and the files beside it differ in kind of pixels or number of planes: {sorted(kinds)}")
        twice = sorted(p for p, n in Counter(p for i in full for p in i.paths).items() if n > 1)
        if twice:
            raise broken(self.path, f"optical path {twice[0]!r} stands in several files of one size", "keep one scan in a folder")
        if full[0].is_rgb and sum(len(i.paths) for i in full) > 1:
            raise broken(self.path, "is a colour slide with several optical paths", _EXPORT)

    def _level(self, group: Sequence[Instance]) -> dict[str, Instance]:
        """Owners of a level's optical paths; nothing where it does not hold just those of the slide."""
        owners = {p: i for i in group for p in i.paths}
        first = next(iter(self._owners.values()))
        alike = all((i.dtype, i.is_rgb, i.n_z) == (first.dtype, first.is_rgb, first.n_z) for i in group)
        return owners if alike and owners.keys() == self._owners.keys() and len(owners) == sum(len(i.paths) for i in group) else {}

    def _info(self, full: Sequence[Instance]) -> SceneInfo:
        first = full[0]
        items = [item for i in full for item in i.facts.OpticalPathSequence]
        self._order = [str(item.OpticalPathIdentifier) for item in items]
        told = [str(item.get("OpticalPathDescription", "") or "").strip() for item in items]
        names = told if all(told) and len(set(told)) == len(told) else self._order
        lenses = tuple(Acquisition(objective=_objective(item)) for item in items)
        lenses = lenses * 3 if first.is_rgb else lenses
        return SceneInfo(
            scene=1,
            shape=first.shape,
            channels=RGB if first.is_rgb else named(names, len(names)),
            dtype=first.dtype,
            calibrations=tuple(_calibration(i) for i in full),
            is_rgb=first.is_rgb,
            n_z=first.n_z,
            bit_max=top_of_range(first.dtype, max(i.bits for i in full)),
            levels=tuple(next(iter(owners.values())).shape for owners in self._levels[1:]),
            acquisition=lenses if any(lens.objective for lens in lenses) else (),
        )

    def read(self, scene: int, channels: Sequence[int], z: int, y0: int, y1: int, x0: int, x1: int, level: int = 0) -> AnyArray:
        """Pixels (c, h, w) of plane `z`; only the tiles that the region touches are decoded."""
        info = self.scenes[0]
        out = np.empty((len(channels), y1 - y0, x1 - x0), info.dtype)
        for path in dict.fromkeys(self._order[0 if info.is_rgb else c] for c in channels):
            instance = self._levels[level][path]
            th, tw = instance.tile
            wanted = [(i, c if info.is_rgb else 0) for i, c in enumerate(channels) if info.is_rgb or self._order[c] == path]
            for r in range(y0 // th, -(-y1 // th)):
                for c in range(x0 // tw, -(-x1 // tw)):
                    tile = instance.read_tile((path, z, r, c))
                    top, left = max(y0, r * th), max(x0, c * tw)
                    bottom, right = min(y1, r * th + th), min(x1, c * tw + tw)
                    for i, plane in wanted:
                        part = tile[plane, top - r * th : bottom - r * th, left - c * tw : right - c * tw]
                        out[i, top - y0 : bottom - y0, left - x0 : right - x0] = part
        return out

    def close(self) -> None:
        """Let go of the files."""
        for instance in self._instances:
            instance.close()


def kind_of(facts: Any) -> str:
    """Return what a file shows: "VOLUME" for the slide itself, "LABEL", "OVERVIEW", "THUMBNAIL", or "" for no slide."""
    values = [str(v) for v in facts.get("ImageType", [])]
    return values[2] if len(values) > 2 else ""


def _calibration(instance: Instance) -> Calibration:
    """Pixel spacing in mm between rows and columns, else the extent of the whole image, also in mm."""
    shared = instance.facts.get("SharedFunctionalGroupsSequence")
    measures = shared[0].get("PixelMeasuresSequence") if shared else None
    spacing = measures[0].get("PixelSpacing") if measures else None
    if spacing is not None and len(spacing) == 2:
        return calibration(float(spacing[1]), float(spacing[0]), "mm", "DICOM")
    width, height = instance.facts.get("ImagedVolumeWidth"), instance.facts.get("ImagedVolumeHeight")
    if width is None or height is None:
        return Calibration(None, "DICOM", "has no pixel size")
    return calibration(float(width) / instance.shape[1], float(height) / instance.shape[0], "mm", "DICOM")


def _objective(item: Any) -> str:
    power, aperture = item.get("ObjectiveLensPower"), item.get("ObjectiveLensNumericalAperture")
    return (f"{float(power):g}x" + (f"/{float(aperture):g}" if aperture else "")) if power else ""
