"""The TIFF family: OME-TIFF, BigTIFF, ImageJ hyperstacks, SVS, QPTIFF, SCN, NDPI, TIFF. The only module that opens files with tifffile."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from sevhisto.io.ome import OmeImage, parse_ome
from sevhisto.io.pixelsize import Calibration, calibration, from_aperio, from_resolution
from sevhisto.io.scene import RGB, Acquisition, SceneInfo, broken, checked_dtype, named, top_of_range, why
from sevhisto.io.tiff_check import MAX_SEGMENT_BYTES, check_tiff
from sevhisto.io.tiff_levels import Planes, falling, kind_of, page_levels, sub_levels
from sevhisto.io.tiff_page import SegmentCache, TiffPlane
from sevhisto.io.tiff_vendor import ScnImage, maker_of, parse_scn, qptiff_names, qptiff_page
from sevhisto.types import AnyArray

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_JPEG_CODECS = {7, 33003}
_SOURCE_LENS = 65421  # NDPI: magnification; -1 macro, -2 map
_MAX_UNNAMED = 8  # pages of a plain TIFF that can still be channels; more is a stack of something
Where = tuple[TiffPlane, int]
"""A plane of pixels and the sample in it."""


class TiffSlideFile:
    """A TIFF file whose structure was checked first; planes are found from page numbers, never by the library's guess."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: dict[str, Any] = {}
        self._planes: dict[tuple[str, int], TiffPlane] = {}
        self._cache = SegmentCache()
        self._where: list[list[dict[tuple[int, int], Where]]] = []  # by scene, level, (channel, z)
        self.scenes: tuple[SceneInfo, ...] = ()
        try:
            self._assemble()
        except BaseException:
            self.close()
            raise

    def _assemble(self) -> None:
        first = self._page("", 0)
        text = first.description or ""
        if self.path.name.lower().endswith(".ndpi"):
            self.scenes = (self._ndpi(),)
        elif "<OME" in text[:4096] or "<!DOCTYPE" in text[:4096] or self.path.name.lower().endswith((".ome.tif", ".ome.tiff")):
            if "<OME" not in text:
                raise broken(self.path, "is named OME-TIFF but holds no OME-XML", "rename it to .tif, or save it again as OME-TIFF")
            images = parse_ome(text, self.path, len(self._files[""].pages), int(first.samplesperpixel))
            self.scenes = tuple(self._ome(number, image) for number, image in enumerate(images, 1))
        elif text.startswith("ImageJ="):
            self.scenes = (self._imagej(text),)
        elif maker := maker_of(text, self.path):
            self.scenes = (
                (self._qptiff(),)
                if maker == "QPTIFF"
                else tuple(self._scn(number, image) for number, image in enumerate(parse_scn(text, self.path), 1))
            )
        else:
            self.scenes = (self._plain(text),)

    def _page(self, name: str, index: int) -> Any:
        if name not in self._files:
            path = self.path.parent / name if name else self.path
            n = check_tiff(path)
            try:
                file = tifffile.TiffFile(path, is_ome=False, is_imagej=False, _multifile=False)
                self._files[name] = file
                if len(file.pages) != n:
                    raise ValueError(f"{len(file.pages)} of {n} pages can be read")
            except Exception as error:
                raise broken(path, f"is not a readable TIFF file ({why(error)})") from error
        pages = self._files[name].pages
        if index >= len(pages):
            raise broken(self.path, f"refers to page {index + 1} of {name or self.path.name}, which has {len(pages)}")
        return pages[index]

    def _plane(self, name: str, index: int) -> TiffPlane:
        if (name, index) not in self._planes:
            path = self.path.parent / name if name else self.path
            self._planes[name, index] = TiffPlane(path, self._page(name, index), self._cache)
        return self._planes[name, index]

    def _scene(self, number: int, planes: Planes, names: Sequence[str | None], levels: Sequence[Planes] = (), **facts: Any) -> SceneInfo:
        """Check that the planes are alike, and note where each channel is."""
        first = planes[0, 0]
        page = first.page
        for plane in planes.values():
            if plane.shape != first.shape or kind_of(plane) != kind_of(first):
                raise broken(self.path, "its planes differ in size or type", "save one section per file")
        rgb = self._is_rgb(page)
        samples = int(page.samplesperpixel)
        n_pages = 1 + max(c for c, _ in planes)
        if rgb and n_pages > 1:
            raise broken(self.path, f"holds {n_pages} colour pictures of one size", "save the picture to be measured as a file of its own")
        per_page = 3 if rgb else samples
        self._where.append(
            [{(c * per_page + s, z): (plane, s) for (c, z), plane in level.items() for s in range(per_page)} for level in (planes, *levels)]
        )
        dtype = self._pixel_type(page)
        bits = facts.pop("bits", None) or int(page.bitspersample)
        return SceneInfo(
            scene=number,
            shape=first.shape,
            channels=RGB if rgb else named(names, n_pages * samples),
            dtype=dtype,
            is_rgb=rgb,
            bit_max=top_of_range(dtype, bits),
            n_z=1 + max(z for _, z in planes),
            levels=tuple(level[0, 0].shape for level in levels),
            **facts,
        )

    def _pixel_type(self, page: Any) -> np.dtype[Any]:
        return checked_dtype(self.path, page.dtype)

    def _is_rgb(self, page: Any) -> bool:
        """Whether a page is colour; SlideError for pixels that are no plain intensity."""
        kind, samples = int(page.photometric), int(page.samplesperpixel)
        if page.shaped[1] != 1:
            raise broken(self.path, "holds a volume in one page")
        if kind == _WHITE_IS_ZERO:
            raise broken(self.path, "its grey levels are inverted (white is zero)", "save it with black as zero and bright signal")
        if kind == _PALETTE and not ((page.description or "").startswith("ImageJ=") and _is_ramp(page.colormap)):
            raise broken(
                self.path,
                "has a colour table that is no plain ramp",
                "in ImageJ: Lookup Tables > Grays; see that signal is bright; save",
            )
        if kind == _YCBCR and int(page.compression) not in _JPEG_CODECS:
            raise broken(self.path, "holds YCbCr colours without JPEG", "save it as RGB")
        if kind not in (_BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR):
            raise broken(self.path, f"its colours (photometric {kind}) cannot be read", "save it as grey channels or RGB")
        if kind in (_RGB, _YCBCR) and samples not in (3, 4):
            raise broken(self.path, f"says it is colour but has {samples} samples per pixel")
        return kind in (_RGB, _YCBCR)

    def _ome(self, number: int, image: OmeImage) -> SceneInfo:
        planes = {(c, z): self._plane(*place) for (c, z, t), place in image.planes.items() if t == 0}
        if planes[0, 0].shape != image.shape:
            raise broken(self.path, f"its OME-XML declares {image.shape} pixels, but the page holds {planes[0, 0].shape}")
        found = (image.calibration, self._tags(planes[0, 0].page))
        names = image.names if len(image.names) == image.size[0] else []
        info = self._scene(number, planes, names, sub_levels(planes), calibrations=found, n_t=image.size[2], bits=image.bits)
        return replace(info, acquisition=image.acquisition[: len(info.channels)])  # the fourth sample of colour is no channel

    def _qptiff(self) -> SceneInfo:
        pages = list(self._files[""].pages)
        said = [qptiff_page(page.description or "", self.path, i) for i, page in enumerate(pages, 1)]
        full, reduced = ([i for i, p in enumerate(said) if p.kind == kind] for kind in ("FullResolution", "ReducedResolution"))
        if not full:
            raise broken(self.path, "holds no picture at full resolution")
        planes = {(k, 0): self._plane("", i) for k, i in enumerate(full)}
        who = [[(said[i].name, said[i].biomarker) for i in part] for part in (full, reduced)]
        if who[1] != who[0] * (len(reduced) // len(full)):
            reduced = []  # smaller copies in another order cannot be told apart
        others = [i for i in range(len(pages)) if i not in reduced]
        levels = page_levels(planes, pages, others, lambda i: self._plane("", i))
        colour = len(full) == 1 and self._is_rgb(pages[full[0]])
        names = [] if colour else qptiff_names([said[i] for i in full], self.path)
        info = self._scene(1, planes, names, levels, calibrations=(self._tags(pages[full[0]]),))
        return replace(info, acquisition=_stated([said[i].acquisition for i in full], len(info.channels)))

    def _ndpi(self) -> SceneInfo:
        try:
            pages = list(self._files[""].pages)
            power = {i: float(page.tags.valueof(_SOURCE_LENS)) for i, page in enumerate(pages)}
        except Exception as error:
            raise broken(self.path, f"a page does not say its magnification ({why(error)})") from error
        order = sorted((i for i in power if power[i] > 0), key=lambda i: -power[i])  # below 0: macro and map
        if not order:
            raise broken(self.path, "holds no picture but the overview of the slide")
        if len(order) > 1 and power[order[0]] == power[order[1]]:
            raise broken(self.path, "holds several focal planes", "export the plane to be measured as OME-TIFF")
        if not self._by_region(pages[order[0]]):
            raise broken(self.path, "cannot be read by region", "export it as OME-TIFF")
        planes, *levels = ({(0, 0): self._plane("", i)} for i in order if self._by_region(pages[i]))
        info = self._scene(1, planes, [], falling(planes, levels), calibrations=(self._tags(pages[order[0]]),))
        return replace(info, acquisition=_stated([Acquisition(objective=f"{power[order[0]]:g}x")], len(info.channels)))

    def _by_region(self, page: Any) -> bool:
        """Whether an NDPI page is small, or one JPEG whose parts lie side by side in whole rows and in the file."""
        h, w = page.imagelength, page.imagewidth
        if not page.is_tiled:
            return bool(h * w * int(page.samplesperpixel) * page.dtype.itemsize <= MAX_SEGMENT_BYTES)
        starts, counts = page.dataoffsets, page.databytecounts
        n, end = -(-h // page.tilelength) * (w // page.tilewidth), self.path.stat().st_size
        fits = all(c > 0 and s + c <= end for s, c in zip(starts, counts, strict=True))
        return w % page.tilewidth == 0 and len(starts) == n and fits

    def _scn(self, number: int, image: ScnImage) -> SceneInfo:
        planes, *levels = ({key: self._plane("", i) for key, i in grid.items()} for grid in (image.planes, *image.levels))
        if planes[0, 0].shape != image.shape:
            raise broken(self.path, f"its SCN description declares {image.shape} pixels, but the page holds {planes[0, 0].shape}")
        found = (image.calibration, self._tags(planes[0, 0].page))
        info = self._scene(number, planes, image.names, falling(planes, levels), calibrations=found)
        return replace(info, acquisition=_stated([image.acquisition], len(info.channels)))

    def _imagej(self, text: str) -> SceneInfo:
        facts = dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line)
        try:
            c, z, t, n = (int(facts.get(key, 1)) for key in ("channels", "slices", "frames", "images"))
        except ValueError as error:
            raise broken(self.path, f"its ImageJ header is damaged ({why(error)})") from error
        if c * z * t == 1 and n > 1:
            z = n  # ImageJ's own meaning of a stack that declares no axes
        if min(c, z, t) < 1 or c * z * t != n:
            raise broken(self.path, f"its ImageJ header declares {n} images but {c} channels x {z} slices x {t} frames")
        planes = self._imagej_planes(c, z, n)
        page = planes[0, 0].page
        x, y, _ = _resolution(page)
        found = from_resolution(x, y, facts.get("unit"), "ImageJ")
        notes = page.tags.get("IJMetadata")
        labels = notes.value.get("Labels") if n == c and notes is not None and isinstance(notes.value, dict) else None
        names = [str(label).strip() for label in labels] if labels and len(set(labels)) == c else []
        return self._scene(1, planes, names, calibrations=(found,), n_t=t)

    def _imagej_planes(self, c: int, z: int, n: int) -> Planes:
        first = self._plane("", 0)
        n_pages = len(self._files[""].pages)
        if n_pages == n:
            return {(i, k): self._plane("", i + c * k) for i in range(c) for k in range(z)}
        page = first.page
        size = int(np.prod(page.shaped)) * page.dtype.itemsize
        start = page.dataoffsets[0]
        if n_pages != 1 or not page.is_memmappable or start + n * size > self.path.stat().st_size:
            raise broken(self.path, f"its ImageJ header declares {n} images, but the file holds {n_pages}: some are missing")
        # ImageJ writes stacks above 4 GB with one page; the other planes follow it without a directory
        return {(i, k): TiffPlane(self.path, page, self._cache, start + (i + c * k) * size) for i in range(c) for k in range(z)}

    def _plain(self, text: str) -> SceneInfo:
        pages = list(self._files[""].pages)
        full = [i for i, p in enumerate(pages) if not int(p.subfiletype) & 1] or [0]
        largest = max(full, key=lambda i: pages[i].imagelength * pages[i].imagewidth)
        alike = [i for i in full if pages[i].shape == pages[largest].shape and pages[i].dtype == pages[largest].dtype]
        axes = _written_axes(text)
        if "T" in axes or "I" in axes or "Q" in axes or (len(alike) > _MAX_UNNAMED and "Z" not in axes):
            raise broken(self.path, f"holds {len(alike)} pages, and does not say which channels they are", "save it as OME-TIFF")
        if "Z" in axes and "C" in axes:
            raise broken(self.path, "is a stack in depth and channels without a standard header", "save it as OME-TIFF")
        planes = {(0, k) if "Z" in axes else (k, 0): self._plane("", i) for k, i in enumerate(alike)}
        found = [from_aperio(text), self._tags(pages[largest])]
        levels = sub_levels(planes) or page_levels(planes, pages, alike, lambda i: self._plane("", i))
        return self._scene(1, planes, [], levels, calibrations=tuple(c for c in found if c is not None))

    def _tags(self, page: Any) -> Calibration:
        x, y, unit = _resolution(page)
        if unit not in (2, 3):
            return calibration(None, None, None, "TIFF tags")
        return from_resolution(x, y, "inch" if unit == 2 else "cm", "TIFF tags")

    def read(self, scene: int, channels: Sequence[int], z: int, y0: int, y1: int, x0: int, x1: int, level: int = 0) -> AnyArray:
        """Pixels (c, h, w) of plane `z`, at full resolution or of a smaller copy."""
        info, where = self.scenes[scene - 1], self._where[scene - 1][level]
        out = np.empty((len(channels), y1 - y0, x1 - x0), info.dtype)
        for i, channel in enumerate(channels):
            plane, sample = where[channel, z]
            if info.is_rgb and plane.page.samplesperpixel == 4 and i == 0:
                plane.read(3, out[i], y0, x0)
                if (out[i] != top_of_range(info.dtype)).any():
                    raise broken(self.path, "is partly transparent", "save it as RGB without transparency")
            plane.read(sample, out[i], y0, x0)
        return out

    def close(self) -> None:
        """Let go of the files."""
        for file in self._files.values():
            file.close()
        self._planes.clear()
        self._where.clear()


def _stated(found: Sequence[Acquisition], n: int) -> tuple[Acquisition, ...]:
    """One acquisition for each of `n` channels, each given one standing for as many; none where nothing is said."""
    return tuple(a for a in found for _ in range(n // len(found))) if any(a != Acquisition() for a in found) else ()


def _is_ramp(colormap: AnyArray) -> bool:
    """Whether a colour table (3, n) only shows brighter where the pixel is larger: a display setting, not indexed colour."""
    return bool((np.diff(colormap.astype(np.int64), axis=1) >= 0).all()) and bool(colormap[:, -1].any())


def _resolution(page: Any) -> tuple[float | None, float | None, int]:
    """Pixels per unit in x and y, and the unit's code (2 inch, 3 cm)."""

    def value(name: str) -> float | None:
        tag = page.tags.get(name)
        if tag is None:
            return None
        with suppress(TypeError, ValueError, ZeroDivisionError):  # a malformed tag is a missing one
            return float(tag.value[0]) / float(tag.value[1])
        return None

    unit = page.tags.get("ResolutionUnit")
    return value("XResolution"), value("YResolution"), int(unit.value) if unit is not None else 2


def _written_axes(text: str) -> str:
    """Axes that a program noted as JSON in the description; "" if none."""
    with suppress(ValueError, AttributeError):
        return str(json.loads(text).get("axes", ""))
    return ""
