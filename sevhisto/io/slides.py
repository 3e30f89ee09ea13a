"""Slides: lazy, calibrated pixels of one scene of an image file, whatever its format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from sevhisto.io.channel_set import ChannelSetFile
from sevhisto.io.overview import make_overview
from sevhisto.io.pixelsize import Calibration, reconcile
from sevhisto.io.scene import RGB, SceneInfo, SlideFile, broken, why
from sevhisto.registry import Registry
from sevhisto.types import AnyArray, FloatArray, Problem, SevhistoError, SlideError

Reader = Callable[[Path], SlideFile]
readers: Registry[Reader] = Registry("reader")
"""Readers by file suffix; register one to teach sevhisto a format. The longest suffix that fits wins."""


EXTRAS = {
    ".nd2": "nikon",
    ".czi": "zeiss",
    ".vsi": "olympus",
    ".zarr": "zarr",
    ".mrxs": "mirax",
    ".bif": "mirax",
    ".lif": "leica",
    ".dcm": "dicom",
}
"""The extra of the installation that the reader of a suffix needs; none for the others."""


def _register(*suffixes: str) -> Callable[[Reader], Reader]:
    def add(reader: Reader) -> Reader:
        for suffix in suffixes:
            readers.register(suffix)(reader)
        return reader

    return add


@_register(".tif", ".tiff", ".ome.tif", ".ome.tiff", ".btf", ".svs", ".qptiff", ".scn", ".ndpi")
def _open_tiff(path: Path) -> SlideFile:
    from sevhisto.io.tiff import TiffSlideFile

    return TiffSlideFile(path)


@_register(".nd2")
def _open_nd2(path: Path) -> SlideFile:
    from sevhisto.io.nd2_reader import Nd2SlideFile

    return Nd2SlideFile(path)


@_register(".czi", ".vsi")
def _open_slideio(path: Path) -> SlideFile:
    from sevhisto.io.slideio_reader import SlideioFile

    return SlideioFile(path, path.suffix[1:].upper())


@_register(".zarr")
def _open_zarr(path: Path) -> SlideFile:
    from sevhisto.io.zarr_reader import ZarrSlideFile

    return ZarrSlideFile(path)


@_register(".mrxs", ".bif")
def _open_openslide(path: Path) -> SlideFile:
    from sevhisto.io.openslide_reader import OpenSlideFile

    return OpenSlideFile(path)


@_register(".lif")
def _open_lif(path: Path) -> SlideFile:
    from sevhisto.io.lif_reader import LifSlideFile

    return LifSlideFile(path)


@_register(".dcm")
def _open_dicom(path: Path) -> SlideFile:
    from sevhisto.io.dicom import DicomSlideFile

    return DicomSlideFile(path)


@_register(".jpg", ".jpeg", ".png")
def _open_picture(path: Path) -> SlideFile:
    from sevhisto.io.picture import PictureSlideFile

    return PictureSlideFile(path)


class Slide:
    """One scene of an image file: a `PixelSource` that reads only the tiles it needs. Open it once per process.

    Attributes
    ----------
    path : the file
    info : the scene's facts
    """

    def __init__(self, path: Path, file: SlideFile, info: SceneInfo, um_per_px: float | None) -> None:
        self.path, self.info, self._file, self._sheet = path, info, file, um_per_px
        if um_per_px is not None:
            _ = self._calibration  # a sheet that contradicts the file is told at once

    @property
    def scene(self) -> int:
        """Number of the scene, from 1."""
        return self.info.scene

    @property
    def channels(self) -> tuple[str, ...]:
        """Channel names in file order; ``("R", "G", "B")`` for a colour image."""
        return self.info.channels

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels at full resolution."""
        return self.info.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Pixel type of what is read: that of the file, or uint8 of a colour picture."""
        return np.dtype(np.uint8) if _is_colour(self.info) else self.info.dtype

    @property
    def is_rgb(self) -> bool:
        """Whether this is a colour picture (never fluorescence channels)."""
        return self.info.is_rgb

    @property
    def n_z(self) -> int:
        """Planes in depth."""
        return self.info.n_z

    @property
    def projected(self) -> bool:
        """Whether what is read is the maximum over several planes in depth."""
        return self.info.n_z > 1

    @property
    def bit_max(self) -> int:
        """Top of the range of what is read: 255, 65535, or what the file's significant bits allow."""
        return _WHITE if _is_colour(self.info) else self.info.bit_max

    @cached_property
    def _calibration(self) -> Calibration:
        return reconcile(self.path, self.info.calibrations, self._sheet)

    @property
    def um_per_px(self) -> float:
        """Pixel size in um; SlideError if the file and slides.csv have none, or they disagree."""
        um = self._calibration.um
        assert um is not None  # reconcile returns only sizes
        return um

    @property
    def um_source(self) -> str:
        """Where the pixel size was found: "OME-XML", "ND2", "CZI", "TIFF tags", "ImageJ", "Aperio MPP" or "slides.csv"."""
        return self._calibration.source

    @property
    def levels(self) -> tuple[tuple[int, int], ...]:
        """Height and width of the image and of the smaller copies that the file holds, largest first."""
        return (self.shape, *self.info.levels)

    def read(self, channels: Sequence[int], y0: int, y1: int, x0: int, x1: int, level: int = 0) -> AnyArray:
        """Read pixels, shape (len(channels), y1 - y0, x1 - x0), in the file's dtype, at full resolution or of a smaller copy.

        Colour has 8 bits, whatever the file has: optical density, pictures and training all count from 255 as white.
        Stacks are read plane by plane and give their maximum over depth. ValueError for a region or channel outside the
        image; SlideError where pixels cannot be read or are not finite.
        """
        (h, w), n = self.levels[level], len(self.channels)
        if not (0 <= y0 < y1 <= h and 0 <= x0 < x1 <= w):
            raise ValueError(f"region {y0}:{y1}, {x0}:{x1} does not lie in the image ({h} x {w})")
        if any(not 0 <= c < n for c in channels):
            raise ValueError(f"channels {list(channels)} of {n}")
        out = self._plane(channels, 0, y0, y1, x0, x1, level)
        for z in range(1, self.n_z):
            out = np.maximum(out, self._plane(channels, z, y0, y1, x0, x1, level))
        return out

    def _plane(self, channels: Sequence[int], z: int, y0: int, y1: int, x0: int, x1: int, level: int) -> AnyArray:
        try:
            block = self._file.read(self.scene, channels, z, y0, y1, x0, x1, level)
        except (SevhistoError, MemoryError):
            raise
        except Exception as error:
            raise broken(self.path, f"rows {y0} to {y1} cannot be read ({type(error).__name__}: {why(error)})") from error
        if block.shape != (len(channels), y1 - y0, x1 - x0):
            raise broken(self.path, f"asked for {(len(channels), y1 - y0, x1 - x0)} pixels, got {block.shape}")
        if block.dtype.kind == "f" and not np.isfinite(block).all():
            raise broken(self.path, f"holds pixels that are no number (NaN or infinite) in rows {y0} to {y1}", "save the raw image instead")
        return _in_8_bits(block, self.info.bit_max) if _is_colour(self.info) else block

    def overview(
        self, um: float, channels: Sequence[int] | None = None, box: tuple[int, int, int, int] | None = None
    ) -> tuple[FloatArray, int]:
        """Return the image averaged over blocks of whole pixels, as near as possible to `um` per pixel.

        It is made from a smaller copy in the file where that is within 15 % of `um` and agrees with the image itself.

        Parameters
        ----------
        channels : channel numbers from 0; all where None
        box : part of the image (y0, y1, x0, x1); all of it where None

        Returns
        -------
        image : (n_channels, ceil(h / step), ceil(w / step)) float32
            Pixel (i, j) is the mean of rows i * step to (i + 1) * step and columns likewise; of what there is at the edges.
        step : int
            Side of the blocks in full-resolution pixels, at least 1.
        """
        wanted = list(range(len(self.channels)) if channels is None else channels)
        box = box or (0, self.shape[0], 0, self.shape[1])
        step = max(1, round(um / self.um_per_px))

        def read(level: int, c: int, part: tuple[int, int, int, int]) -> AnyArray:
            plane: AnyArray = self.read(wanted[c : c + 1], *part, level=level)[0]
            return plane

        return make_overview(read, len(wanted), self.shape, self.info.levels, box, step, self.dtype.kind != "f")

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def __enter__(self) -> Slide:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def open_slide(path: Path | str, scene: int = 1, um_per_px: float | None = None) -> Slide:
    """Open one scene of a slide.

    Parameters
    ----------
    path : the image file
    scene : number of the scene, from 1
    um_per_px : pixel size from slides.csv; used where the file has none, and must agree with it within 1 % where it has

    Raises
    ------
    SlideError
        Not a readable image, an unknown format, no such scene, a time series, a colour stack, or pixel sizes that disagree.
    """
    path = Path(path)
    file = _open(path)
    try:
        if not 1 <= scene <= len(file.scenes):
            raise broken(path, f"has no scene {scene}; it has {len(file.scenes)}", "correct scene in slides.csv")
        info = file.scenes[scene - 1]
        if info.refused:
            raise broken(path, f"scene {scene} {info.refused}", "name another scene in slides.csv")
        if info.n_t > 1:
            raise broken(path, f"is a time series of {info.n_t} frames", "save the frame to be measured as a file of its own")
        if _is_colour(info) and info.dtype.kind == "f":
            raise broken(path, "is a colour picture of floating-point numbers, which do not say what white is", "save it as RGB of 8 bits")
        if info.is_rgb and info.n_z > 1:
            raise broken(path, f"is a stack of {info.n_z} colour pictures", "save the plane to be measured as a file of its own")
        return Slide(path, file, info, um_per_px)
    except BaseException:
        file.close()
        raise


