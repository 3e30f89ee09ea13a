"""A canary for the codecs: pictures of known pixels, read as slides are, before a slide is. What reads them wrong stops the run."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from sevhisto.io.scene import why
from sevhisto.types import AnyArray, Problem, SlideError

FOLDER = Path(__file__).with_name("canary_files")
_LOSSY = 12
"""Most grey levels by which a pixel of a lossy picture may be off; decoders differ by 1 or 2, the encoder lost the rest."""
FILES: dict[str, tuple[str, str]] = {
    # file: what reads it, and the package whose codec it tries
    "none_u16_be.tif": ("tiff", "tifffile"),
    "deflate_u8.tif": ("tiff", "imagecodecs"),
    "deflate_u16.tif": ("tiff", "imagecodecs"),
    "deflate_f32.tif": ("tiff", "imagecodecs"),
    "lzw_u16.tif": ("tiff", "imagecodecs"),
    "lzw_rgb.tif": ("tiff", "imagecodecs"),
    "zstd_u16.tif": ("tiff", "imagecodecs"),
    "packbits_u8.tif": ("tiff", "imagecodecs"),
    "jpeg_u8.tif": ("tiff", "imagecodecs"),
    "jpeg_rgb.tif": ("tiff", "imagecodecs"),
    "jpeg2000_u16.tif": ("tiff", "imagecodecs"),
    "picture.png": ("picture", "imagecodecs"),
    "picture.jpg": ("picture", "imagecodecs"),
    "none_u16.czi": ("slideio", "slideio"),
    "jpegxr_u16.czi": ("slideio", "slideio"),
    "flat_openslide.tif": ("openslide", "openslide-bin"),
    "none_two_u16.nd2": ("nd2", "nd2"),
    "zlib_two_u16.nd2": ("nd2", "nd2"),
    "none_two_u16.lif": ("lif", "liffile"),
    "none_two_u16.dcm": ("dicom", "pydicom"),
    "rle_rgb.dcm": ("dicom", "imagecodecs"),
    "jpeg_rgb.dcm": ("dicom", "imagecodecs"),
    "jpeg2000_two_u16.dcm": ("dicom", "imagecodecs"),
    "jpegls_two_u16.dcm": ("dicom", "imagecodecs"),
    "v2_two_u16.zarr": ("zarr", "zarr"),
    "zstd_two_u16.zarr": ("zarr", "zarr"),
    "blosc_two_u16.zarr": ("zarr", "zarr"),
}
_READ_BY = {".czi": "slideio", ".vsi": "slideio", ".mrxs": "openslide", ".bif": "openslide"}
_READ_BY |= {".nd2": "nd2", ".lif": "lif", ".dcm": "dicom", ".zarr": "zarr"}
_READ_BY |= dict.fromkeys((".png", ".jpg", ".jpeg"), "picture")


def truth(name: str) -> AnyArray:
    """Return the pixels (c, h, w) of a canary: sides that are no multiple of a tile, values that no two neighbours share."""
    if name == "flat_openslide.tif":
        return np.full((3, 1000, 1000), 200, np.uint8)
    if name.endswith(".czi"):
        y, x = np.mgrid[:48, :64]
        return np.asarray((1000 + 64 * y + x)[None], np.uint16)
    y, x = np.mgrid[:41, :53]
    lossy = "jpeg_" in name or name.endswith("jpg")
    plane = 40 + 2 * y + 2 * x + (y * x) // 29 if lossy else y * 131 + x * 17 + y * x * 7
    if "_two_" in name:
        return np.asarray(np.stack([plane[:23, :37], plane[22::-1, :37]]) * 29 % 60013, np.uint16)
    if "u16" in name:
        return np.asarray((plane * 29 % 60013)[None], np.uint16)
    if "f32" in name:
        return np.asarray((plane / 8)[None], np.float32)
    if "_u8" in name:
        return np.asarray((plane % 251)[None], np.uint8)
    return np.asarray(np.stack([plane, plane + 30, plane[::-1]]) % 251, np.uint8)


def read(name: str) -> AnyArray:
    """Return the pixels (c, h, w) of a canary as its reader gives them."""
    from sevhisto.io.openslide_reader import OpenSlideFile
    from sevhisto.io.slides import open_slide

    if FILES[name][0] == "openslide":
        file = OpenSlideFile(FOLDER / name)
        try:
            return file.read(1, [0, 1, 2], 0, 0, 1000, 0, 1000)
        finally:
            file.close()
    with open_slide(FOLDER / name) as slide:
        return slide.read(range(len(slide.channels)), 0, slide.shape[0], 0, slide.shape[1])


def try_one(name: str) -> tuple[str, str]:
    """Read one canary twice. Return ``ok``, ``wrong`` or ``absent`` (its library is not installed), and what was seen."""
    package = FILES[name][1]
    try:
        told = f"{package} {version(package)}"
    except PackageNotFoundError:
        return "absent", f"{package} is not installed"
    try:
        found = [read(name) for _ in range(2)]
    except ImportError as error:
        return "absent", f"{package} is not installed ({error.name})"
    except Exception as error:
        return "wrong", f"{told}: {why(error)}"
    want = truth(name)
    for pixels in found:
        if pixels.shape != want.shape or pixels.dtype != want.dtype:
            return "wrong", f"{told}: {pixels.shape} {pixels.dtype} instead of {want.shape} {want.dtype}"
        off = np.abs(pixels.astype(np.float64) - want.astype(np.float64))
        bad = int((off > (_LOSSY if "jpeg_" in name or name.endswith("jpg") else 0)).sum())
        if bad:
            return "wrong", f"{told}: {bad} of {want.size} pixels are wrong, by up to {off.max():g}"
    return "ok", told


@lru_cache(maxsize=8)
def problems_of(reader: str) -> tuple[Problem, ...]:
    """Return what one reader, as `FILES` names it, gets wrong; tried once in a process."""
    remedy = "a library on this machine hands out wrong pixels: install the versions of constraints.txt, then `sevhisto selftest`"
    tried = ((name, *try_one(name)) for name, (kind, _) in FILES.items() if kind == reader)
    return tuple(Problem(f"codec canary {name}", said, remedy) for name, state, said in tried if state == "wrong")


def need_codecs(path: Path) -> None:
    """SlideError if what reads an image on this machine, in this process, reads known pictures wrong."""
    found = problems_of(_READ_BY.get(path.suffix.lower(), "tiff"))
    if found:
        raise SlideError(found)
