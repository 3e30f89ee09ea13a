"""What is subtracted: recovered from controls made with known offsets and shares, and applied as stated."""

from __future__ import annotations

import numpy as np
import pytest

from sevhisto.config import BatchSettings, ChannelSettings, PanelSettings
from sevhisto.imaging.background import BackgroundSample, apply_correction, estimate_correction, glass_mask
from sevhisto.types import Correction, SlideError

OFFSETS = {"DAPI": 101.0, "CD68": 143.0, "CD206": 90.0, "AF": 60.0}
SHARES = {"DAPI": 0.5, "CD68": 0.8, "CD206": 0.3}
PANEL = PanelSettings(
    channels=[
        ChannelSettings(channel="a", marker="DAPI", role="nuclei"),
        ChannelSettings(channel="b", marker="CD68", role="macrophage"),
        ChannelSettings(channel="c", marker="CD206", role="macrophage"),
        ChannelSettings(channel="d", marker="AF", role="autofluorescence"),
    ]
)
NO_BLANK = PanelSettings(channels=PANEL.channels[:3])
TISSUE = np.zeros((60, 80), bool)
TISSUE[20:50, 25:70] = True
GLASS = np.zeros((60, 80), bool)
GLASS[:8] = True


def sample(role, seed, counterstain=0.0, spread=True, glow=True):
    """Tissue whose autofluorescence has its median at the offset and a long upper tail; glass 20 below the offset."""
    rng = np.random.default_rng(seed)
    af = np.kron(rng.exponential(60, (20, 27)), np.ones((3, 3)))[:60, :80] if glow else np.zeros(TISSUE.shape)  # cells of 3 px
    af = af - np.median(af[TISSUE])
    planes = []
    for marker, offset in OFFSETS.items():
        plane = np.full(TISSUE.shape, offset - 20)
        plane[TISSUE] = (offset + SHARES.get(marker, 1.0) * af + (counterstain if marker == "DAPI" else 0.0))[TISSUE]
        planes.append(plane + (rng.normal(0, 2, TISSUE.shape) if spread else 0))
    return BackgroundSample(role, np.stack(planes).astype(np.float32), TISSUE, GLASS)


def no_tissue(control):
    return BackgroundSample(control.role, control.values, np.zeros_like(TISSUE), control.glass)


def test_offset_and_autofluorescence_of_the_controls_are_recovered():
    controls = [sample("unstained", 1), sample("no_primary", 2, counterstain=500)]
    found = estimate_correction(controls, PANEL, BatchSettings())
    assert found.source == ("unstained", "no_primary", "no_primary", "no_primary")  # the counterstain is on no-primary slides
    assert found.offset == pytest.approx(list(OFFSETS.values()), abs=1.5)
    assert -found.unmix[:3, 3] == pytest.approx(list(SHARES.values()), abs=0.02)
    assert np.array_equal(np.diag(found.unmix), np.ones(4))
    cleaned = apply_correction(controls[0].values, found)[:3, TISSUE]
    assert np.abs(np.median(cleaned, axis=1)).max() < 1.5
    assert cleaned.std(axis=1).max() < 4  # of a tail of some 60 grey levels nothing is left but noise


