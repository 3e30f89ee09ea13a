"""Tiles of the common TIFF codecs, unpacked into memory of just their size; everything else is left to tifffile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np

from sevhisto.types import AnyArray

Decoder = Callable[[bytes], AnyArray]
_UNPACK: dict[int, Any] = {
    5: imagecodecs.lzw_decode,
    8: imagecodecs.deflate_decode,
    32946: imagecodecs.deflate_decode,
    50000: imagecodecs.zstd_decode,
}
_NO_PREDICTOR, _DIFFERENCES = 1, 2


Room = Callable[[tuple[int, ...], "np.dtype[Any]"], AnyArray]


def tile_decoder(page: Any, room: Room) -> Decoder | None:
    """Return what unpacks one whole tile or strip of `page`; None if tifffile must do it.

    The decoder gives (h, w, samples) in native byte order, in memory from `room`. It raises ValueError, or the codec's own error,
    where the data are damaged or hold more or fewer bytes than a tile has.
    """
    unpack = _UNPACK.get(int(page.compression))
    dtype, predictor = np.dtype(page.dtype), int(page.predictor)
    plain = dtype.kind == "u" or (dtype.kind == "f" and predictor == _NO_PREDICTOR)
    if unpack is None or not plain or predictor not in (_NO_PREDICTOR, _DIFFERENCES):
        return None
    if int(page.bitspersample) != 8 * dtype.itemsize or int(page.fillorder) != 1 or page.jpegtables is not None:
        return None
    if not page.is_tiled and page.rowsperstrip >= page.imagelength:
        return None
    h, w = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    shape = (int(h), int(w), int(page.shaped[4]))
    stored = dtype.newbyteorder(page.parent.byteorder)
    size = dtype.itemsize * shape[0] * shape[1] * shape[2]
    # one byte more than a tile has: too many bytes are seen too. Used again for every tile, so it stays in the fast memory
    scratch = np.empty(size + 1, np.uint8)

    def decode(data: bytes) -> AnyArray:
        n = len(unpack(data, out=scratch))
        if n != size:
            raise ValueError(f"it holds {'more than ' if n > size else ''}{min(n, size)} bytes where its pixels need {size}")
        packed = scratch[:size].view(stored).reshape(shape)
        tile = room(shape, dtype)
        if predictor == _NO_PREDICTOR:
            tile[:] = packed
            return tile
        # two axes where two will do: with a third of length 1 the sums take half as long again
        flat = shape[:2] if shape[2] == 1 else shape
        imagecodecs.delta_decode(packed.astype(dtype, copy=False).reshape(flat), axis=1, out=tile.reshape(flat))
        return tile

    return decode
