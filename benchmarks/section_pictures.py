"""Outlines of a section at full resolution, true and measured, and a montage of many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sevhisto.imaging.geometry import upsample
from sevhisto.phantom.geometry import fill_polygon
from sevhisto.types import BoolArray, SectionRecord, decode_thumbnail


def true_masks(shapes: dict[str, Any], corner: tuple[int, int], shape: tuple[int, int]) -> dict[str, BoolArray]:
    """Return the true outlines as full-resolution masks over a box of the slide."""

    def mask(polygons: list[Any]) -> BoolArray:
        out = np.zeros(shape, np.uint8)
        for polygon in polygons:
            fill_polygon(out, np.array(polygon) - np.array(corner[::-1]))
        return out > 0

    cavity = mask(shapes["cavities"])
    return {"tissue": mask([shapes["tissue"]]), "core": mask([shapes["core"]] if shapes["core"] else []), "cavity": cavity}


def measured_masks(record: SectionRecord, corner: tuple[int, int], shape: tuple[int, int]) -> dict[str, BoolArray]:
    """Return the record's masks at full resolution over the same box, interpolated as the measurement does it."""
    y0, x0 = (corner[k] - record.meta["corner_px"][k] for k in (0, 1))
    h, w = record.meta["shape_px"]
    inside = np.zeros(shape, bool)
    inside[max(-y0, 0) : max(h - y0, 0), max(-x0, 0) : max(w - x0, 0)] = True
    factor = record.meta["overview_factor"]
    return {
        name: (upsample(record.masks[name], factor, y0, y0 + shape[0], x0, x0 + shape[1]) >= 0.5) & inside
        for name in ("tissue", "core", "cavity")
    }


def montage(path: Path, pictures: list[Any], columns: int = 4, width: int = 420) -> None:
    """Write the sections side by side: GFAP green, DAPI blue, first marker of interest red; outlines drawn over them."""
    tiles = []
    for title, record, real, found, corner, value in pictures:
        thumbnail = np.stack([decode_thumbnail(record.masks["thumbnail"][..., k]) for k in (2, 1, 0)], -1)
        top = np.maximum(np.percentile(thumbnail, 99.5, axis=(0, 1)), 1)
        small = np.clip(255 * np.sqrt(np.clip(thumbnail / top, 0, 1)), 0, 255).astype(np.uint8)
        factor, scale = record.meta["overview_factor"], width / small.shape[1]
        image = cv2.resize(small, (width, round(small.shape[0] * scale)), interpolation=cv2.INTER_AREA)
        y0, x0 = (record.meta["corner_px"][k] - corner[k] for k in (0, 1))
        for masks, colours in (
            (real, {"tissue": (255,) * 3, "core": (255,) * 3, "cavity": (255,) * 3}),
            (found, {"core": (255, 60, 60), "cavity": (90, 160, 255), "tissue": (255, 200, 0)}),
        ):
            for name, colour in colours.items():
                contours, _ = cv2.findContours(masks[name].astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
                drawn = [np.rint((c - np.array([x0, y0]) + 0.5) * scale / factor - 0.5).astype(np.int32) for c in contours]
                cv2.polylines(image, drawn, True, colour, 1, cv2.LINE_AA)
        cv2.putText(image, f"{title}  core Dice {value:.3f}", (6, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
        tiles.append(image)
    high = max(t.shape[0] for t in tiles)
    tiles = [np.pad(t, ((0, high - t.shape[0]), (0, 0), (0, 0))) for t in tiles]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    sheet = np.vstack([np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)])
    cv2.imwrite(str(path), sheet[..., ::-1])
