"""Write sevhisto/io/canary_files: pictures of known pixels in every codec. Their pixels are `sevhisto.io.canary.truth`.

    python benchmarks/make_canary.py

Only to be run when a codec is added: the files are kept so that a decoder is held against bytes that another version wrote.
LIF, DICOM and OME-Zarr are written as the tests of these formats write them.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import imagecodecs
import numpy as np
import tifffile
from canary_formats import pack_czi, write_nd2

from sevhisto.io.canary import FILES, truth

YCBCR = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])  # JFIF; tifffile wants it so
TIFFS = {
    "none_u16_be.tif": {"byteorder": ">", "tile": (16, 16)},
    "deflate_u8.tif": {"compression": "zlib", "rowsperstrip": 7},
    "deflate_u16.tif": {"compression": "zlib", "predictor": True, "tile": (16, 16)},
    "deflate_f32.tif": {"compression": "zlib", "tile": (16, 16)},
    "lzw_u16.tif": {"compression": "lzw", "predictor": True, "tile": (16, 16)},
    "lzw_rgb.tif": {"compression": "lzw", "rowsperstrip": 7, "photometric": "rgb"},
    "zstd_u16.tif": {"compression": "zstd", "tile": (16, 16)},
    "packbits_u8.tif": {"compression": "packbits", "rowsperstrip": 7},
    "jpeg_u8.tif": {"compression": "jpeg", "compressionargs": {"level": 98}, "tile": (16, 16)},
    "jpeg_rgb.tif": {
        "compression": "jpeg",
        "compressionargs": {"level": 98},
        "tile": (16, 16),
        "photometric": "ycbcr",
        "subsampling": (1, 1),
    },
    "jpeg2000_u16.tif": {"compression": "jpeg2000", "tile": (16, 16)},
}


TIFFS["jpeg_rgb.tif"] |= {"photometric": "ycbcr", "subsampling": (1, 1)}


def main() -> int:
    """Write the files that are not there."""
    folder = Path(sys.modules["sevhisto.io.canary"].__file__ or "").with_name("canary_files")
    for name, options in TIFFS.items():
        pixels = np.moveaxis(truth(name), 0, -1) if name.endswith("_rgb.tif") else truth(name)[0]
        if name == "jpeg_rgb.tif":
            pixels = np.clip(np.rint(pixels @ YCBCR.T + (0, 128, 128)), 0, 255).astype(np.uint8)
        if not (folder / name).exists():
            tifffile.imwrite(folder / name, pixels, metadata=None, software=False, **{"photometric": "minisblack", **options})
    for name, encode in (("picture.png", imagecodecs.png_encode), ("picture.jpg", imagecodecs.jpeg8_encode)):
        if not (folder / name).exists():
            more = {"level": 98, "subsampling": "444"} if name.endswith("jpg") else {}
            (folder / name).write_bytes(encode(np.ascontiguousarray(np.moveaxis(truth(name), 0, -1)), **more))
    flat = folder / "flat_openslide.tif"
    if not flat.exists():
        tifffile.imwrite(flat, np.full((1000, 1000, 3), 200, "u1"), compression="zlib", tile=(256, 256), photometric="rgb", metadata=None)
    for name in FILES:
        if not (folder / name).exists():
            _other(folder, name)
    print({p.name: p.stat().st_size for p in sorted(folder.iterdir())}, set(FILES) - {p.name for p in folder.iterdir()})
    return 0


def _of_tests(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / "tests" / "io" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _other(folder: Path, name: str) -> None:
    path, pixels = folder / name, truth(name)
    codec = name.split("_")[0]
    if name.endswith(".nd2"):
        write_nd2(path, pixels, lossless=codec == "zlib")
    elif name.endswith(".czi"):
        pack_czi(folder / "none_u16.czi", path, codec, pixels[0])
    elif name.endswith(".lif"):
        lif = _of_tests("test_lif_reader")
        lif.write(path, {"two": lif.image("two", pixels.astype("<u2"), "CYX", ["A", "B"])})
    elif name.endswith(".dcm"):
        dicom = _of_tests("test_dicom")
        syntax = {"jpeg": dicom.JPEG, "jpeg2000": dicom.J2K, "jpegls": dicom.JLS, "rle": dicom.RLE}.get(codec, dicom.ExplicitVRLittleEndian)
        dicom.JPEG_OPTIONS |= {"level": 98, "subsampling": "444"}
        more = {} if pixels.dtype == np.uint8 else {"BitsStored": 16, "HighBit": 15}
        dicom.write(path, pixels, ("rgb",) if "rgb" in name else ("1", "2"), syntax=syntax, series=dicom.generate_uid(), **more)
    elif name.endswith(".zarr"):
        from zarr.codecs import BloscCodec, ZstdCodec

        more = {
            "v2": {"version": 2},
            "zstd": {"shards": (1, 32, 64), "compressors": ZstdCodec()},
            "blosc": {"compressors": BloscCodec()},
        }[codec]
        _of_tests("test_zarr_reader").write(path, [pixels], "cyx", [1, 0.5, 0.5], **more)


if __name__ == "__main__":
    sys.exit(main())