def patchy(seed, cells, share_of_cells, noise=3.0, n=200):
    """Unstained tissue: two markers, then the blank; cells on it are bright, with a share of their own in the first."""
    rng = np.random.default_rng(seed)
    tissue = np.kron(rng.normal(0, 4, (n // 20, n // 20)), np.ones((20, 20)))
    where = np.kron(rng.random((n // 4, n // 4)) < cells, np.ones((4, 4)))
    bright = where * np.kron(rng.uniform(30, 120, (n // 4, n // 4)), np.ones((4, 4)))
    planes = [100 + s * tissue + c * bright + rng.normal(0, noise, (n, n)) for s, c in ((0.5, share_of_cells), (0.5, 0.5), (1, 1))]
    inside = np.ones((n, n), bool)
    return BackgroundSample("unstained", np.stack(planes).astype(np.float32), inside, ~inside)


FULL = np.ones((90, 90), bool)
TWO = PanelSettings(channels=PANEL.channels[1:])


@pytest.mark.parametrize("noise", [0.0, 3.0, 8.0])
def test_noise_in_the_blank_channel_does_not_flatten_the_share(noise):
    """Tissue without cells, whose spread is that of the noise: least squares would find half of the share, and less."""
    found = [estimate_correction([patchy(seed, 0, 0, noise)], TWO, BatchSettings()).autofluorescence["CD206"] for seed in range(5)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("cells", [0.01, 0.05, 0.3])
def test_the_share_is_that_of_the_bright_cells(cells):
    found = estimate_correction([patchy(3, cells, 0.9)], TWO, BatchSettings()).autofluorescence
    assert found == pytest.approx({"CD68": 0.9, "CD206": 0.5}, abs=0.03)


def test_a_blank_channel_of_noise_alone_has_no_share():
    flat = BackgroundSample("unstained", np.random.default_rng(1).normal(100, 3, (3, 90, 90)).astype(np.float32), FULL, ~FULL)
    assert estimate_correction([flat], TWO, BatchSettings()).autofluorescence == {"CD68": 0.0, "CD206": 0.0}


def test_without_controls_no_share_is_known():
    assert estimate_correction([sample("sample", 1)], PANEL, BatchSettings()).autofluorescence == {}
    assert set(estimate_correction([sample("no_primary", 1)], PANEL, BatchSettings()).autofluorescence) == {"CD68", "CD206"}


def test_a_leak_does_not_carry_autofluorescence_along():
    """CD206 holds a leak of CD68 and both hold autofluorescence: what is subtracted of CD68 must be its stain, not its autofluorescence."""
    found = estimate_correction([sample("unstained", 1)], PANEL, BatchSettings(bleed_through={"CD206": {"CD68": 0.2}}))
    shares = np.array([*found.autofluorescence.values(), 1.0])
    stains = np.array([0.0, 500.0, 80.0, 0.0])
    raw = found.offset + stains + np.array([0, 0, 0.2 * 500, 0]) + 300 * shares
    assert apply_correction(raw[:, None, None].astype(np.float32), found)[:3, 0, 0] == pytest.approx(stains[:3], abs=0.05)


def test_channels_that_cannot_be_told_apart_are_refused():
    with pytest.raises(SlideError, match="cannot be told apart"):
        estimate_correction([], NO_BLANK, BatchSettings(bleed_through={"CD206": {"CD68": 1.0}, "CD68": {"CD206": 1.0}}))


def single(marker, leaks, seed=1, glow=True, noise=3.0, n=180):
    """A slide on which one marker is stained, on cells that fluoresce themselves; `leaks` is what others show of it."""
    rng = np.random.default_rng(seed)
    cells = np.kron(rng.random((n // 3, n // 3)) < 0.1, np.ones((3, 3)))
    stain = cells * np.kron(rng.uniform(100, 600, (n // 3, n // 3)), np.ones((3, 3)))
    af = cells * 80 * glow + np.kron(rng.normal(0, 5, (n // 10, n // 10)), np.ones((10, 10)))
    shares = {**SHARES, "AF": 1.0}
    planes = [OFFSETS[m] + shares[m] * af + {**leaks, marker: 1.0}.get(m, 0.0) * stain + rng.normal(0, noise, (n, n)) for m in OFFSETS]
    inside = np.ones((n, n), bool)
    return BackgroundSample("single_stain", np.stack(planes).astype(np.float32), inside, ~inside, marker)


def test_leaks_are_those_that_single_stains_show():
    """Within 10 % of the truth, on cells whose own autofluorescence would look like a leak of 13 % and more."""
    slides = [sample("unstained", 1), single("CD68", {"CD206": 0.08, "DAPI": 0.02}), single("CD206", {"CD68": 0.03})]
    found = estimate_correction(slides, PANEL, BatchSettings())
    shares = {pair: leak.share for pair, leak in found.leaks.items()}
    assert shares["CD206", "CD68"] == pytest.approx(0.08, rel=0.1)
    assert shares["DAPI", "CD68"] == pytest.approx(0.02, abs=0.005)
    assert shares["CD68", "CD206"] == pytest.approx(0.03, rel=0.1)
    assert shares["DAPI", "CD206"] == 0  # less than can be told from none
    assert {leak.source for leak in found.leaks.values()} == {"single_stain"}
    cleaned = apply_correction(slides[1].values, found)
    assert np.abs(cleaned[2][cleaned[1] > 100].mean()) < 1.5  # of some 25 grey levels of leak, and more of autofluorescence


def test_a_declared_leak_wins_and_a_single_stain_that_differs_is_told():
    slides = [sample("unstained", 1), single("CD68", {"CD206": 0.08})]
    declared = BatchSettings(bleed_through={"CD206": {"CD68": 0.03}})
    found = estimate_correction(slides, PANEL, declared)
    leak = found.leaks["CD206", "CD68"]
    assert (leak.share, leak.source, leak.measured) == (0.03, "declared", pytest.approx(0.08, rel=0.1))
    assert len(found.notes) == 1 and "CD68 into CD206 is declared as 0.03; single stains show 0.0" in found.notes[0]
    agreeing = estimate_correction(slides, PANEL, BatchSettings(bleed_through={"CD206": {"CD68": 0.08}}))
    assert agreeing.notes == () and agreeing.leaks["CD206", "CD68"].source == "declared"


def test_a_leak_into_the_blank_channel_counts_when_it_is_declared():
    slides = [sample("unstained", 1), single("CD68", {"CD206": 0.08, "AF": 0.05})]
    found = estimate_correction(slides, PANEL, BatchSettings(bleed_through={"AF": {"CD68": 0.05}}))
    assert found.leaks["CD206", "CD68"].share == pytest.approx(0.08, rel=0.1)


def test_a_single_stain_without_signal_tells_nothing():
    control = sample("unstained", 1)
    control.role, control.marker = "single_stain", "CD206"
    found = estimate_correction([control, sample("unstained", 2)], PANEL, BatchSettings())
    assert found.leaks == {} and "single stain of CD206: shows no signal" in found.notes[0]


def test_bright_spots_do_not_decide_the_autofluorescence():
    control = sample("unstained", 4)
    control.values[1, 25:28, 30:40] += 5000  # a fluorescent crumb in one channel only
    found = estimate_correction([control], PANEL, BatchSettings())
    assert -found.unmix[1, 3] == pytest.approx(SHARES["CD68"], abs=0.03)


def test_the_declared_bleed_through_is_what_is_subtracted():
    leak = BatchSettings(bleed_through={"CD206": {"CD68": 0.05}})
    found = estimate_correction([sample("no_primary", 5, glow=False)], NO_BLANK, leak)
    assert found.unmix[2].tolist() == [0.0, -0.05, 1.0]
    raw = np.zeros((3, 1, 2), np.float32)
    raw[:, 0, 0] = found.offset
    raw[:, 0, 1] = found.offset + np.array([0.0, 400.0, 30.0 + 0.05 * 400.0])
    assert apply_correction(raw, found)[2, 0] == pytest.approx([0.0, 30.0], abs=1e-3)


def test_bleed_through_of_a_marker_that_this_panel_lacks_changes_nothing():
    found = estimate_correction([], NO_BLANK, BatchSettings(bleed_through={"collagen_I": {"CD68": 0.1}, "CD68": {"fibronectin": 0.1}}))
    assert np.array_equal(found.unmix, np.eye(3))


def test_the_correction_is_the_stated_matrix():
    rng = np.random.default_rng(0)
    unmix = np.eye(4) - np.triu(rng.uniform(0, 0.3, (4, 4)), 1)
    correction = Correction(rng.uniform(50, 200, 4), unmix, ("glass",) * 4)
    raw = rng.uniform(0, 4000, (4, 7, 9)).astype(np.float32)
    want = np.einsum("ij,jyx->iyx", unmix, raw.astype(np.float64) - correction.offset[:, None, None])
    kept = raw.copy()
    assert np.allclose(apply_correction(raw, correction), want, atol=2e-3)
    assert np.array_equal(raw, kept)
    assert apply_correction(raw, correction).dtype == np.float32


@pytest.mark.parametrize(
    ("controls", "source", "level"),
    [
        (["no_primary", "unstained", "sample"], ("unstained", "no_primary", "no_primary"), 0),
        (["unstained", "sample"], ("unstained",) * 3, 0),
        (["uninjured", "sample"], ("glass",) * 3, -20),
        (["sample"], ("sample_glass",) * 3, -20),
        ([], ("assumed_zero",) * 3, None),
    ],
)
def test_each_fallback_says_where_the_offset_came_from(controls, source, level):
    samples = [sample(role, i, spread=False, glow=False) for i, role in enumerate(controls)]
    found = estimate_correction(samples, NO_BLANK, BatchSettings())
    assert found.source == source
    true = np.array(list(OFFSETS.values())[:3])
    assert found.offset == pytest.approx(np.zeros(3) if level is None else true + level, abs=0.01)


def test_a_no_primary_slide_alone_leaves_the_counterstain_to_the_glass():
    found = estimate_correction([sample("no_primary", 3, counterstain=500)], NO_BLANK, BatchSettings())
    assert found.source == ("glass", "no_primary", "no_primary")


def test_a_control_without_tissue_gives_its_glass():
    found = estimate_correction([no_tissue(sample("unstained", 3, spread=False))], NO_BLANK, BatchSettings())
    assert found.source == ("glass",) * 3


def test_glass_is_far_from_tissue_and_no_padding():
    values = np.ones((2, 60, 80), np.float32)
    values[:, :, :3] = 0
    glass = glass_mask(TISSUE, values, um=10.0)
    assert not glass[:, :3].any()
    assert not glass[20:50, 19:76].any()
    assert glass[20:50, 18].all()
    assert glass_mask(np.zeros_like(TISSUE), values, 10.0)[:, 3:].all()


@pytest.mark.parametrize("cells", [0.002, 0.5, 0.7])
def test_the_share_is_found_in_tissue_with_hardly_a_cell_and_in_tissue_full_of_them(cells):
    for seed in range(3):
        found = estimate_correction([patchy(seed, cells, 0.5 if cells < 0.01 else 0.8)], TWO, BatchSettings()).autofluorescence
        assert found == pytest.approx({"CD68": 0.5 if cells < 0.01 else 0.8, "CD206": 0.5}, abs=0.06 if cells < 0.01 else 0.03)
