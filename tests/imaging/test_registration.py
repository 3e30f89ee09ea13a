"""An outline carried over from a neighbour: it lands where the lesion is, however the sections lie, and says when it does not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevhisto.imaging.plan import Drawn
from sevhisto.imaging.registration import Neighbour, carry_core
from sevhisto.types import decode_thumbnail


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / max(np.count_nonzero(a) + np.count_nonzero(b), 1)


@pytest.fixture(scope="module")
def section(bench):
    """A section as `Neighbour`, from a phantom."""

    def make(seed, markers=("DAPI", "GFAP"), **changes):
        made = bench.section(seed, um_per_px=2.5, markers=markers, **changes)
        record = bench.record(made.image, 2.5, bench.panel(markers))
        nuclei = decode_thumbnail(record.masks["thumbnail"][..., 0])
        return Neighbour(record.masks["tissue"] > 0, record.masks["core"] > 0, nuclei, record.meta["overview_um"])

    return make


@pytest.mark.parametrize(("seed", "turn", "scale"), [(61, 170, 1.0), (62, -75, 0.5), (63, 20, 1.3)])
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_core_lands_where_the_neighbour_has_it(section, seed, turn, scale, mirrored):
    there = section(seed, lesion_scale=scale)
    here = section(seed, lesion_scale=scale * 1.05, rotation_deg=turn, nuclei_density=0.8, gain=1.4, psf_um=1.5)
    if mirrored:
        here = Neighbour(here.tissue[:, ::-1], here.core[:, ::-1], here.nuclei[:, ::-1], here.um)
    near = Neighbour(there.tissue, there.core, there.nuclei, there.um, mirrored)
    carried = carry_core(near, here.tissue, here.nuclei, here.um)
    assert dice(carried.core, here.core) >= 0.92
    assert carried.fits and carried.sure and not (carried.core & ~here.tissue).any()


def test_another_pixel_size_carries_the_same(section):
    there, here = section(61), section(61, rotation_deg=40)
    coarse = Neighbour(there.tissue[::2, ::2], there.core[::2, ::2], there.nuclei[::2, ::2], there.um * 2)
    fine = carry_core(there, here.tissue, here.nuclei, here.um)
    assert dice(carry_core(coarse, here.tissue, here.nuclei, here.um).core, fine.core) >= 0.95


def test_outlines_alone_are_never_sure(section):
    there, here = section(62), section(62, rotation_deg=10)
    carried = carry_core(there, here.tissue, None, here.um)
    assert dice(carried.core, here.core) >= 0.85
    assert carried.fits and not carried.sure and np.isnan(carried.likeness)


@settings(max_examples=20, deadline=None)
@given(st.integers(20, 60), st.integers(20, 60), st.integers(0, 2**16))
def test_any_shapes_give_an_answer_within_the_tissue(height, width, seed):
    rng = np.random.default_rng(seed)
    near = Neighbour(rng.random((height, width)) < 0.5, rng.random((height, width)) < 0.2, rng.random((height, width), np.float32), 10.0)
    tissue = rng.random((width, height)) < rng.random()
    carried = carry_core(near, tissue, rng.random((width, height), np.float32), 8.0)
    assert carried.core.shape == tissue.shape and not (carried.core & ~tissue).any()
    assert 0 <= carried.overlap <= 1


def test_a_band_does_not_fit_a_disc():
    y, x = np.mgrid[:200, :200]
    disc, band = np.hypot(y - 100, x - 100) < 70, (abs(y - 100) < 20) & (abs(x - 100) < 95)
    carried = carry_core(Neighbour(disc, disc & (x < 80), None, 8.0), band, None, 8.0)
    assert not carried.fits


def test_the_record_says_where_its_outline_is_from(bench, section):
    made = bench.section(63, um_per_px=2.5, markers=("DAPI", "CD68"), rotation_deg=30)
    panel = bench.panel(made.spec.markers)

    def flags(near):
        record = bench.record(made.image, 2.5, panel, drawn=Drawn(None, None, neighbour=near))
        return set(record.meta["flags"]), record

    there = section(63)
    found, record = flags(Neighbour(there.tissue, there.core, there.nuclei, there.um, gap_um=40.0))
    assert {"contour_carried", "contour_unreviewed"} <= found and not found & {"no_landmark", "no_lesion", "contour_uncertain"}
    assert record.meta["contour"]["carried_um"] == 40.0 and record.meta["has_core"]
    found, record = flags(Neighbour(there.tissue, np.zeros_like(there.core), there.nuclei, there.um))
    assert {"contour_carried", "no_lesion"} <= found and not record.meta["has_core"]
    band = np.zeros_like(there.tissue)
    band[band.shape[0] // 2 - 5 : band.shape[0] // 2 + 5] = True
    found, record = flags(Neighbour(band, band, None, there.um))
    assert {"contour_not_carried", "no_landmark"} <= found and not record.meta["has_core"]
