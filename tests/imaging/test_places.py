"""Places told from a record are those that the pass counted by."""

from __future__ import annotations

import numpy as np
import pytest

from sevhisto.imaging.geometry import distance_bin, upsample
from sevhisto.imaging.places import SectionPlaces
from sevhisto.types import NO_DISTANCE, SectionView

FACTOR, SHAPE = 3, (40, 52)


def a_view(seed: int, core: bool) -> SectionView:
    rng = np.random.default_rng(seed)
    h, w = (-(-n // FACTOR) for n in SHAPE)
    masks = {name: (rng.random((h, w)) < share).astype(np.uint8) for name, share in (("tissue", 0.8), ("cavity", 0.2), ("masked", 0.2))}
    masks["tissue"][:, : w // 2] = 1
    masks["cavity"][:, : w // 2] = masks["masked"][:, : w // 2] = 0
    yy, xx = np.mgrid[:h, :w]
    masks["distance"] = np.rint(40 * np.hypot(yy - 6, xx - 8) - 150).astype(np.int16) if core else np.full((h, w), 32767, np.int16)
    return SectionView({"shape_px": list(SHAPE), "overview_factor": FACTOR, "has_core": core}, (), {}, masks)


@pytest.mark.parametrize("core", [True, False])
def test_places_are_those_of_interpolated_maps(core: bool) -> None:
    view = a_view(4, core)
    codes = SectionPlaces.of(view).at(np.arange(SHAPE[0]), np.arange(SHAPE[1]))
    tissue, cavity, masked = (upsample(view.masks[n], FACTOR, 0, SHAPE[0], 0, SHAPE[1]) >= 0.5 for n in ("tissue", "cavity", "masked"))
    region = np.where(~tissue, 0, np.where(masked, 3, np.where(cavity, 2, 1)))
    assert np.array_equal(codes % 4, region)
    far = distance_bin(upsample(view.masks["distance"], FACTOR, 0, SHAPE[0], 0, SHAPE[1])) if core else np.full(SHAPE, NO_DISTANCE)
    assert np.array_equal((codes // 4)[region > 0], far[region > 0])


@pytest.mark.parametrize("core", [True, False])
def test_the_range_of_a_tile_holds_all_that_is_in_it(core: bool) -> None:
    places = SectionPlaces.of(a_view(5, core))
    even = 0
    for y0, x0 in np.ndindex(5, 6):
        y, x = np.arange(8 * y0, 8 * y0 + 8), np.arange(8 * x0, 8 * x0 + 8)
        within, codes = places.range_at(y, x), places.at(y, x)
        if within is not None:
            even += 1
            assert len(np.unique(codes % 4)) == 1 and within[0] % 4 == within[1] % 4 == codes[0, 0] % 4
            assert codes.min() % 4 == 0 or within[0] <= codes.min() <= codes.max() <= within[1]
    assert even > 5
