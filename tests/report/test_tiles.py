"""Tiles against the picture they are made of, for sizes that do not divide."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sevhisto.report.overlay import composite
from sevhisto.report.tiles import Pyramid, added_up, halved, jpeg, level_shapes, n_pixels, reduction, stretched

SIDE = 16


def built(image: np.ndarray, side: int = SIDE) -> list[np.ndarray]:
    """Every level put together again from its tiles."""
    pyramid = Pyramid(image.shape[:2], side)
    levels = [np.full((*shape, *image.shape[2:]), 77, np.uint8) for shape in pyramid.shapes]
    seen = [np.zeros(shape, int) for shape in pyramid.shapes]
    for top in range(0, len(image), side):
        for tile in pyramid.add(image[top : top + side]):
            place = (slice(tile.y * side, tile.y * side + side), slice(tile.x * side, tile.x * side + side))
            assert levels[tile.level][place].shape == tile.pixels.shape  # no tile is padded
            levels[tile.level][place] = tile.pixels
            seen[tile.level][place] += 1
    assert all((s == 1).all() for s in seen)
    assert np.array_equal(pyramid.smallest, levels[-1])
    return levels


def means(image: np.ndarray) -> np.ndarray:
    """Half the size by plain arithmetic, pixel by pixel."""
    h, w = image.shape[:2]
    out = np.zeros(((h + 1) // 2, (w + 1) // 2, *image.shape[2:]), np.uint8)
    for y, x in np.ndindex(out.shape[:2]):
        out[y, x] = np.floor(image[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].reshape(-1, *image.shape[2:]).mean(axis=0) + 0.5)
    return out


@settings(max_examples=40, deadline=None)
@given(h=st.integers(1, 70), w=st.integers(1, 70), colour=st.booleans(), seed=st.integers(0, 99))
def test_every_level_is_the_picture_halved_and_nothing_is_there_twice(h: int, w: int, colour: bool, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (h, w, 3) if colour else (h, w)).astype(np.uint8)
    wanted = image
    for level in built(image):
        assert np.array_equal(level, wanted)
        wanted = means(wanted)


def test_levels_end_where_one_tile_holds_all() -> None:
    assert level_shapes((12288, 16384)) == [(12288 >> k, 16384 >> k) for k in range(6)]
    assert level_shapes((513, 3)) == [(513, 3), (257, 2)]
    assert level_shapes((512, 512)) == [(512, 512)]
    assert n_pixels((513, 3)) == 513 * 3 + 257 * 2


def test_rows_that_do_not_follow_are_refused() -> None:
    pyramid = Pyramid((40, 40), SIDE)
    with pytest.raises(ValueError, match="do not follow"):
        list(pyramid.add(np.zeros((8, 40), np.uint8)))


def test_a_tile_is_a_jpeg_near_its_pixels_and_the_same_each_time() -> None:
    ramp = np.add.outer(np.arange(64), np.arange(48)).astype(np.uint8)
    data = jpeg(ramp)
    read = np.asarray(Image.open(io.BytesIO(data)))
    assert read.shape == ramp.shape and np.abs(read.astype(int) - ramp).max() <= 4
    assert data == jpeg(ramp.copy())
    colour = np.stack([ramp, 255 - ramp, ramp], axis=-1)
    assert np.abs(np.asarray(Image.open(io.BytesIO(jpeg(colour)))).astype(int) - colour).max() <= 6


def test_channels_look_as_in_the_report(make_record) -> None:
    record = make_record()
    contrast = dict.fromkeys(record.markers, (3.0, 150.0))
    from sevhisto.report.overlay import channel_colours
    from sevhisto.types import decode_thumbnail

    planes = [stretched(decode_thumbnail(record.masks["thumbnail"][..., i]), *contrast[m]) for i, m in enumerate(record.markers)]
    mine = added_up(planes, list(channel_colours(record.markers).values())).astype(int)
    assert np.abs(mine - composite(record, contrast)).max() <= 2  # each channel is rounded by itself


@pytest.mark.parametrize(
    ("um", "finest", "factor"), [(0.325, 1.0, 3), (0.5, 1.0, 2), (0.65, 1.0, 1), (4.0, 1.0, 1), (0.325, 0.0, 1), (0.1, 0.3, 3)]
)
def test_a_picture_is_no_coarser_than_asked_for_nor_finer_than_the_slide(um: float, finest: float, factor: int) -> None:
    assert reduction(um, finest) == factor


def test_half_of_a_single_pixel_is_itself() -> None:
    assert halved(np.full((1, 1), 9, np.uint8)).tolist() == [[9]]
