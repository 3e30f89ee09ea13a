"""Colour to stain: a pixel made of known amounts gives them back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevhisto.config import ChannelSettings, PanelSettings
from sevhisto.imaging.overview import marker_reader
from sevhisto.imaging.stains import LEEWAY, Stain, dye_markers, fit_stain, optical_density, sample_density, stains, unmix_stains
from sevhisto.types import SevhistoError


def colour(stain, amounts):
    """The 8-bit colour, not rounded, of given amounts (milli optical density), as Beer and Lambert have it."""
    density = np.asarray(amounts) @ stain.vectors[: len(amounts)]
    return 256 * 10 ** (-density / 1000) - 1


@pytest.mark.parametrize("name", list(stains))
@given(st.tuples(st.floats(0, 900), st.floats(0, 900)))
@settings(max_examples=25, deadline=None)
def test_amounts_are_recovered(name, amounts):
    stain = stains[name]
    rgb = colour(stain, amounts).reshape(3, 1, 1)
    assert unmix_stains(rgb, stain, stain.components[:2])[:, 0, 0] == pytest.approx(amounts, abs=0.05)


@pytest.mark.parametrize("name", list(stains))
def test_a_pure_stain_gives_nothing_to_the_others_but_rounding(name):
    stain = stains[name]
    for i, component in enumerate(stain.components):
        amounts = np.zeros(len(stain.components))
        amounts[i] = 400
        rgb = np.rint(colour(stain, amounts)).astype(np.uint8).reshape(3, 1, 1)
        found = unmix_stains(rgb, stain, stain.components)[:, 0, 0]
        assert found[i] == pytest.approx(400, abs=25), component
        assert np.abs(np.delete(found, i)).max() < 25


def test_white_is_none_of_any_stain_and_black_is_finite():
    stain = stains["hematoxylin_dab"]
    white = np.full((3, 2, 2), 255, np.uint8)
    assert np.abs(unmix_stains(white, stain, stain.components)).max() < 1e-3
    assert np.isfinite(optical_density(np.zeros((3, 1, 1), np.uint8))).all()
    assert (optical_density(np.zeros((3, 1, 1), np.uint8)) > 2000).all()


@pytest.mark.parametrize("name", list(stains))
def test_vectors_are_of_unit_length_and_can_be_told_apart(name):
    vectors = stains[name].vectors
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0)
    assert np.linalg.cond(vectors) < 20


def brightfield(component):
    return PanelSettings(
        kind="brightfield", stain="hematoxylin_dab", channels=[ChannelSettings(channel=component, marker="GFAP", role="landmark")]
    )


def test_a_component_that_the_stain_lacks_is_named():
    reader = marker_reader(brightfield("dab"), (), 255)
    assert reader.channels == (0, 1, 2)
    with pytest.raises(SevhistoError, match="has no component 'eosin'"):
        marker_reader(brightfield("eosin"), (), 255)


TWO = [name for name in stains if len(stains[name].components) == 2]
GLASS = np.zeros(3)


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def turned(stain, first, second):
    """The stain with each vector turned in their plane, away from the other one, by a share of the angle between them."""
    a, b = stain.vectors[:2]
    apart = np.arccos(a @ b)

    def turn(v, other, share):
        away = v * (v @ other) - other
        angle = share * apart
        return np.cos(angle) * v + np.sin(angle) * away / np.linalg.norm(away)

    one, two = turn(a, b, first), turn(b, a, second)
    third = np.cross(one, two)
    return Stain(stain.components, np.array([one, two, third / np.linalg.norm(third)]), stain.dyes)


def tissue(stain, rng, n=20000, share=0.5):
    """Optical density of pixels that hold one stain or the other or both, with noise across and along."""
    amounts = rng.gamma(4, 120, (n, 2))
    kind = rng.random(n)
    amounts[kind < 0.8 * share, 1] = 0
    amounts[kind > 1 - 0.8 * (1 - share), 0] = 0
    return (amounts @ stain.vectors[:2] + rng.normal(0, 2, (n, 3))).astype(np.float32)


def degrees(a, b):
    return np.degrees(np.arccos(np.clip(a @ b, -1, 1)))


@pytest.mark.parametrize("name", TWO)
@pytest.mark.parametrize("turns", [(0.0, 0.0), (0.2, -0.2), (-0.15, 0.2)])
def test_the_vectors_of_a_batch_are_found(name, turns, rng):
    true = turned(stains[name], *turns)
    found, source = fit_stain(stains[name], [tissue(true, rng), tissue(true, rng, 500, 0.2)], GLASS, {})
    assert source == ("estimated", "estimated")
    for got, want in zip(found.vectors[:2], true.vectors[:2], strict=True):
        assert degrees(got, want) < 2
    amounts = np.array([300.0, 500.0])
    rgb = colour(true, amounts).reshape(3, 1, 1)
    assert unmix_stains(rgb, found, found.components)[:, 0, 0] == pytest.approx(amounts, rel=0.15)


@pytest.mark.parametrize("name", TWO)
def test_tissue_without_a_stain_does_not_turn_the_other_into_it(name, rng):
    stain = stains[name]
    only_second = (rng.gamma(4, 120, (5000, 1)) @ stain.vectors[1:2]).astype(np.float32)
    found, source = fit_stain(stain, [only_second], GLASS, {})
    assert source == ("published", "estimated")
    assert np.allclose(found.vectors, stain.vectors, atol=1e-6)


@pytest.mark.parametrize("name", TWO)
def test_an_estimate_ends_a_quarter_beyond_the_published_colour(name, rng):
    found, _ = fit_stain(stains[name], [tissue(turned(stains[name], 0.6, 0.6), rng)], GLASS, {})
    want = turned(stains[name], LEEWAY, LEEWAY)
    assert np.allclose(found.vectors, want.vectors, atol=1e-6)


def test_every_slide_counts_the_same(rng):
    """A large slide does not outvote a small one: copies of its pixels change nothing."""
    stain = stains["masson"]
    a, b = tissue(turned(stain, 0.2, 0.1), rng, 3000), tissue(stain, rng, 3000)
    once, often = (fit_stain(stain, [a, np.tile(b, (k, 1))], GLASS, {})[0].vectors for k in (1, 9))
    assert np.allclose(once, often, atol=2e-3)


def test_given_vectors_win_and_the_other_is_still_estimated(rng):
    stain = stains["picrosirius"]
    true = turned(stain, 0.2, 0.2)
    found, source = fit_stain(stain, [tissue(true, rng)], GLASS, {"collagen": (0.5, 1.6, 1.8)})
    assert source == ("given", "estimated")
    assert found.vectors[0] == pytest.approx(np.array([0.5, 1.6, 1.8]) / np.linalg.norm([0.5, 1.6, 1.8]))
    assert degrees(found.vectors[1], true.vectors[1]) < 3


def test_the_colour_of_the_glass_is_no_stain(rng):
    stain = turned(stains["hematoxylin_dab"], 0.1, 0.1)
    glass = np.array([20.0, 60.0, 120.0])
    pixels = tissue(stain, rng)
    plain = fit_stain(stains["hematoxylin_dab"], [pixels], GLASS, {})[0].vectors
    tinted = fit_stain(stains["hematoxylin_dab"], [pixels + glass.astype(np.float32)], glass, {})[0].vectors
    assert np.allclose(plain, tinted, atol=1e-5)


def test_without_tissue_or_with_three_stains_the_published_vectors_hold(rng):
    for name, samples in (
        ("masson", []),
        ("masson", [np.zeros((50, 3), np.float32)]),
        ("hematoxylin_eosin_dab", [tissue(stains["masson"], rng)]),
    ):
        found, source = fit_stain(stains[name], samples, GLASS, {})
        assert set(source) == {"published"} and np.allclose(found.vectors, stains[name].vectors, atol=1e-12)


class Colour:
    """A colour image as a PixelSource that counts what is read."""

    channels, um_per_px = ("R", "G", "B"), 0.5

    def __init__(self, image):
        self.image, self.shape, self.n_read = image, image.shape[1:], 0

    def read(self, channels, y0, y1, x0, x1):
        self.n_read += (y1 - y0) * (x1 - x0)
        return self.image[list(channels), y0:y1, x0:x1]


def test_density_is_sampled_in_the_tissue_and_not_everywhere(rng):
    image = np.full((3, 2000, 3000), 250, np.uint8)
    image[:, 512:1536, 1024:2048] = np.array([120, 60, 90], np.uint8)[:, None, None]
    source = Colour(image)
    mask = np.zeros((250, 375), bool)
    mask[64:192, 128:256] = True
    found = sample_density(source, mask, 8, 0.0)
    assert found.shape[1] == 3 and 1000 < len(found) <= 200_000
    assert source.n_read <= 16 * 256**2
    assert np.allclose(found, optical_density(np.array([[120, 60, 90]], np.uint8)), atol=1e-3)
    assert len(sample_density(source, np.zeros((250, 375), bool), 8, 0.0)) == 0


def test_a_dye_of_matrix_is_read_as_its_excess_and_dab_is_not():
    masson = PanelSettings(kind="brightfield", stain="masson", channels=[ChannelSettings(channel="collagen", marker="COL", role="ecm")])
    assert dye_markers(masson) == ["COL"] and dye_markers(brightfield("dab")) == []
    rgb = np.rint(colour(stains["masson"], (300, 500))).astype(np.uint8).reshape(3, 1, 1)
    assert marker_reader(masson, (), 255).convert(rgb)[0, 0, 0] == pytest.approx(-200, abs=15)
    vectors = turned(stains["masson"], 0.2, 0.0).vectors
    assert marker_reader(masson, (), 255, vectors).convert(rgb)[0, 0, 0] < -220  # bluer collagen: less of it here