_WHITE = 255


def _is_colour(info: SceneInfo) -> bool:
    """Return whether a scene is measured as colour: also three channels that are named so."""
    return tuple(n.upper() for n in info.channels) == RGB


def _in_8_bits(colour: AnyArray, top: int) -> AnyArray:
    """Return colour of which `top` is white as uint8."""
    if colour.dtype == np.uint8 and top == _WHITE:
        return colour
    scaled = colour * np.float64(_WHITE / top)
    return np.asarray(np.rint(np.minimum(scaled, _WHITE, out=scaled), out=scaled).astype(np.uint8))


def slide_info(path: Path | str) -> list[SceneInfo]:
    """Return the facts of every scene of a file, without reading its pixels; SlideError if it is no readable image."""
    file = _open(Path(path))
    try:
        return list(file.scenes)
    finally:
        file.close()


def _open(path: Path) -> SlideFile:
    if "*" in path.name and not path.exists():
        return ChannelSetFile(path, _open)
    name = path.name.lower()
    known = [s for s in readers if name.endswith(s)]
    if not known:
        raise broken(path, f"files ending in {path.suffix or 'nothing'!r} cannot be read", f"known: {', '.join(sorted(readers))}")
    if not path.exists():
        raise SlideError(Problem(str(path), "there is no such file", "correct its name in slides.csv, or put the file there"))
    if path.is_file() and path.stat().st_size == 0:
        raise broken(path, "the file is empty")
    suffix = max(known, key=len)
    try:
        return readers[suffix](path)
    except ImportError as error:
        raise broken(
            path, f"the library for this format is not installed ({error.name})", f"pip install 'sevhisto[{EXTRAS.get(suffix, 'formats')}]'"
        ) from error
    except OSError as error:
        raise broken(path, f"cannot be opened: {error.strerror or error}", "check that you may read the file") from error
    except (SevhistoError, MemoryError):
        raise
    except Exception as error:  # a reader that stumbles over what no sound file holds
        raise broken(path, f"its metadata make no sense ({type(error).__name__}: {why(error)})") from error


def folder_files(path: Path) -> list[Path]:
    """Return every file of a folder, by name: what a checksum of the image is made over."""
    return sorted(p for p in path.rglob("*") if p.is_file())
