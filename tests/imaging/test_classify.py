from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevhisto.config import PanelSettings
from sevhisto.imaging import classify
from sevhisto.imaging.classify import Classifier, Inputs, classifier_for, corrected_inputs, input_names, misfits
from sevhisto.imaging.forest import grow
from sevhisto.imaging.reader import MarkerReader
from sevhisto.imaging.stains import stains, unmix_stains
from sevhisto.types import Correction, PixelModel, SlideError

PANEL = PanelSettings.model_validate(
    {
        "classifier": "c",
        "channels": [
            {"channel": 1, "marker": "a", "role": "nuclei"},
            {"channel": 2, "marker": "b", "role": "other"},
            {"channel": "scar", "marker": "scar", "role": "ecm", "source": "classifier"},
        ],
    }
)
MASSON = PanelSettings.model_validate(
    {"kind": "brightfield", "stain": "masson", "channels": [{"channel": "collagen", "marker": "collagen", "role": "ecm"}]}
)
CORRECTION = Correction(np.array([10.0, 20.0]), np.array([[1.0, -0.1], [0.0, 1.0]]), ("x", "x"))
SHAPE = (101, 87)
RAW = np.random.default_rng(1).integers(0, 400, (2, *SHAPE)).astype(np.uint16)


def model(scales: tuple[float, ...] = (1.5, 3.0), **facts: str) -> PixelModel:
    inputs = Inputs(("a", "b"), READER, partial(corrected_inputs, ("a", "b"), PANEL, CORRECTION), scales, 1.5, SHAPE)
    values = inputs.features((0, SHAPE[0], 0, SHAPE[1]), np.roll(RAW, 40, axis=1)).reshape(2 * (6 * len(scales) - 2), -1)
    forest = grow(values, (values[0] > np.median(values[0])).astype(np.int64), 2, 1)
    trees = forest.feature, forest.threshold, forest.child, forest.share, forest.roots
    return PixelModel(("other", "scar"), ("a", "b"), scales, *trees, {"kind": "fluorescence", "stain": "", **facts})


READER = MarkerReader((0, 1, 2), lambda raw: raw, np.inf, -np.inf)


def ready(um: float) -> Classifier:
    return classifier_for(model(), PANEL, READER, CORRECTION, um, SHAPE)


def planes(c: Classifier, box: tuple[int, int, int, int]) -> np.ndarray:
    y0, y1, x0, x1 = c.needs(box)
    return c.planes(box, RAW[:, y0:y1, x0:x1], (y0, x0))["scar"]


WHOLE = {um: planes(ready(um), (0, SHAPE[0], 0, SHAPE[1])) for um in (0.45, 0.75, 1.5)}


SIZE = st.integers(1, 60)


@given(st.sampled_from(sorted(WHOLE)), st.integers(0, 100), SIZE, st.integers(0, 86), SIZE, st.sampled_from([7, 256]))
@settings(max_examples=60, deadline=None)
def test_probabilities_do_not_depend_on_the_part_that_is_asked_for(um, y, h, x, w, side):
    """To the last bit, whatever the corner, the tile, and the pixels of the slide per pixel of the grid (3, 2, 1)."""
    box = (y, min(y + h, SHAPE[0]), x, min(x + w, SHAPE[1]))
    before, classify.SIDE = classify.SIDE, side
    try:
        found = planes(ready(um), box)
    finally:
        classify.SIDE = before
    assert np.array_equal(found, WHOLE[um][box[0] : box[1], box[2] : box[3]])


def test_probabilities_are_per_mille_and_tell_something():
    for plane in WHOLE.values():
        assert plane.min() >= 0 and plane.max() <= 1000.01 and plane.std() > 20


def test_inputs_are_corrected_as_the_batch_is():
    first, second = corrected_inputs(("a", "b"), PANEL, CORRECTION, READER, RAW, 0, 0)
    a, b = RAW.astype(np.float64) - np.array([10.0, 20.0])[:, None, None]
    assert np.allclose(first, a - 0.1 * b, atol=1e-3) and np.allclose(second, b)
    # a batch that is brighter by a constant gives the same, once its own offset is taken
    other = Correction(np.array([60.0, 70.0]), CORRECTION.unmix, ("x", "x"))
    again = list(corrected_inputs(("a", "b"), PANEL, other, READER, RAW + 50, 0, 0))
    assert np.allclose(again[0], first, atol=1e-3) and np.allclose(again[1], second, atol=1e-3)


def test_brightfield_inputs_are_stain_amounts_over_the_glass():
    assert input_names(MASSON) == ("collagen", "cytoplasm", "residual", "excess")
    rgb = np.random.default_rng(3).integers(1, 250, (3, 9, 8)).astype(np.uint8)
    nothing = Correction(np.zeros(1), np.eye(1), ("x",))
    found = dict(zip(input_names(MASSON), corrected_inputs(input_names(MASSON), MASSON, nothing, READER, rgb, 0, 0), strict=True))
    amounts = unmix_stains(rgb, stains["masson"], ("collagen", "cytoplasm"))
    assert np.allclose(found["collagen"], amounts[0], atol=0.05) and np.allclose(found["cytoplasm"], amounts[1], atol=0.05)
    assert np.allclose(found["excess"], amounts[0] - amounts[1], atol=0.1)
    glass = Correction(np.zeros(1), np.eye(1), ("x",), glass=np.array([30.0, 20.0, 10.0]))
    (over,) = corrected_inputs(("residual",), MASSON, glass, READER, rgb, 0, 0)
    shift = np.linalg.inv(stains["masson"].vectors).T[2] @ glass.glass
    assert np.allclose(found["residual"] - over, shift, atol=0.05)


def test_what_does_not_fit_is_said():
    fits = model()
    assert misfits(fits, PANEL) == []
    (problem,) = misfits(PixelModel(fits.classes, fits.inputs, *_rest(fits), {"kind": "brightfield", "stain": "masson"}), PANEL)
    assert "was learned on brightfield masson, the panel is fluorescence" in problem.what
    (problem,) = misfits(PixelModel(fits.classes, ("a", "z"), *_rest(fits), fits.facts), PANEL)
    assert "needs z" in problem.what
    (problem,) = misfits(PixelModel(("other", "scars"), fits.inputs, *_rest(fits), fits.facts), PANEL)
    assert "knows no class 'scar'" in problem.what and "'scars'" in problem.remedy
    with pytest.raises(SlideError, match=r"pixels of 2 um are too coarse.*1\.5 um"):
        ready(2.0)


def _rest(m: PixelModel) -> tuple:
    return m.scales_um, m.feature, m.threshold, m.child, m.share, m.roots


def test_a_slide_smaller_than_what_is_looked_at():
    image = RAW[:, :5, :4]
    inputs = Inputs(("a", "b"), READER, partial(corrected_inputs, ("a", "b"), PANEL, CORRECTION), (1.5, 3.0), 0.5, (5, 4))
    assert inputs.grid == (1, 1)
    assert Classifier(model(), {"scar": "scar"}, inputs).planes((0, 5, 0, 4), image, (0, 0))["scar"].shape == (5, 4)
