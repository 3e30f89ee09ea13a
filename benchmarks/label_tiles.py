"""What labels at full resolution cost on a large section: time, memory, size, and whether they are what the pass counted.

python benchmarks/label_tiles.py [--factor N] [--px N]

The section is made at overview resolution: tissue of wavy outline, a wavy core that holds a cavity, and a masked part.
"""

from __future__ import annotations

import argparse
import re
import time
import zlib
from pathlib import Path

import numpy as np

from sevhisto.config import parse_config
from sevhisto.export.label_tiles import section_labels
from sevhisto.imaging.geometry import signed_distance
from sevhisto.imaging.places import SectionPlaces
from sevhisto.types import SectionView


def a_section(px: int, factor: int, um: float = 0.5) -> SectionView:
    """Return a round section `px` high and wide, of wavy outline, with a wavy core that holds a cavity."""
    n = -(-px // factor)
    yy, xx = (v - n / 2 for v in np.mgrid[:n, :n])
    radius, turn = np.hypot(yy, xx) / n, np.arctan2(yy, xx)
    tissue, core = radius < 0.44 + 0.01 * np.sin(9 * turn), radius < 0.12 + 0.01 * np.sin(17 * turn)
    cavity, masked = radius < 0.03, (np.abs(yy) < 0.02 * n) & (xx > 0.2 * n) & tissue
    distance = np.rint(np.clip(signed_distance(core, um * factor), -32000, 32000)).astype(np.int16)
    masks = {"tissue": tissue, "cavity": cavity, "masked": masked}
    meta = {"shape_px": [px, px], "overview_factor": factor, "has_core": True}
    return SectionView(meta, (), {}, {**{name: m.astype(np.uint8) for name, m in masks.items()}, "distance": distance})


def main() -> None:
    """Make the labels of one section and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--px", type=int, default=16384, help="height and width of the section")
    parser.add_argument("--factor", type=int, default=8, help="full-resolution pixels per pixel of the overview")
    args = parser.parse_args()
    config = parse_config(
        {
            "study": {"name": "labels", "section_spacing_um": 200},
            "panels": {"A": {"channels": [{"channel": 0, "marker": "GFAP", "role": "landmark"}]}},
        }
    )
    section_labels(SectionPlaces.of(a_section(256, 4)), config)  # compiles
    places = SectionPlaces.of(a_section(args.px, args.factor))
    start = time.process_time()
    labels = section_labels(places, config)
    took = time.process_time() - start
    peak = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024
    stored = {id(tile): len(tile) for one in labels for level in one.levels for tile in level.tiles}
    tiles = sum(len(level.tiles) for one in labels for level in one.levels)
    written = sum(len(tile) for one in labels for level in one.levels for tile in level.tiles)
    print(f"{args.px} x {args.px} px, {len(labels[0].levels)} levels, {len(labels)} kinds: {took:.2f} CPU s, {peak:.0f} MB at most")
    print(f"{tiles} tiles, {len(stored)} of them with a border or the first of their kind; {written / 1e6:.1f} MB")
    regions = labels[1].levels[0]
    tile = np.frombuffer(zlib.decompress(regions.tiles[0]), np.uint8).reshape(regions.side, regions.side)
    codes = places.at(np.arange(regions.side), np.arange(regions.side))
    print(f"first tile as the pass places pixels: {np.array_equal(tile, codes % 4)}")


if __name__ == "__main__":
    main()
