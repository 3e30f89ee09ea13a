"""OME-Zarr 0.4 and 0.5 on a local disk, by the zarr library. A chunk that is not there is an error, never the fill value."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sevhisto.io.pixelsize import Calibration, calibration
from sevhisto.io.scene import SceneInfo, broken, checked_dtype, named, top_of_range, why
from sevhisto.io.zarr_check import REMEDY, check_array, check_links, read_json
from sevhisto.types import AnyArray, SlideError

_NOT_SCENES = {"labels", "OME"}


class ZarrSlideFile:
    """A folder in OME-Zarr: one multiscale image, or numbered images as bioformats2raw writes them."""

    def __init__(self, path: Path) -> None:
        import zarr

        self.path, self._zarr = path, zarr
        self._arrays: list[list[Any]] = []
        self._axes: list[str] = []
        if not path.is_dir():
            raise broken(path, "is no folder; an OME-Zarr image is one", REMEDY)
        try:
            check_links(path)
            groups = self._images()
            self.scenes = tuple(self._scene(number, group) for number, group in enumerate(groups, 1))
        except SlideError:
            raise
        except Exception as error:
            raise broken(path, f"its OME-Zarr metadata cannot be read ({why(error)})", REMEDY) from error

    def _images(self) -> list[Path]:
        if "multiscales" in _attributes(self.path):
            return [self.path]
        numbered = sorted((p for p in self.path.iterdir() if p.is_dir() and p.name.isdigit()), key=lambda p: int(p.name))
        found = [p for p in numbered if p.name not in _NOT_SCENES and "multiscales" in _attributes(p)]
        if not found:
            raise broken(self.path, "holds no OME-Zarr image (no multiscales)", REMEDY)
        return found

    def _scene(self, number: int, group: Path) -> SceneInfo:
        facts = _attributes(group)
        image = facts["multiscales"][0]
        axes = [a if isinstance(a, str) else a["name"] for a in image["axes"]]
        if sorted(axes) != sorted(set(axes)) or not set(axes) <= set("tczyx") or axes[-2:] != ["y", "x"]:
            raise broken(self.path, f"its axes are {', '.join(axes)}; they must be of t, c, z, y, x and end with y, x", REMEDY)
        arrays = [self._array(group, d["path"]) for d in image["datasets"]]
        first = arrays[0]
        if any(len(a.shape) != len(axes) or a.dtype != first.dtype for a in arrays):
            raise broken(self.path, "its levels differ in axes or type", REMEDY)
        size = dict(zip(axes, first.shape, strict=True))
        others = [i for i in range(len(axes)) if axes[i] not in "yx"]
        smaller = [a for a in arrays[1:] if all(a.shape[i] == first.shape[i] for i in others)]
        self._arrays.append([first, *smaller])
        self._axes.append("".join(axes))
        dtype = checked_dtype(self.path, first.dtype)
        labels = [str(c.get("label") or "") for c in facts.get("omero", {}).get("channels", [])]
        n = size.get("c", 1)
        return SceneInfo(
            number,
            (size["y"], size["x"]),
            named(labels if len(labels) == n else [], n),
            dtype.newbyteorder("="),
            (self._calibration(image, axes),),
            n_z=size.get("z", 1),
            n_t=size.get("t", 1),
            bit_max=top_of_range(dtype),
            levels=tuple((a.shape[-2], a.shape[-1]) for a in smaller),
        )

    def _array(self, group: Path, name: str) -> Any:
        if Path(name).is_absolute() or ".." in Path(name).parts or not (group / name).resolve().is_relative_to(self.path.resolve()):
            raise broken(self.path, f"refers to data outside its folder ({name!r})", REMEDY)
        check_array(self.path, group / name)
        return self._zarr.open_array(str(group / name), mode="r")

    def _calibration(self, image: dict[str, Any], axes: list[str]) -> Calibration:
        scale = [1.0] * len(axes)
        found = False
        for part in (*image.get("coordinateTransformations", []), *image["datasets"][0].get("coordinateTransformations", [])):
            if part.get("type") == "scale":
                scale, found = [a * float(b) for a, b in zip(scale, part["scale"], strict=True)], True
        units = [a.get("unit") if isinstance(a, dict) else None for a in image["axes"]][-2:]
        if not found or units[0] != units[1] or not units[0]:
            return Calibration(None, "OME-Zarr", "has no pixel size with a unit")
        return calibration(scale[-1], scale[-2], units[0], "OME-Zarr")

    def read(self, scene: int, channels: Sequence[int], z: int, y0: int, y1: int, x0: int, x1: int, level: int = 0) -> AnyArray:
        """Pixels (c, h, w) of plane `z`."""
        array, axes = self._arrays[scene - 1][level], self._axes[scene - 1]
        runs = [[channels[0], channels[0] + 1]]
        for channel in channels[1:]:
            if channel == runs[-1][1]:
                runs[-1][1] += 1
            else:
                runs.append([channel, channel + 1])
        found = []
        for first, stop in runs:  # neighbouring channels at once: the library takes a millisecond a call
            place = {"t": slice(0, 1), "c": slice(first, stop), "z": slice(z, z + 1), "y": slice(y0, y1), "x": slice(x0, x1)}
            index = tuple(place[a] for a in axes)
            self._check_chunks(array, index)
            try:
                block = np.asarray(array[index]).transpose(sorted(range(len(axes)), key=lambda i: "tzcyx".index(axes[i])))
            except Exception as error:
                raise broken(self.path, f"rows {y0} to {y1} of channel {first + 1} cannot be read ({why(error)})", REMEDY) from error
            found.append(block.reshape(stop - first, y1 - y0, x1 - x0))
        return np.concatenate(found).astype(self.scenes[scene - 1].dtype, copy=False)

    def _check_chunks(self, array: Any, index: tuple[slice, ...]) -> None:
        """Chunks (or the shards that hold them) that are not on disk would be read as the fill value."""
        size = array.shards or array.chunks
        spans = [range(s.start // n, -(-s.stop // n)) for s, n in zip(index, size, strict=True)]
        folder = Path(str(array.store_path.store.root)) / array.store_path.path
        for place in np.ndindex(*(len(s) for s in spans)):
            key = array.metadata.encode_chunk_key(tuple(s[i] for s, i in zip(spans, place, strict=True)))
            if not (folder / key).is_file():
                raise broken(self.path, f"the chunk {key} of {folder.name} is missing", REMEDY)

    def close(self) -> None:
        """Let go of the arrays."""
        self._arrays.clear()


def _attributes(group: Path) -> dict[str, Any]:
    """Return what OME-Zarr notes of a group: in version 0.5 under ``ome`` of zarr.json, in 0.4 in .zattrs; {} for what is no group."""
    new, old = group / "zarr.json", group / ".zattrs"
    if new.is_file():
        found = read_json(new, group).get("attributes", {})
        return dict(found.get("ome", found))
    return read_json(old, group) if old.is_file() else {}
