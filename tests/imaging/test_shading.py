"""Shading: divided out exactly, whatever the blocks; found in slides where it is, and not where it is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from sevhisto.config import ImagingSettings
from sevhisto.imaging import blocks as grid
from sevhisto.imaging.overview import marker_reader
from sevhisto.imaging.plan import plan_section
from sevhisto.imaging.section import measure_section
from sevhisto.imaging.shading import Flat, bounded, flat_of, flattened, gain_of_image
from sevhisto.imaging.shading_estimate import FEWEST_FIELDS, estimate_gain, view_fields
from sevhisto.types import INTENSITY_EDGES, SHADING_NODES, Shading, SlideError

from .conftest import ArraySource, overview_of, panel_of, plain_correction

NODES = np.linspace(0, 1, SHADING_NODES)
DARK = 100.0


def vignette(loss, tilt=0.0):
    """Gain at the nodes; the corner has `loss` less light than the centre."""
    away = (2 * NODES - 1) ** 2
    gain = 1 - loss / 2 * (away[:, None] + away) + tilt * (NODES[None] - 0.5)
    return bounded(gain)[0]


def painted(gain, shape, field, origin):
    """The gain of every pixel, from its formula."""
    places = [((np.arange(n) + 0.5 - o) / f) % 1 for n, o, f in zip(shape, origin, field, strict=True)]
    rows = np.stack([np.interp(places[0], NODES, column) for column in gain.T], axis=1)
    return np.stack([np.interp(places[1], NODES, row) for row in rows])


def flat(gain, field, origin, shape):
    return Flat(np.stack([gain]).astype(np.float32), np.array([DARK], np.float32), field, origin, shape)


@given(st.floats(5, 90), st.floats(5, 90), st.floats(-50, 50), st.floats(-0.2, 0.2))
@hypothesis_settings(max_examples=20, deadline=None)
def test_an_evenly_lit_image_comes_back(high, wide, origin, tilt):
    gain, shape = vignette(0.4, tilt), (70, 90)
    raw = DARK + 500 * painted(gain, shape, (high, wide), (origin, -origin))
    even = flattened(raw[None].astype(np.float32), flat(gain, (high, wide), (origin, -origin), shape), 0, 0)
    assert even == pytest.approx(np.full((1, *shape), 600.0), abs=0.01)


def test_every_pixel_depends_on_its_own_place_only_and_no_data_stays_none():
    raw = np.random.default_rng(1).integers(50, 4000, (1, 80, 95)).astype(np.uint16)
    raw[0, 30:40, 40] = 0
    f = flat(vignette(0.4, 0.1), (33.3, 41.7), (5.2, -3.1), (80, 95))
    whole = flattened(raw, f, 0, 0)
    assert np.array_equal(whole[:, 17:60, 23:80], flattened(raw[:, 17:60, 23:80], f, 17, 23))
    assert np.array_equal(whole[:, 17:60, 23:80], flattened(raw[:, 17:60, 23:80], f.seen_from(10, 20), 7, 3))
    assert (whole[0, 30:40, 40] == 0).all()
    assert not (whole == raw).all()


@pytest.mark.parametrize("step", [3, 8])
def test_an_overview_is_flattened_as_the_mean_of_its_pixels(step):
    gain, shape = vignette(0.4, 0.15), (96, 120)
    raw = DARK + 800 * painted(gain, shape, (31.0, 47.0), (4.0, 9.0))
    means = raw.reshape(96 // step, step, 120 // step, step).mean((1, 3))
    found = flattened(means[None].astype(np.float32), flat(gain, (31.0, 47.0), (4.0, 9.0), shape), 0, 0, step)
    assert found == pytest.approx(np.full((1, *means.shape), 900.0), abs=0.02)


def test_an_image_without_a_field_size_is_one_field():
    shading = Shading(vignette(0.2)[None], np.array([DARK]), None, (0.0, 0.0), ("given",), (np.nan,))
    assert flat_of(shading, 0.5, (60, 80)).field_px == (60.0, 80.0)
    assert flat_of(replace(shading, field_um=(30.0, 40.0)), 0.5, (600, 800)).field_px == (60.0, 80.0)


def test_the_gain_of_a_flat_image_is_read_over_the_dark_level_or_as_it_is():
    places = (np.arange(256) + 0.5) / 256
    light = 1 - 0.2 * ((2 * places - 1) ** 2)[:, None] - 0.2 * ((2 * places - 1) ** 2)
    whole = gain_of_image((DARK + 2000 * light).astype(np.uint16), DARK, "flat.tif")[0]
    as_is = gain_of_image(light.astype(np.float32), DARK, "flat.tif")[0]
    assert whole == pytest.approx(vignette(0.4), abs=0.01)
    assert as_is == pytest.approx(whole, abs=0.002)
    assert whole.mean() == pytest.approx(1, abs=1e-5)
    with pytest.raises(SlideError, match="not brighter than the dark level"):
        gain_of_image(np.full((64, 64), 90, np.uint16), DARK, "flat.tif")
    assert gain_of_image(np.where(np.arange(64) < 32, 1.0, 0.1) * np.ones((64, 64)), 0.0, "flat.tif")[1]  # it was cut


def slides(gain, n, alike=False, seed=0, field=24):
    """Sections of 50 x 40 cells with grey and white matter, smooth unevenness, bright cells and noise, seen through fields of 24 cells."""
    rng = np.random.default_rng(seed)
    views = []
    for _ in range(n):
        y, x = np.mgrid[:50, :60] - np.array([25.0, 30.0])[:, None, None]
        tissue = (y / 20) ** 2 + (x / 26) ** 2 < 1
        light = 60 * (1 + 0.15 * (np.hypot(y, x) > 12)) * (1 + 0.1 * np.sin(y / 15 + rng.uniform(0, 6)))
        light = light + 500 * (rng.random(tissue.shape) < 0.15) * (np.hypot(y, x - 5) < 10)
        origin = (6.0, 3.0) if alike else tuple(rng.uniform(0, field, 2))
        raw = DARK + light * painted(gain, tissue.shape, (field, field), origin) + rng.normal(0, 2, tissue.shape)
        views.append(view_fields(raw[None].astype(np.float32), tissue, (field, field), origin))
    return views


@pytest.mark.parametrize(("loss", "tilt"), [(0.2, 0.0), (0.4, 0.1)])
def test_shading_is_found_in_the_slides_of_a_batch(loss, tilt):
    true = vignette(loss, tilt)
    found = estimate_gain(slides(true, 16), 0, DARK)
    assert found.stands_out
    assert np.sqrt(np.mean((found.gain - true) ** 2)) < 0.02
    assert found.error < 0.02


def test_slides_without_shading_get_none_and_few_or_too_similar_ones_tell_nothing():
    even = np.ones((SHADING_NODES, SHADING_NODES), np.float32)
    for seed in range(2):
        assert not estimate_gain(slides(even, 16, seed=seed), 0, DARK).stands_out
    assert not estimate_gain(slides(even, 16, alike=True), 0, DARK).stands_out  # what repeats here is the tissue
    few = estimate_gain(slides(vignette(0.4), 3), 0, DARK)
    assert few.n_fields < FEWEST_FIELDS
    assert not few.stands_out
    assert not estimate_gain([], 0, DARK).stands_out


def test_a_shaded_section_is_measured_like_an_even_one(bench, monkeypatch):
    section = bench.section(63, um_per_px=2.0, cord_um=(800.0, 600.0), shading=0, seam=0)
    panel, n = panel_of(section.spec.markers), len(section.spec.markers)
    light = section.image.astype(np.float32)
    h, w = light.shape[1:]
    field_um = (300.0, 400.0)
    gain = vignette(0.4)
    shaded = DARK + (light - DARK) * painted(gain, (h, w), (150.0, 200.0), (0.0, 0.0)).astype(np.float32)
    shading = Shading(np.stack([gain] * n), np.full(n, DARK), field_um, (0.0, 0.0), ("given",) * n, (np.nan,) * n)
    unmix = np.eye(n)
    unmix[[2, 3], 4] = -0.5
    shares = {"CD68": 0.5, "CD206": 0.5}
    correction = replace(plain_correction(n, 154.0), unmix=unmix, autofluorescence=shares, shading=shading)

    def measured(image, flat):
        source = ArraySource(image, 2.0)
        reader = replace(marker_reader(panel, range(n), 65535), flat=flat)
        settings = ImagingSettings()
        plan = plan_section(overview_of(source, reader, settings), source.shape, panel, correction, settings, piece=None)
        return measure_section(source, plan, reader, panel, correction, settings)

    even = measured(light, None)
    uneven, blind = (measured(shaded, f) for f in (flat_of(shading, 2.0, (h, w)), None))

    def off(record):  # positive area of every marker, and what of it autofluorescence explains
        from_100 = int(np.searchsorted(INTENSITY_EDGES, 100)) + 1
        a, b = (r.counts[:4, ..., from_100:].sum(axis=(1, 2, 3)).astype(float) for r in (even, record))
        from_20 = int(np.searchsorted(INTENSITY_EDGES, 20)) + 1
        c, d = (r.autofluorescent["CD206"][..., from_20:].sum() for r in (even, record))
        return np.abs(b / a - 1).max(), abs(d / c - 1)

    assert max(off(uneven)) < 0.005
    assert min(off(blind)) > 0.01
    assert uneven.meta["shading"] == dict.fromkeys(section.spec.markers, "given")
    monkeypatch.setattr(grid, "BLOCK_PX", 130)
    again = measured(shaded, flat_of(shading, 2.0, (h, w)))
    assert np.array_equal(again.counts, uneven.counts)
    assert all(np.array_equal(again.local[m], a) for m, a in uneven.local.items())
