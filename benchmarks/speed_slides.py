"""The slides that benchmarks/speed.py measures, and studies of one of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

UM = 0.5
SEED = 9101
TILE = 2048
HALVINGS = 6


def make_slide(path: Path, shape: tuple[int, int], panel: str) -> None:
    """Write one section of exactly this shape (height, width)."""
    from sevhisto.phantom import SectionSpec, make_section, optics, write_slide
    from sevhisto.phantom.spec import stream
    from sevhisto.phantom.study import PANELS
    from sevhisto.phantom.study_files import CHANNEL_OF

    height, width = (UM * n for n in shape)
    spec = SectionSpec(markers=PANELS[panel], um_per_px=UM, cord_um=(0.95 * width, 0.95 * height), margin_um=0.0)
    section = make_section(spec, SEED, keep_truth_images=False)
    image = np.empty((len(spec.markers), *shape), np.uint16)
    h, w = (min(a, b) for a, b in zip(shape, section.image.shape[1:], strict=True))
    y, x = (shape[0] - h) // 2, (shape[1] - w) // 2
    for k, marker in enumerate(spec.markers):
        image[k] = optics.bare_glass(spec, image[k].size, stream(SEED, "glass", marker)).reshape(shape)
        image[k, y : y + h, x : x + w] = section.image[k, :h, :w]
    section.truth.layers.clear()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name("part.ome.tif")
    write_slide(part, [replace(section, image=image)], padding_um=0, channel_names=[CHANNEL_OF[m] for m in spec.markers])
    part.rename(path)


def write_study(folder: Path, slide: Path, panel: str, copies: int = 1) -> list[Any]:
    """Write a study of this slide, as often as asked for under other names; return its tasks, without correction."""
    from sevhisto.io.study import load_study
    from sevhisto.phantom import StudySpec
    from sevhisto.phantom.study_files import study_toml
    from sevhisto.pipeline.running import slide_tasks

    (folder / "slides").mkdir()
    names = [f"{k}_{slide.name}" for k in range(1, copies + 1)]
    for name in names:
        (folder / "slides" / name).hardlink_to(slide)
    (folder / "study.toml").write_text(study_toml(StudySpec()), "utf-8")
    rows = [f"{name},R1,s{k},1,{panel},batch1,sample,{10000 + k}\n" for k, name in enumerate(names)]
    (folder / "slides.csv").write_text("file,animal,section,piece,panel,batch,role,position_um\n" + "".join(rows), "utf-8")
    (folder / "animals.csv").write_text("animal,protocol\nR1,vehicle\n", "utf-8")
    (folder / "motor.csv").write_text("animal,day,score\n", "utf-8")
    # the record's key holds the file's hash, which equal copies share: each gets a folder of its own
    return [replace(t, records=t.records.with_name(f"records{k}")) for k, t in enumerate(slide_tasks(load_study(folder)))]


def write_repeated(path: Path, slide: Path, shape: tuple[int, int]) -> None:
    """Write a slide of any size (height, width) made of one tile of tissue and, along its edges, one of glass; see RepeatedTiles."""
    from sevhisto.io.slides import open_slide

    with open_slide(slide, 1, None) as source:
        h, w = source.shape
        channels = list(range(len(source.channels)))
        tissue = source.read(channels, h // 2, h // 2 + TILE, w // 8, w // 8 + TILE)
        corner = source.read(channels, 0, 256, 0, 256)
        glass = np.tile(corner, (1, TILE // 256, TILE // 256))
        facts = {"shape": shape, "channels": source.channels, "um": source.um_per_px, "bit_max": source.bit_max}
    np.savez(path.with_suffix(".npz"), tissue=tissue, glass=glass)
    path.write_text(json.dumps(facts), "utf-8")


class RepeatedTiles:
    """A file of any size whose pixels are two tiles, of tissue and of glass, over and over; with smaller copies, as slides have."""

    def __init__(self, path: Path) -> None:
        from sevhisto.io.pixelsize import calibration
        from sevhisto.io.scene import SceneInfo

        facts = json.loads(path.read_text("utf-8"))
        with np.load(path.with_suffix(".npz")) as tiles:
            pair = [tiles["tissue"], tiles["glass"]]
        self._levels = [pair]
        for _ in range(HALVINGS):
            pair = [np.stack([_halved(plane) for plane in tile]) for tile in pair]
            self._levels.append(pair)
        h, w = facts["shape"]
        self.scenes = (
            SceneInfo(
                scene=1,
                shape=(h, w),
                channels=tuple(facts["channels"]),
                dtype=np.dtype(np.uint16),
                calibrations=(calibration(facts["um"], facts["um"], "um", "OME-XML"),),
                bit_max=facts["bit_max"],
                levels=tuple((h >> k, w >> k) for k in range(1, HALVINGS + 1)),
            ),
        )

    def read(self, scene: int, channels: Sequence[int], z: int, y0: int, y1: int, x0: int, x1: int, level: int = 0) -> Any:
        """Pixels (c, h, w), tile by tile."""
        tissue, glass = self._levels[level]
        side = TILE >> level
        h, w = (n >> level for n in self.scenes[0].shape)
        rows, columns = (h - 1) // side, (w - 1) // side
        out = np.empty((len(channels), y1 - y0, x1 - x0), np.uint16)
        for i in range(y0 // side, (y1 - 1) // side + 1):
            for j in range(x0 // side, (x1 - 1) // side + 1):
                tile = glass if i in (0, rows) or j in (0, columns) else tissue
                ya, yb, xa, xb = max(y0, i * side), min(y1, (i + 1) * side), max(x0, j * side), min(x1, (j + 1) * side)
                for k, c in enumerate(channels):
                    part = tile[c, ya - i * side : yb - i * side, xa - j * side : xb - j * side]
                    out[k, ya - y0 : yb - y0, xa - x0 : xb - x0] = part
        return out

    def close(self) -> None:
        """Nothing is open."""


def _halved(plane: Any) -> Any:
    return cv2.resize(plane, (plane.shape[1] // 2, plane.shape[0] // 2), interpolation=cv2.INTER_AREA)


def register() -> None:
    """Let this process open files of repeated tiles."""
    from sevhisto.io.slides import readers

    readers.register(".tiles")(RepeatedTiles)
