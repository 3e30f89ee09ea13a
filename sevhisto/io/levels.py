"""Whether a smaller copy of an image can stand in for the image in an overview: by its size, and by its pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from sevhisto.types import AnyArray, FloatArray

_STEP_TOLERANCE = 0.15  # an overview may be this much coarser or finer than asked for, where that lets a copy be used
_SAMPLE_PX = 640  # side of a sample in full-resolution pixels, about
_LEAST_SAMPLE = 8  # and its least side in pixels of the overview
_SPREAD, _OFFSET = 0.05, 0.01
_MOST_SHIFT = 0.1  # pixels of the overview
_ROUNDING = 1.5  # grey levels: copies are whole numbers, rounded or cut at every level


class Copy(NamedTuple):
    """A copy to try: its number, the full-resolution pixels along a side of its pixels, and of the overview's."""

    level: int
    factor: int
    step: int


def copies_for(shape: tuple[int, int], levels: Sequence[tuple[int, int]], step: int) -> list[Copy]:
    """Return the copies from which an overview of `step` pixels can be made, the smallest first.

    Only whole factors count, so that each pixel of the overview covers whole pixels of the copy; where the factor does not divide `step`,
    the nearest step that it does divide, within 15 %.
    """
    found = []
    for number, size in enumerate(levels, 1):
        factor = max(1, round(shape[0] / size[0]))
        whole = all(n // factor <= part <= -(-n // factor) for n, part in zip(shape, size, strict=True))
        near = round(step / factor) * factor
        if factor > 1 and whole and near and abs(near - step) <= _STEP_TOLERANCE * step:
            found.append(Copy(number, factor, near))
    return sorted(found, key=lambda copy: -copy.factor)


def samples(plane: FloatArray, step: int) -> Iterator[tuple[int, int, int, int]]:
    """Regions (i0, i1, j0, j1) of an overview to compare with full resolution; the same for the same overview.

    Where it varies most; where it varies least, and among such beside what varies most (there a part left blank is told from glass); in
    the middle; and a quarter in.
    """
    h, w = plane.shape
    side = max(_LEAST_SAMPLE, _SAMPLE_PX // step)
    tops = [*range(0, max(1, h - side), side), max(0, h - side)]
    lefts = [*range(0, max(1, w - side), side), max(0, w - side)]
    spread = np.array([[plane[i : i + side, j : j + side].std(dtype=np.float64) for j in lefts] for i in tops])
    padded = np.pad(spread, 1, mode="edge")
    beside = np.max([padded[i : i + len(tops), j : j + len(lefts)] for i in range(3) for j in range(3)], axis=0)
    flat = np.where(spread <= spread.min() * 1.01, beside, -1.0)
    n, m = spread.shape
    chosen = [divmod(int(spread.argmax()), m), divmod(int(flat.argmax()), m), (n // 2, m // 2), (n // 4, m // 4)]
    for a, b in dict.fromkeys(chosen):
        yield tops[a], min(h, tops[a] + side), lefts[b], min(w, lefts[b] + side)


def agrees(copy: AnyArray, truth: AnyArray, whole_numbers: bool) -> bool:
    """Whether a region of an overview made from a copy shows the same as the one made from full resolution.

    Parameters
    ----------
    copy, truth : (h, w) block means
    whole_numbers : whether the pixels of the file are, so that the copy was rounded
    """
    made, true = copy.astype(np.float64), truth.astype(np.float64)
    if made.shape != true.shape or not np.isfinite(made).all():
        return False
    difference = made - true
    slack = (_ROUNDING if whole_numbers else 0.0) + _OFFSET * abs(float(true.mean()))
    spread = float(true.std())
    if abs(float(difference.mean())) > slack + _OFFSET * spread or float(np.abs(difference).mean()) > slack + _SPREAD * spread:
        return False
    if min(true.shape) < 2 or spread <= slack:
        return True  # nothing that a shift could move
    # a small shift changes the picture by so much of its slope
    return all(abs(float((difference * slope).sum())) <= _MOST_SHIFT * float((slope**2).sum()) for slope in np.gradient(true))


def block_mean(plane: AnyArray, f: int) -> FloatArray:
    """Return means (float32) of `f` x `f` blocks of `plane` (h, w); blocks at the far edges hold what is there."""
    if f == 1:
        return plane.astype(np.float32)
    sums = _sums(_sums(plane, f).T, f).T
    h, w = plane.shape
    rows = np.minimum(f, h - np.arange(0, h, f))
    cols = np.minimum(f, w - np.arange(0, w, f))
    means: FloatArray = (sums / (rows[:, None] * cols[None, :])).astype(np.float32)
    return means


def _sums(plane: AnyArray, f: int) -> AnyArray:
    """Sums of every `f` rows, exact for whole numbers, whatever the order."""
    h = len(plane)
    if plane.dtype.kind == "f":
        wide: type[np.generic] = np.float64
    else:
        small = plane.dtype.itemsize <= 2 and f < 2**16
        wide = np.uint32 if small else np.uint64
    sums = plane[::f].astype(wide)
    for k in range(1, min(f, h)):
        part = plane[k::f]
        sums[: len(part)] += part
    return sums
