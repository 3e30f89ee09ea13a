"""Random byte faults in tiny slides of every codec and format: with the checksum of first sight, and without it."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from faults_row import Options, Row

from sevhisto.io.canary import FOLDER
from sevhisto.io.slides import open_slide
from sevhisto.io.sources import FirstSight, look_at
from sevhisto.types import SevhistoError

PER_KIND = 500  # of each kind
LIMIT_S = 20
KINDS = ("flip", "header", "zeros", "truncate", "insert")
UM = 0.5


@dataclass(frozen=True)
class Good:
    """An intact slide: what is damaged in it, and what reading it gives."""

    path: Path
    files: list[Path]
    truth: tuple[object, ...]


def bytes_of_slides(options: Options) -> Iterator[Row]:
    """Damage each kind of slide, look whether first sight tells it, and whether reading alone would."""
    options.scratch.mkdir(parents=True)
    rng = np.random.default_rng(options.seed)
    for name, make in _makers(options).items():
        folder = options.scratch / name.replace(" ", "_")
        folder.mkdir()
        path = make(folder)
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        good = Good(path, files, _read(path))
        whole = options.scratch / "whole"
        _copy(path, whole)
        n = options.n(PER_KIND)
        counts = dict.fromkeys(("told", "silent", "crashed", "refused", "same", "wrong", "died"), 0)
        for told, alone in _tried(good, whole, n, [int(s) for s in rng.integers(0, 2**62, n)]):
            counts[told] += 1
            counts[alone] += 1
        said = f"without first sight: {counts['refused']} refused, {counts['same']} read right, {counts['wrong']} silently wrong"
        yield Row("bytes", name, n, counts["told"], silent=counts["silent"], crashed=counts["crashed"] + counts["died"], note=said)
        _remove(whole)


# ---------------------------------------------------------------- good slides


def _makers(options: Options) -> dict[str, Callable[[Path], Path]]:
    y, x = np.mgrid[:96, :112]
    plane = (500 + 20 * y + 13 * x + (x * y) % 97).astype(np.uint16)
    found: dict[str, Callable[[Path], Path]] = {}
    for codec, more in {
        "none": {},
        "deflate": {"compression": "zlib", "tile": (32, 32)},
        "LZW": {"compression": "lzw", "tile": (32, 32)},
        "zstd": {"compression": "zstd", "tile": (32, 32)},
        "JPEG": {"compression": "jpeg", "tile": (32, 32)},
    }.items():
        pixels = (plane // 16).astype(np.uint8) if codec == "JPEG" else plane
        found[f"TIFF {codec}"] = lambda folder, pixels=pixels, more=more: _tiff(folder / "a.tif", pixels, **more)
    found["OME-TIFF"] = lambda folder: _ome(folder / "a.ome.tif", np.stack([plane, plane[::-1]]))
    found["SVS"] = lambda folder: _svs(folder / "a.svs", np.stack([plane // 16] * 3, -1).astype(np.uint8))
    kept = {"CZI": "none_u16.czi", "CZI JPEG XR": "jpegxr_u16.czi", "ND2 zlib": "zlib_two_u16.nd2", "LIF": "none_two_u16.lif"}
    kept |= {"DICOM": "none_two_u16.dcm", "DICOM JPEG": "jpeg_rgb.dcm", "DICOM JPEG-LS": "jpegls_two_u16.dcm"}
    for kind, name in kept.items():
        found[kind] = lambda folder, name=name: Path(shutil.copy(FOLDER / name, folder / f"a{Path(name).suffix}"))
    nd2 = None if options.data is None else options.data / "vendor" / "cluster.nd2"
    if nd2 is not None and nd2.is_file():
        found["ND2"] = lambda folder: Path(shutil.copy(nd2.with_name("example-multichannel.nd2"), folder / "a.nd2"))
    found["OME-Zarr"] = lambda folder: _zarr(folder / "a.zarr", np.stack([plane, plane[::-1]]))
    return found


def _tiff(path: Path, pixels: np.ndarray, **more: object) -> Path:
    size = {"resolution": (1e4 / UM, 1e4 / UM), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata=None, **size, **more)
    return path


def _ome(path: Path, pixels: np.ndarray) -> Path:
    size = {"PhysicalSizeX": UM, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": UM, "PhysicalSizeYUnit": "µm"}
    meta = {"axes": "CYX", "Channel": {"Name": ["DAPI", "GFAP"]}, **size}
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata=meta, compression="zlib", tile=(32, 32))
    return path


def _svs(path: Path, pixels: np.ndarray) -> Path:
    """A colour TIFF in JPEG tiles with Aperio's description: tiny, so that thousands can be tried."""
    text = f"Aperio Image Library v12.0\n{pixels.shape[1]}x{pixels.shape[0]}|AppMag = 20|MPP = {UM}"
    tifffile.imwrite(path, pixels, photometric="rgb", compression="jpeg", tile=(32, 32), description=text, metadata=None)
    return path


