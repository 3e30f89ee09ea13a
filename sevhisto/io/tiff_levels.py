"""The smaller copies (pyramid levels) that a TIFF holds of its planes: only such as are copies by size, type and number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sevhisto.io.tiff_page import TiffPlane

Planes = dict[tuple[int, int], TiffPlane]
"""The plane of each (page of channels, z)."""
_REDUCED = 1  # subfile type of a smaller copy; other bits mark macro pictures, masks and labels


def kind_of(plane: TiffPlane) -> tuple[Any, ...]:
    """What planes of one image have in common, apart from their size."""
    page = plane.page
    return page.dtype, int(page.samplesperpixel), int(page.photometric), int(page.bitspersample)


def is_smaller_copy(full: Sequence[int], small: Sequence[int]) -> bool:
    """Whether a picture of size `small` can be the one of size `full` made smaller: one factor, but for rounding, of at least 1.5."""
    least, most = 1.5, float("inf")
    for whole, part in zip(full, small, strict=True):
        if part < 1:
            return False
        least = max(least, whole / (part + 1))
        most = min(most, whole / (part - 1) if part > 1 else most)
    return least < most


def sub_levels(planes: Planes) -> list[Planes]:
    """Levels kept below each plane's page (SubIFDs); none unless every plane has the same."""
    below = {
        key: [TiffPlane(plane.path, page, plane.cache) for page in plane.page.pages] if plane.page.subifds else []
        for key, plane in planes.items()
    }
    n = len(below[0, 0])
    if any(len(levels) != n for levels in below.values()):
        return []
    return falling(planes, [{key: levels[k] for key, levels in below.items()} for k in range(n)])


def page_levels(planes: Planes, pages: Sequence[Any], used: Sequence[int], plane_of: Callable[[int], TiffPlane]) -> list[Planes]:
    """Levels kept as further pages of the file, as many of each size as there are planes, in the same order."""
    sizes: dict[tuple[int, int], list[int]] = {}
    first = planes[0, 0].page
    for i, page in enumerate(pages):
        # one page that is not tiled beside a tiled one is a thumbnail
        thumbnail = len(planes) == 1 and first.is_tiled and not page.is_tiled
        if i not in used and not int(page.subfiletype) & ~_REDUCED and not thumbnail:
            sizes.setdefault((page.imagelength, page.imagewidth), []).append(i)
    alike = [found for _, found in sorted(sizes.items(), reverse=True) if len(found) == len(planes)]
    return falling(planes, [{key: plane_of(i) for key, i in zip(planes, found, strict=True)} for found in alike])


def falling(planes: Planes, levels: list[Planes]) -> list[Planes]:
    """Those levels that are copies of the planes, each smaller than the one before."""
    full, kept = planes[0, 0], list[Planes]()
    smallest = full.shape
    for level in levels:
        shape = level[0, 0].shape
        alike = all(plane.shape == shape and kind_of(plane) == kind_of(full) for plane in level.values())
        if alike and is_smaller_copy(full.shape, shape) and shape < smallest:
            kept.append(level)
            smallest = shape
    return kept
