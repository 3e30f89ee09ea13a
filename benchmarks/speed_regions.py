"""Reading a region with sevhisto and with the library of the format's own makers or best-known reader, one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 1024
REPEATS = 15
Box = tuple[int, int, int, int]
Row = dict[str, Any]
Call = Callable[[], Any]


def region(shape: tuple[int, int]) -> Box:
    """Return the middle 1024 x 1024 pixels, or the whole image where it is smaller."""
    h, w = shape
    y, x = max((h - SIDE) // 2, 0), max((w - SIDE) // 2, 0)
    return y, min(y + SIDE, h), x, min(x + SIDE, w)


def ours(path: Path, box: Box | None) -> tuple[Call, Callable[[], None], Box, tuple[int, ...]]:
    """Return a call that reads every channel of a region of the first scene, one that closes the file, the region, and what there is."""
    from sevhisto.io.slides import open_slide, slide_info

    slide = open_slide(path, 1, None if slide_info(path)[0].um_per_px is not None else 1.0)
    box = box or region(slide.shape)
    channels = list(range(len(slide.channels)))
    return (lambda: slide.read(channels, *box)), slide.close, box, (len(channels), slide.n_z)


def openslide(path: Path, box: Box) -> tuple[Call, Callable[[], None]]:
    """OpenSlide, as RGB."""
    import openslide as library

    slide = library.OpenSlide(str(path))
    y0, y1, x0, x1 = box

    def read() -> Any:
        return np.moveaxis(np.asarray(slide.read_region((x0, y0), 0, (x1 - x0, y1 - y0)))[:, :, :3], -1, 0)

    return read, slide.close


def nd2(path: Path, box: Box) -> tuple[Call, Callable[[], None]]:
    """The nd2 library: every plane in depth of the first position and frame, and their maximum."""
    import nd2 as library

    file = library.ND2File(path)
    y0, y1, x0, x1 = box
    loops = list(file.loop_indices) or [{}]
    height, width = file.sizes["Y"], file.sizes["X"]
    frames = [i for i, loop in enumerate(loops) if not loop.get("P", 0) and not loop.get("T", 0)]

    def read() -> Any:
        planes = [np.asarray(file.read_frame(i)).reshape(-1, height, width)[:, y0:y1, x0:x1] for i in frames]
        return np.max(planes, axis=0)

    return read, file.close


def czi(path: Path, box: Box) -> tuple[Call, Callable[[], None]]:
    """The library of Zeiss, pylibCZIrw: every channel and plane in depth of the first scene, and the maximum over depth."""
    from pylibCZIrw import czi as library

    context = library.open_czi(str(path))
    file = context.__enter__()
    y0, y1, x0, x1 = box
    bounds = file.total_bounding_box
    scenes = file.scenes_bounding_rectangle
    left, top = (scenes[0].x, scenes[0].y) if scenes else (bounds["X"][0], bounds["Y"][0])
    roi = (left + x0, top + y0, x1 - x0, y1 - y0)

    def read() -> Any:
        out = []
        for c in range(*bounds.get("C", (0, 1))):
            planes = [file.read(roi=roi, plane={"C": c, "Z": z, "T": 0}, scene=0 if scenes else None) for z in range(*bounds["Z"])]
            out.append(np.max(planes, axis=0)[:, :, 0])
        return np.stack(out)

    return read, lambda: context.__exit__(None, None, None)


def zarr(path: Path, box: Box) -> tuple[Call, Callable[[], None]]:
    """The zarr library on the first array of the multiscale image."""
    import zarr as library

    array = library.open_array(str(path / "0"), mode="r")
    y0, y1, x0, x1 = box

    def read() -> Any:
        return np.asarray(array[..., y0:y1, x0:x1]).reshape(-1, y1 - y0, x1 - x0)

    return read, lambda: None


def tifffile(path: Path, box: Box) -> tuple[Call, Callable[[], None]]:
    """The tifffile library, through its zarr interface, which reads only the tiles that are needed."""
    import tifffile as library
    import zarr as store

    file = library.TiffFile(path)
    array = store.open_array(file.series[0].aszarr(level=0), mode="r")
    y0, y1, x0, x1 = box
    return (lambda: np.asarray(array[:, y0:y1, x0:x1])), file.close


VENDORS: dict[str, Callable[[Path, Box], tuple[Call, Callable[[], None]]]] = {
    ".svs": openslide,
    ".nd2": nd2,
    ".czi": czi,
    ".zarr": zarr,
    ".tif": tifffile,
}


def compare(path: Path) -> Row:
    """Read the same region by both, each time from a file that was just opened; return the best times (ms)."""
    vendor = VENDORS[path.suffix]
    row: Row = {"file": path.name, "vendor": vendor.__name__}
    try:
        read, close, box, found = ours(path, None)
    except Exception as error:
        return row | {"note": f"not read: {str(error).splitlines()[0]}"}
    close()
    row |= {"shape": (found[0], box[1] - box[0], box[3] - box[2]), "depth": found[1]}
    best = {"ours": np.inf, "theirs": np.inf}
    opened = dict(best)
    same = True
    for _ in range(REPEATS):
        made: dict[str, Any] = {}
        for who in best:
            begin = time.perf_counter()
            try:
                read, close = ours(path, box)[:2] if who == "ours" else vendor(path, box)
            except ImportError as error:
                return row | {"note": f"not installed: {error.name}"}
            start = time.perf_counter()
            made[who] = read()
            end = time.perf_counter()
            best[who] = min(best[who], 1e3 * (end - start))
            opened[who] = min(opened[who], 1e3 * (end - begin))
            close()
        same = same and made["ours"].shape == made["theirs"].shape and bool((made["ours"] == made["theirs"]).all())
    ratios = {"ratio": best["ours"] / best["theirs"], "ratio_opened": opened["ours"] / opened["theirs"]}
    return row | best | ratios | {"same": same}


def regions(files: list[Path]) -> list[Row]:
    """Compare every file."""
    import cv2

    cv2.setNumThreads(1)
    return [compare(path) for path in files]
