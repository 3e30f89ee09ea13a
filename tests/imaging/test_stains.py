"""Colour to stain: a pixel made of known amounts gives them back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevhisto.config import ChannelSettings, PanelSettings
from sevhisto.imaging.section import marker_reader
from sevhisto.imaging.stains import optical_density, stains, unmix_stains
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
