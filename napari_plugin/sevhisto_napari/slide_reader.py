"""Slides of every format that sevhisto reads, as lazy layers of several resolutions. No napari, no Qt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import finalize

import numpy as np

from sevhisto.io.slides import Slide, open_slide, readers, slide_info
from sevhisto.types import AnyArray, SlideError
from sevhisto_napari.layers import LayerData, colormap_of, contrast_limits, place

LARGE_PX = 4_000_000
"""A plane of more pixels needs a smaller copy to be shown whole."""
OVERVIEW_SIDE_PX = 1500
"""Longest side of the copy that is made where the file holds none."""


class LazyPlane:
    """One channel (or all colours) of one resolution of a slide: pixels are read where the view looks.

    Attributes
    ----------
    shape : (h, w), or (h, w, 3) in colour
    dtype : of the file
    """

    def __init__(self, slide: Slide, channels: Sequence[int], level: int, lock: Lock) -> None:
        self._slide, self._channels, self._level, self._lock = slide, tuple(channels), level, lock
        self.dtype = slide.dtype
        self.shape = slide.levels[level] if len(channels) == 1 else (*slide.levels[level], len(channels))

    @property
    def ndim(self) -> int:
        """Axes: 2, or 3 in colour."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return int(np.prod(self.shape))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> AnyArray:
        whole = self[tuple(slice(None) for _ in self.shape)]
        return np.asarray(whole, dtype)

    def __getitem__(self, index: Any) -> AnyArray:
        """Return a part, as numpy would give it for slices and whole numbers; only the rows and columns in it are read."""
        given = [i for i in (index if isinstance(index, tuple) else (index,)) if i is not Ellipsis]
        full = [*given, *[slice(None)] * (self.ndim - len(given))]
        (y0, y1, rows), (x0, x1, columns) = (_part(i, n) for i, n in zip(full[:2], self.shape[:2], strict=True))
        if y0 == y1 or x0 == x1:
            block = np.zeros((len(self._channels), y1 - y0, x1 - x0), self.dtype)
        else:
            with self._lock:  # napari may ask from several threads, a file is one
                block = self._slide.read(self._channels, y0, y1, x0, x1, level=self._level)
        plane = block[0] if self.ndim == 2 else np.moveaxis(block, 0, -1)
        return np.asarray(plane[(rows, columns, *full[2:])])


def _part(index: Any, n: int) -> tuple[int, int, Any]:
    """Return first and stop of what is to be read along an axis of length n, and where in that the wanted part lies."""
    if not isinstance(index, slice):
        at = range(n)[int(index)]
        return at, at + 1, 0
    wanted = range(n)[index]
    if not wanted:
        return 0, 0, slice(None)
    return min(wanted[0], wanted[-1]), max(wanted[0], wanted[-1]) + 1, slice(None, None, wanted.step)


def napari_get_reader(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], list[LayerData]] | None:
    """Return a function that reads this slide, or None where its name has no ending that sevhisto knows."""
    if not isinstance(path, str):
        return None
    name = path.lower().rstrip("/\\")
    return read_slide if any(name.endswith(suffix) for suffix in readers) else None


def read_slide(path: str | Sequence[str]) -> list[LayerData]:
    """Return the layers of every readable scene of a slide: one per channel, or one in colour.

    SlideError where no scene can be shown, with the reason.
    """
    file = Path(str(path))
    scenes = slide_info(file)
    layers: list[LayerData] = []
    refused: SlideError | None = None
    for scene in scenes:
        try:
            slide = open_slide(file, scene.scene)
        except SlideError as error:
            refused = error
            continue
        layers += slide_layers(slide, f"scene {scene.scene} " if len(scenes) > 1 else "")
    if not layers and refused is not None:
        raise refused
    return layers


def slide_layers(slide: Slide, prefix: str = "") -> list[LayerData]:
    """Return one lazy image layer per channel of a slide, in micrometres; in pixels where its file has no size of them.

    Parameters
    ----------
    slide : is closed when its layers are gone
    prefix : goes before the names of the layers
    """
    lock = Lock()
    finalize(lock, slide.close)  # the lock lives as long as the planes do
    where = _where(slide)
    groups = [tuple(range(3))] if slide.is_rgb else [(i,) for i in range(len(slide.channels))]
    layers: list[LayerData] = []
    for i, channels in enumerate(groups):
        planes, small = _pyramid(slide, channels, lock)
        look: dict[str, Any] = {"rgb": True}
        if not slide.is_rgb:
            marker = slide.channels[i]
            look = {"colormap": colormap_of(marker, i), "blending": "additive", "contrast_limits": contrast_limits(small)}
        name = prefix + ("colour" if slide.is_rgb else slide.channels[i])
        whole = {"name": name, "multiscale": len(planes) > 1, **look, **where}
        layers.append((planes if len(planes) > 1 else planes[0], whole, "image"))
    return layers


def _where(slide: Slide) -> dict[str, Any]:
    try:
        return place(slide.um_per_px)
    except SlideError:
        return {"scale": (1.0, 1.0), "units": ("pixel", "pixel"), "axis_labels": ("y", "x"), "metadata": {"um_per_px": None}}


def _pyramid(slide: Slide, channels: Sequence[int], lock: Lock) -> tuple[list[Any], AnyArray]:
    """Return the resolutions of one layer, largest first, and the smallest as an array."""
    planes: list[Any] = [LazyPlane(slide, channels, level, lock) for level in range(len(slide.levels))]
    h, w = slide.levels[-1]
    if h * w > LARGE_PX:
        step = -(-max(h, w) // OVERVIEW_SIDE_PX)
        take = partial(planes[-1].__getitem__, (slice(None), slice(None)))
        small = take()[::step, ::step] if slide.levels[-1] != slide.shape else _averaged(slide, channels, step)
        planes.append(small)
    return planes, np.asarray(planes[-1])


def _averaged(slide: Slide, channels: Sequence[int], step: int) -> AnyArray:
    try:
        um = slide.um_per_px * step
    except SlideError:
        rows = [slide.read(channels, y, y + 1, 0, slide.shape[1])[:, 0, ::step] for y in range(0, slide.shape[0], step)]
        mean = np.stack(rows, axis=1)
    else:
        mean = slide.overview(um, channels)[0]
    plane = mean[0] if len(channels) == 1 else np.moveaxis(mean, 0, -1)
    return np.asarray(np.rint(plane) if slide.dtype.kind in "iu" else plane, slide.dtype)
