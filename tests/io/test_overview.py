"""Overviews: exact means, from a smaller copy only where it shows what the image shows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevhisto.io.levels import block_mean, copies_for
from sevhisto.io.overview import averaged, make_overview


def image_of(h=900, w=1300, n=2):
    """Noise on smooth structures, with an empty border."""
    rng = np.random.default_rng(3)
    yy, xx = np.mgrid[0:h, 0:w]
    inside = np.hypot(yy - h / 2, (xx - w / 2) * 0.7) < h / 2.5
    waves = 300 * (1 + np.sin(yy / 23) * np.cos(xx / 31))
    return np.stack([rng.poisson(np.where(inside, waves * (c + 1), 0) + 100) for c in range(n)]).astype(np.uint16)


def reader(image, copy=None):
    def read(level, c, box):
        return (copy if level else image)[c, box[0] : box[1], box[2] : box[3]]

    return read


def copy_of(image, g):
    return np.stack([np.round(block_mean(p, g)) for p in image]).astype(image.dtype)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([np.uint8, np.uint16, np.uint32, np.float32]))
def test_block_means_are_means_of_blocks(seed, kind):
    rng = np.random.default_rng(seed)
    h, w, f = (int(v) for v in rng.integers(1, 40, 3))
    plane = rng.integers(0, 255, (h, w)).astype(kind)
    found = block_mean(plane, f)
    for i, y in enumerate(range(0, h, f)):
        for j, x in enumerate(range(0, w, f)):
            assert found[i, j] == pytest.approx(plane[y : y + f, x : x + f].mean(dtype=np.float64), rel=1e-6)


def test_the_largest_values_do_not_overflow():
    assert (block_mean(np.full((700, 600), 65535, np.uint16), 300) == 65535).all()


def test_the_smallest_copy_that_fits_is_tried_first():
    levels = [(4096, 4096), (2048, 2048), (512, 512)]
    assert copies_for((8192, 8192), levels, 8)[0] == (2, 4, 8)
    assert copies_for((8192, 8192), levels, 17)[0] == (3, 16, 16)  # 15 % off at most
    assert copies_for((8192, 8192), levels, 11)[0] == (2, 4, 12)
    assert copies_for((8192, 8192), [], 8) == copies_for((8192, 8192), levels, 1) == []
    assert copies_for((900, 1300), [(300, 650)], 8) == copies_for((1000, 1000), [(400, 400)], 8) == []


@pytest.mark.parametrize("cut", [0, 3])
def test_a_copy_gives_the_overview_of_the_image(cut):
    image = image_of()[:, : 900 - cut, : 1300 - cut]
    shape = image.shape[1:]
    box = (0, shape[0], 0, shape[1])
    whole, _ = make_overview(reader(image), 2, shape, [], box, 8, True)
    for c in range(2):
        assert np.array_equal(whole[c], block_mean(image[c], 8))
    copy = copy_of(image, 4)
    for made in (copy, copy[:, : shape[0] // 4, : shape[1] // 4]):  # writers round up, or down
        seen, step = make_overview(reader(image, made), 2, shape, [made.shape[1:]], box, 8, True)
        assert step == 8 and seen.shape == whole.shape
        assert 0 < np.abs(seen - whole).max() <= 0.51  # rounded, so it was the copy


def test_a_part_of_the_image_has_its_own_overview():
    image = image_of()
    read = reader(image, copy_of(image, 4))
    box = (64, 500, 128, 1000)
    whole = averaged(read, 2, box, 8)
    assert np.array_equal(whole[1], block_mean(image[1, 64:500, 128:1000], 8))
    assert np.abs(averaged(read, 2, box, 8, 1, 4) - whole).max() <= 0.51
    odd = (66, 500, 128, 1000)  # no pixel of the copy starts there
    assert np.array_equal(make_overview(read, 2, (900, 1300), [(225, 325)], odd, 8, True)[0], averaged(read, 2, odd, 8))


def spoiled(kind, image):
    copy = copy_of(image, 4)
    if kind == "partly blank":
        copy[:, 100:150, 130:200] = 0
    elif kind == "one channel blank":
        copy[1] = 0
    elif kind == "shifted":
        copy = np.roll(copy, 12, axis=2)
    elif kind == "stretched":
        copy = np.minimum(copy.astype(np.uint32) * 5 // 4, 65535).astype(np.uint16)
    elif kind == "other channel order":
        copy = copy[::-1].copy()
    return copy


@pytest.mark.parametrize("kind", ["partly blank", "one channel blank", "shifted", "stretched", "other channel order"])
def test_a_copy_that_shows_something_else_is_not_used(kind):
    image = image_of()
    box = (0, 900, 0, 1300)
    found, _ = make_overview(reader(image, spoiled(kind, image)), 2, (900, 1300), [(225, 325)], box, 8, True)
    assert np.array_equal(found, averaged(reader(image), 2, box, 8))
