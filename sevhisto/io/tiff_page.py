"""Regions of one TIFF page: only the tiles or strips that are needed are read, and each must decode whole."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from sevhisto.io.jpeg_check import lost_bytes
from sevhisto.io.scene import broken, why
from sevhisto.io.tiff_decode import tile_decoder
from sevhisto.types import AnyArray

_LZW, _JPEG = 5, 7
_JPEG_ENDS = (b"\xff\xd9", *(bytes((0xFF, 0xD0 + i)) for i in range(8)))  # of the picture, or of a part of an NDPI picture


class SegmentCache:
    """The decoded tiles that were used last, up to `limit` bytes (80 MB)."""

    LIMIT = 5 * 2**24

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._spare: AnyArray | None = None
        self._held: OrderedDict[tuple[int, int], AnyArray] = OrderedDict()
        self._bytes = 0

    def get(self, key: tuple[int, int], keep: bool = True) -> AnyArray | None:
        """The tile, if it is held; it is let go of unless it is to be kept."""
        tile = self._held.pop(key, None)
        if tile is not None and keep:
            self._held[key] = tile  # as the one used last
        elif tile is not None:
            self._bytes -= tile.nbytes
        return tile

    def put(self, key: tuple[int, int], tile: AnyArray) -> None:
        """Hold the tile; let go of the oldest ones."""
        self._held[key] = tile
        self._bytes += tile.nbytes
        while self._bytes > self._limit and len(self._held) > 1:
            self._spare = self._held.popitem(last=False)[1]
            self._bytes -= self._spare.nbytes

    def room(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> AnyArray:
        """Memory for a new tile, of the one that was let go of last if it fits: fresh memory costs a fifth of the decoding."""
        spare, self._spare = self._spare, None
        if spare is not None and spare.shape == shape and spare.dtype == dtype and spare.flags.owndata:
            return spare
        return np.empty(shape, dtype)


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
        self.path, self.page, self.cache = path, page, cache
        self.separate, _, h, w, self.contiguous = page.shaped
        self.shape = (int(h), int(w))
        self._key = id(self)
        self._decode = tile_decoder(page, cache.room)
        self._map: AnyArray | None = None
        if offset is not None or page.is_memmappable:
            at = page.dataoffsets[0] if offset is None else offset
            self._map = np.memmap(path, page.parent.byteorder + page.dtype.char, "r", at, page.shaped)

    def read(self, sample: int, out: AnyArray, y0: int, x0: int) -> None:
        """Put the pixels of one sample from row `y0` and column `x0` on into `out` (h, w), which has the page's type."""
        part, inner = divmod(sample, self.contiguous)
        if self._map is not None:
            out[:] = self._map[part, 0, y0 : y0 + out.shape[0], x0 : x0 + out.shape[1], inner]
        else:
            self._fill(out, part, inner, y0, x0)

    def _fill(self, out: AnyArray, part: int, inner: int, y0: int, x0: int) -> None:
        h, w = self.shape
        y1, x1 = y0 + out.shape[0], x0 + out.shape[1]
        th, tw = (self.page.tilelength, self.page.tilewidth) if self.page.is_tiled else (min(self.page.rowsperstrip, h), w)
        ny, nx = -(-h // th), -(-w // tw)
        for iy in range(y0 // th, -(-y1 // th)):
            for ix in range(x0 // tw, -(-x1 // tw)):
                top, left = iy * th, ix * tw
                a, b = max(y0, top), min(y1, top + th)
                c, d = max(x0, left), min(x1, left + tw)
                # readers go right and down: once its last corner was read, a tile is not asked for again
                used_up = b == min(top + th, h) and d == min(left + tw, w) and self.contiguous == 1
                tile = self._segment((part * ny + iy) * nx + ix, keep=not used_up)
                if tile.shape[0] < b - top or tile.shape[1] < d - left:
                    raise broken(self.path, f"the tile at row {top}, column {left} is incomplete")
                out[a - y0 : b - y0, c - x0 : d - x0] = tile[a - top : b - top, c - left : d - left, inner]

    def _segment(self, index: int, keep: bool) -> AnyArray:
        held = self.cache.get((self._key, index), keep)
        if held is not None:
            return held
        page = self.page
        offset, count = page.dataoffsets[index], page.databytecounts[index]
        handle = page.parent.filehandle
        handle.seek(offset)
        data = handle.read(count)
        if len(data) != count:
            raise broken(self.path, f"is cut short: tile {index + 1} is not there")
        wrong = self._damage(data)
        if wrong:
            raise broken(self.path, f"tile {index + 1} is damaged: {wrong}")
        tile = self._decoded(data, index)
        if keep:
            self.cache.put((self._key, index), tile)
        return tile

    def _damage(self, data: bytes) -> str:
        """What is wrong with packed data that a decoder would not tell. The modules are compiled code, loaded only where needed."""
        page = self.page
        if page.compression == _LZW and int(page.fillorder) == 1:
            from sevhisto.io import lzw_scan

            return lzw_scan.damage_in(data)
        if page.compression != _JPEG:
            return ""
        from sevhisto.io import jpeg_scan

        if not data.rstrip(b"\0\xff").endswith(_JPEG_ENDS if page.jpegheader else _JPEG_ENDS[:1]):
            return "its JPEG data do not end"
        if lost_bytes(data, page.jpegheader or page.jpegtables):
            return "some of its JPEG data are zeros"
        return jpeg_scan.damage_in(data, page.jpegtables)

    def _decoded(self, data: bytes, index: int) -> AnyArray:
        page = self.page
        last = not page.is_tiled and (index + 1) % -(-self.shape[0] // page.rowsperstrip) == 0  # its strip can be shorter
        try:
            if self._decode is not None and not last:
                return self._decode(data)
            decoded = page.decode(data, index, jpegtables=page.jpegtables, **({"jpegheader": page.jpegheader} if page.jpegheader else {}))[
                0
            ]
        except Exception as error:
            raise broken(self.path, f"tile {index + 1} of {len(page.dataoffsets)} cannot be decoded ({why(error)})") from error
        if decoded is None or decoded.dtype != page.dtype:
            raise broken(self.path, f"tile {index + 1} is empty or of another type than the page says")
        tile: AnyArray = decoded[0]
        return tile
