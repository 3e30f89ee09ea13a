"""Label images of nuclei made in other programs: found by name, checked before they are used, read by region."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from sevhisto.io.scene import SceneInfo
from sevhisto.io.tiff import TiffSlideFile
from sevhisto.types import AnyArray, Problem, SlideError

SUFFIXES = (".tif", ".tiff", ".ome.tif", ".ome.tiff", ".npy")
_TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32")
_WHOLE = "save labels as whole numbers of 8, 16 or 32 bits, one per nucleus, 0 for background; see docs/labels.md"
_PALETTE = 3


class _LabelTiff(TiffSlideFile):
    """A TIFF whose pixels are numbers of objects: signed ones too, and a colour table shows them but does not change them."""

    def _pixel_type(self, page: Any) -> np.dtype[Any]:
        kind: np.dtype[Any] = np.dtype(page.dtype)
        if kind.name not in _TYPES:
            raise SlideError(Problem("", f"its pixels are of type {kind.name}, which numbers no objects", _WHOLE))
        return kind

    def _is_rgb(self, page: Any) -> bool:
        return int(page.photometric) != _PALETTE and super()._is_rgb(page)


class LabelFile:
    """The label image of one scene of a slide, open; a `LabelImage`.

    Attributes
    ----------
    name : what it is called in messages
    shape : its own height and width in pixels
    factor : full-resolution pixels of the slide per pixel

    Raises
    ------
    SlideError
        Not readable; not one plane of whole numbers; not of the slide's size or a whole-number downsampling of it.
    """

    def __init__(self, path: Path, slide_shape: tuple[int, int]) -> None:
        self.name = f"label file {path.name}"
        self._tiff: _LabelTiff | None = None
        self._array: AnyArray | None = None
        try:
            self._open(path)
            self.factor = _factor(self.shape, slide_shape, self.name)
        except SlideError as error:
            self.close()
            raise SlideError([Problem(self.name, p.what, p.remedy) for p in error.problems]) from error
        except OSError as error:
            self.close()
            raise SlideError(Problem(self.name, f"cannot be opened: {error.strerror or error}", "check that you may read it")) from error

    def _open(self, path: Path) -> None:
        if path.suffix.lower() == ".npy":
            self._array = _npy(path)
            self.shape = (self._array.shape[0], self._array.shape[1])
            return
        if path.stat().st_size == 0:
            raise SlideError(Problem("", "the file is empty", "export it again"))
        self._tiff = _LabelTiff(path)
        if len(self._tiff.scenes) > 1:
            what = f"holds {len(self._tiff.scenes)} scenes, and labels are of one"
            raise SlideError(Problem("", what, "save one file per scene: <image>_scene2.tif is for the second"))
        self.shape = _plane(self._tiff.scenes[0])

    def read(self, y0: int, y1: int, x0: int, x1: int) -> AnyArray:
        """Labels (y1 - y0, x1 - x0) of a region in the file's own pixels."""
        if self._array is not None:
            return np.array(self._array[y0:y1, x0:x1])
        assert self._tiff is not None
        plane: AnyArray = self._tiff.read(1, [0], 0, y0, y1, x0, x1)[0]
        return plane

    def close(self) -> None:
        """Let go of the file."""
        self._array = None
        if self._tiff is not None:
            self._tiff.close()

    def __enter__(self) -> LabelFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _plane(info: SceneInfo) -> tuple[int, int]:
    if info.is_rgb:
        raise SlideError(Problem("", "is a colour picture: colours of labels are no labels", _WHOLE))
    for n, what in ((info.n_z, "planes in depth"), (info.n_t, "frames in time"), (len(info.channels), "channels")):
        if n > 1:
            raise SlideError(Problem("", f"holds {n} {what}, and labels are one plane", "save the plane that belongs to the slide"))
    return info.shape


def _npy(path: Path) -> AnyArray:
    try:
        array: AnyArray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        remedy = "np.save the label array alone; the _seg.npy of Cellpose holds more than that, and reading it could run code"
        raise SlideError(Problem("", "is no plain array", remedy)) from error
    if array.ndim != 2 or array.dtype.name not in _TYPES:
        raise SlideError(Problem("", f"holds {array.dtype.name} of shape {array.shape}, and labels are one plane of whole numbers", _WHOLE))
    return array


def _factor(shape: tuple[int, int], slide: tuple[int, int], name: str) -> int:
    """Return the whole factor by which a label image is smaller than its slide; its last pixels may be cut or filled up."""
    f = max(1, round(slide[0] / max(shape[0], 1)))
    if all(n in (side // f, -(-side // f)) for n, side in zip(shape, slide, strict=True)):
        return f
    what = f"is {shape[0]} x {shape[1]} pixels (rows x columns), and the slide {slide[0]} x {slide[1]}"
    remedy = "export the whole slide, neither cropped nor turned, at full resolution or a whole-number downsampling of it"
    raise SlideError(Problem(name, what, remedy))


def label_problems(path: Path, slide_shape: tuple[int, int]) -> list[Problem]:
    """Return what is wrong with a label file, without reading its pixels."""
    try:
        LabelFile(path, slide_shape).close()
    except SlideError as error:
        return error.problems
    return []