def _zarr(path: Path, pixels: np.ndarray) -> Path:
    import zarr

    group = zarr.create_group(str(path))
    group.create_array("0", shape=pixels.shape, dtype=pixels.dtype, chunks=(1, 48, 56))[...] = pixels
    axes = [{"name": "c", "type": "channel"}, *({"name": a, "type": "space", "unit": "micrometer"} for a in "yx")]
    data = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, UM, UM]}]}]
    group.attrs.update({"ome": {"version": "0.5", "multiscales": [{"axes": axes, "datasets": data}]}})
    return path


# ---------------------------------------------------------------- faults


def damage(files: list[Path], seed: int) -> str:
    """Damage one of the files, so that its bytes differ; return what was done."""
    rng = np.random.default_rng(seed)
    path = files[int(rng.integers(len(files)))]
    good = path.read_bytes()
    kind = KINDS[int(rng.integers(len(KINDS)))]
    data = bytearray(good)
    while bytes(data) == good:
        at = int(rng.integers(len(good)))
        if kind == "flip":
            data[at] ^= int(rng.integers(1, 256))
        elif kind == "header":
            data[int(rng.integers(min(len(good), 512)))] ^= int(rng.integers(1, 256))
        elif kind == "zeros":
            n = int(rng.integers(1, 512))
            data[at : at + n] = bytes(len(data[at : at + n]))
        elif kind == "truncate":
            del data[at:]
        else:
            data[at:at] = rng.integers(0, 256, int(rng.integers(1, 64)), dtype=np.uint8).tobytes()
        if kind == "zeros" and bytes(data) == good and not any(good[at:]):
            kind = "flip"
    path.write_bytes(data)
    return kind


def _tried(good: Good, whole: Path, n: int, seeds: list[int]) -> Iterator[tuple[str, str]]:
    """Yield for each fault what first sight and what reading alone make of it; a process that dies costs one fault."""
    done = 0
    while done < n:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            _work(good, whole, seeds[done:], writing)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            for line in pipe:
                done += 1
                yield tuple(json.loads(line))
        os.waitpid(child, 0)
        _restore(good, whole)
        if done < n:
            done += 1
            print(f"died: {good.path.name}, seed {seeds[done - 1]}", flush=True)
            yield "told", "died"


def _work(good: Good, whole: Path, seeds: list[int], writing: int) -> None:
    kept = FirstSight(Path(os.devnull), {"a": look_at(good.path)}, [])
    for seed in seeds:
        signal.alarm(LIMIT_S)
        damage(good.files, seed)
        try:
            told = "told" if kept.compare("a", look_at(good.path)) else "silent"
        except (SevhistoError, OSError):
            told = "told"
        except BaseException as error:
            told = "crashed"
            print(f"first sight: {good.path.name}, seed {seed}: {error!r}", flush=True)
        try:
            alone = "same" if _read(good.path) == good.truth else "wrong"
        except SevhistoError:
            alone = "refused"
        except BaseException as error:
            alone = "died"
            print(f"reading: {good.path.name}, seed {seed}: {error!r}", flush=True)
        _restore(good, whole)
        os.write(writing, (json.dumps([told, alone]) + "\n").encode())
    os._exit(0)


def _read(path: Path) -> tuple[object, ...]:
    with open_slide(path) as slide:
        pixels = slide.read(range(len(slide.channels)), 0, slide.shape[0], 0, slide.shape[1])
        return pixels.shape, str(pixels.dtype), hash(pixels.tobytes()), slide.um_per_px, slide.channels, slide.n_z


def _copy(path: Path, to: Path) -> None:
    shutil.copytree(path, to) if path.is_dir() else shutil.copy(path, to)


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _restore(good: Good, whole: Path) -> None:
    if good.path.is_dir():
        for file in good.files:
            shutil.copy(whole / file.relative_to(good.path), file)
    else:
        shutil.copy(whole, good.path)
