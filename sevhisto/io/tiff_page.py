"""Regions of one TIFF page: only the tiles or strips that are needed are read, and each must decode whole."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sevhisto.io.scene import broken, why
from sevhisto.types import AnyArray

_CACHE_BYTES = 2**27
_JPEG = 7


class SegmentCache:
    """The decoded tiles that were used last, up to 128 MB."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[int, int], AnyArray] = OrderedDict()
        self._bytes = 0

    def get(self, key: tuple[int, int]) -> AnyArray | None:
        """The tile, if it is held."""
        if key in self._held:
            self._held.move_to_end(key)
        return self._held.get(key)

    def put(self, key: tuple[int, int], tile: AnyArray) -> None:
        """Hold the tile; let go of the oldest ones."""
        self._held[key] = tile
        self._bytes += tile.nbytes
        while self._bytes > _CACHE_BYTES and len(self._held) > 1:
            self._bytes -= self._held.popitem(last=False)[1].nbytes


class TiffPlane:
    """Pixels of one page (samples, h, w). Tiles are decoded by tifffile's page itself: its zarr store fills missing tiles with 0.

    Parameters
    ----------
    path : the file
    page : tifffile's page
    cache : shared by the pages of the file
    offset : byte where the pixels of an ImageJ plane without a page of its own start
    """

    def __init__(self, path: Path, page: Any, cache: SegmentCache, offset: int | None = None) -> None:
        self.path, self.page, self._cache = path, page, cache
        self.separate, _, h, w, self.contiguous = page.shaped
        self.shape = (int(h), int(w))
        self._key = id(self)
        self._map: AnyArray | None = None
        if offset is not None or page.is_memmappable:
            at = page.dataoffsets[0] if offset is None else offset
            self._map = np.memmap(path, page.parent.byteorder + page.dtype.char, "r", at, page.shaped)

    def read(self, samples: Sequence[int], y0: int, y1: int, x0: int, x1: int) -> AnyArray:
        """Pixels (len(samples), y1 - y0, x1 - x0) in native byte order."""
        if self._map is not None:
            view = self._map[:, 0, y0:y1, x0:x1] if self.separate > 1 else np.moveaxis(self._map[0, 0, y0:y1, x0:x1], -1, 0)[..., None]
            block = view[list(samples), :, :, 0]
            return np.ascontiguousarray(block.astype(self.page.dtype, copy=False))
        out = np.empty((len(samples), y1 - y0, x1 - x0), self.page.dtype)
        for i, (part, inner) in enumerate(divmod(s, self.contiguous) for s in samples):
            self._fill(out[i], part, inner, y0, x0)
        return out

    def _fill(self, out: AnyArray, part: int, inner: int, y0: int, x0: int) -> None:
        h, w = self.shape
        y1, x1 = y0 + out.shape[0], x0 + out.shape[1]
        th, tw = (self.page.tilelength, self.page.tilewidth) if self.page.is_tiled else (min(self.page.rowsperstrip, h), w)
        ny, nx = -(-h // th), -(-w // tw)
        for iy in range(y0 // th, -(-y1 // th)):
            for ix in range(x0 // tw, -(-x1 // tw)):
                tile = self._segment((part * ny + iy) * nx + ix)
                top, left = iy * th, ix * tw
                a, b = max(y0, top), min(y1, top + th)
                c, d = max(x0, left), min(x1, left + tw)
                if tile.shape[0] < b - top or tile.shape[1] < d - left:
                    raise broken(self.path, f"the tile at row {top}, column {left} is incomplete")
                out[a - y0 : b - y0, c - x0 : d - x0] = tile[a - top : b - top, c - left : d - left, inner]

    def _segment(self, index: int) -> AnyArray:
        held = self._cache.get((self._key, index))
        if held is not None:
            return held
        page = self.page
        offset, count = page.dataoffsets[index], page.databytecounts[index]
        handle = page.parent.filehandle
        handle.seek(offset)
        data = handle.read(count)
        if len(data) != count:
            raise broken(self.path, f"is cut short: tile {index + 1} is not there")
        if page.compression == _JPEG and not data.rstrip(b"\0\xff").endswith(b"\xff\xd9"):
            raise broken(self.path, f"tile {index + 1} is damaged: its JPEG data do not end")
        try:
            decoded = page.decode(data, index, jpegtables=page.jpegtables)[0]
        except Exception as error:
            raise broken(self.path, f"tile {index + 1} of {len(page.dataoffsets)} cannot be decoded ({why(error)})") from error
        if decoded is None or decoded.dtype != page.dtype:
            raise broken(self.path, f"tile {index + 1} is empty or of another type than the page says")
        tile: AnyArray = decoded[0]
        self._cache.put((self._key, index), tile)
        return tile
