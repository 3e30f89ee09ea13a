from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from sevhisto.report.overlay import batch_contrast, channel_colours, composite, overlay, overlay_image, scale_bar_um, tissue_histograms
from sevhisto.types import SectionRecord, decode_thumbnail

Make = Callable[..., SectionRecord]
ZONES = [0, 250, 500, 1000, 2000]
ROLES = {"DAPI": "nuclei", "GFAP": "landmark", "CD68": "macrophage", "fibronectin": "ecm"}


def near(picture: np.ndarray, colour: tuple[int, int, int], tolerance: int = 60) -> np.ndarray:
    return np.abs(picture.astype(int) - colour).max(axis=-1) <= tolerance


def test_outlines_lie_on_the_borders_they_show(make_record: Make) -> None:
    record = make_record()
    picture = overlay(record, batch_contrast([tissue_histograms(record)]), ZONES, ROLES)
    assert picture.shape == (520, 640, 3) and picture.dtype == np.uint8
    orange = near(picture, (255, 149, 0), 25)
    distance = record.masks["distance"]
    assert orange.sum() > 300
    far = np.abs(distance[orange]) > 3 * 4  # within the line's width of the border, in um
    assert far.mean() < 0.02


def test_zone_borders_follow_the_stored_distance(make_record: Make) -> None:
    record = make_record()
    contrast = batch_contrast([tissue_histograms(record)])
    without, with_zone = (overlay(record, contrast, z, ROLES) for z in ([0], [0, 500]))
    changed = (without != with_zone).any(axis=-1)
    assert changed.sum() > 100
    assert np.abs(record.masks["distance"][changed] - 500).max() < 20
    assert record.masks["tissue"][changed].mean() > 0.99


def test_a_section_without_a_core_shows_neither_core_nor_zones(make_record: Make) -> None:
    record = make_record(core=False)
    contrast = batch_contrast([tissue_histograms(record)])
    picture = overlay(record, contrast, ZONES, ROLES)
    assert near(picture, (255, 149, 0), 25).sum() == 0
    assert np.array_equal(picture, overlay(record, contrast, [0], ROLES))


def test_masked_area_is_hatched(make_record: Make) -> None:
    record = make_record()
    bare = replace(record, masks={**record.masks, "masked": np.zeros_like(record.masks["masked"])})
    contrast = batch_contrast([tissue_histograms(record)])
    changed = (overlay(record, contrast, [0], ROLES) != overlay(bare, contrast, [0], ROLES)).any(axis=-1)
    masked = record.masks["masked"] > 0
    assert 0.1 < changed[masked].mean() < 0.7
    assert changed[~masked].sum() < 300  # the outline's outer half only


def test_empty_masks_and_one_pixel_do_not_fail(make_record: Make) -> None:
    record = make_record()
    nothing = {k: np.zeros_like(v) for k, v in record.masks.items()} | {"distance": np.full((520, 640), 32767, np.int16)}
    assert overlay(replace(record, masks=nothing), batch_contrast([tissue_histograms(replace(record, masks=nothing))]), ZONES).shape == (
        520,
        640,
        3,
    )
    tiny = {k: v[:1, :1] for k, v in record.masks.items()}
    assert overlay(replace(record, masks=tiny), batch_contrast([tissue_histograms(record)]), ZONES, max_px=40).shape == (40, 40, 3)


def test_colour_images_are_shown_as_they_are(make_record: Make) -> None:
    record = make_record(brightfield=True)
    assert np.array_equal(composite(record, {}), record.masks["thumbnail_rgb"])
    picture = overlay(record, {}, ZONES)
    flat = np.abs(picture.astype(int) - record.masks["thumbnail_rgb"]).max(axis=-1) <= 1
    assert flat.mean() > 0.9


def test_one_contrast_for_the_batch(make_record: Make) -> None:
    dim, bright = make_record(0), make_record(1)
    dim = replace(dim, masks={**dim.masks, "thumbnail": dim.masks["thumbnail"] // 2})
    contrast = batch_contrast(map(tissue_histograms, (dim, bright)))
    assert set(contrast) == set(dim.markers)
    pooled = np.concatenate([decode_thumbnail(r.masks["thumbnail"][..., 1][r.masks["tissue"] > 0]) for r in (dim, bright)])
    low, high = (float(np.quantile(pooled, q, method="inverted_cdf")) for q in (0.01, 0.998))
    assert contrast["GFAP"] == pytest.approx((low, high))
    assert composite(dim, contrast).mean() < composite(bright, contrast).mean()  # dim stays dim


def test_no_tissue_gives_a_usable_range(make_record: Make) -> None:
    record = make_record()
    record.masks["tissue"][:] = 0
    assert batch_contrast([tissue_histograms(record)])["DAPI"] == (0.0, 1.0)


def test_image_has_the_asked_size_and_the_same_bytes(make_record: Make) -> None:
    record = make_record()
    contrast = batch_contrast([tissue_histograms(record)])
    first = overlay_image(record, contrast, ZONES, ROLES, max_px=320)
    assert first == overlay_image(record, contrast, ZONES, ROLES, max_px=320)
    assert Image.open(io.BytesIO(first)).size == (320, 260)
    assert len(first) < 100_000


@pytest.mark.parametrize(("width_um", "bar"), [(4000, 1000), (2000, 500), (1999, 200), (799, 100), (12, 2)])
def test_scale_bar(width_um: float, bar: float) -> None:
    assert scale_bar_um(width_um) == bar


def test_channels_of_one_role_differ() -> None:
    roles = {"a": "ecm", "b": "ecm", "c": "macrophage", "d": "macrophage", "e": "nuclei"}
    colours = channel_colours(list(roles), roles)
    assert len(set(colours.values())) == 5
