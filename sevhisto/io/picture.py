"""JPEG and PNG pictures: colour or grey, read whole, without calibration."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sevhisto.io.jpeg_check import lost_bytes
from sevhisto.io.scene import RGB, SceneInfo, broken, checked_dtype, top_of_range, why
from sevhisto.types import AnyArray

_LARGEST_PX = 2**28  # a picture is held in memory whole
_PNG = b"\x89PNG\r\n\x1a\n"


class PictureSlideFile:
    """A JPEG or PNG file; its pixels are decoded at the first read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._data = path.read_bytes()
        if self._data.startswith(_PNG):
            h, w, samples, bits = self._png_header()
        elif self._data.startswith(b"\xff\xd8\xff"):
            h, w, samples, bits = self._jpeg_header()
        else:
            raise broken(path, "is not a JPEG or PNG picture")
        if h * w > _LARGEST_PX or h * w == 0:
            raise broken(path, f"its size, {w} x {h}, is too large or zero", "save it as a tiled OME-TIFF")
        dtype = checked_dtype(path, np.uint16 if bits == 16 else np.uint8)
        names = RGB if samples == 3 else ("channel 1",)
        self.scenes: tuple[SceneInfo, ...] = (SceneInfo(1, (h, w), names, dtype, is_rgb=samples == 3, bit_max=top_of_range(dtype)),)
        self._pixels: AnyArray | None = None

    def _png_header(self) -> tuple[int, int, int, int]:
        if len(self._data) < 33 or b"IEND" not in self._data[-16:]:
            raise broken(self.path, "the PNG picture is cut short")
        w, h, bits, kind = struct.unpack(">IIBB", self._data[16:26])
        if bits not in (8, 16) and kind != 3:
            raise broken(self.path, f"holds only {bits} bits per pixel", "save it with 8 or 16 bits")
        return h, w, 1 if kind in (0, 4) else 3, 8 if kind == 3 else bits

    def _jpeg_header(self) -> tuple[int, int, int, int]:
        data, at = self._data, 2
        if not data.rstrip(b"\0\xff").endswith(b"\xff\xd9"):
            raise broken(self.path, "the JPEG picture is cut short")
        if lost_bytes(data):
            raise broken(self.path, "the JPEG picture is damaged: some of its data are zeros")
        while at + 9 < len(data) and data[at] == 0xFF:
            marker, size = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
            if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame
                bits, h, w, samples = struct.unpack(">BHHB", data[at + 4 : at + 10])
                if samples not in (1, 3) or bits != 8:
                    raise broken(self.path, f"has {samples} colours of {bits} bits", "save it as RGB with 8 bits")
                return h, w, samples, bits
            at += 2 + size
        raise broken(self.path, "the JPEG picture has no frame")

    def _decoded(self) -> AnyArray:
        import imagecodecs

        info = self.scenes[0]
        if not self._data.startswith(_PNG):
            from sevhisto.io.jpeg_scan import damage_in  # compiled code: loaded only where there is JPEG

            wrong = damage_in(self._data)
            if wrong:
                raise broken(self.path, f"the JPEG picture is damaged: {wrong}")
        try:
            decode = imagecodecs.png_decode if self._data.startswith(_PNG) else imagecodecs.jpeg8_decode
            pixels = np.asarray(decode(self._data))
        except Exception as error:
            raise broken(self.path, f"cannot be decoded ({why(error)})") from error
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        if pixels.shape[-1] == len(info.channels) + 1:
            if (pixels[..., -1] != np.iinfo(pixels.dtype).max).any():
                raise broken(self.path, "is partly transparent", "save it without transparency")
            pixels = pixels[..., :-1]
        if pixels.shape != (*info.shape, len(info.channels)) or pixels.dtype != info.dtype:
            raise broken(self.path, f"its header and its pixels disagree ({info.shape} and {pixels.shape})")
        return np.moveaxis(pixels, -1, 0)

    def read(self, scene: int, channels: Sequence[int], z: int, y0: int, y1: int, x0: int, x1: int, level: int = 0) -> AnyArray:
        """Pixels (c, h, w)."""
        if self._pixels is None:
            self._pixels = self._decoded()
        return np.ascontiguousarray(self._pixels[list(channels), y0:y1, x0:x1])

    def close(self) -> None:
        """Let go of the pixels."""
        self._pixels = None
