from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from sevhisto.imaging.classify import Inputs
from sevhisto.imaging.learn import (
    MAX_PIXELS,
    OutOfSample,
    cautions,
    classes_of,
    cross_validate,
    pixels_of_an_outline,
    sample_pixels,
    unit_to_leave_out,
)
from sevhisto.imaging.reader import MarkerReader

READER = MarkerReader((0,), lambda raw: raw, np.inf, -np.inf)


def examples(n_groups: int = 4, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels of groups that differ by `shift` in a feature that tells the classes within each group."""
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(n_groups), 200)
    labels = np.tile(np.repeat([0, 1], 100), n_groups)
    values = rng.normal(0, 1, (6, len(group))) + 3 * labels + shift * group
    return values.astype(np.float32), labels, group


def test_whole_groups_are_left_out():
    values, labels, group = examples(shift=0.0)
    alike = cross_validate(values, labels, {"slide": group, "outline": group * 2 + labels}, 2, 1)
    assert (alike.unit, alike.groups) == ("slide", 4) and alike.balanced_accuracy > 0.95
    assert alike.confusion.sum() == len(labels)
    # each slide lies elsewhere: within a slide all is clear, from the others nothing follows
    values, labels, group = examples(shift=12.0)
    apart = cross_validate(values, labels, {"slide": group, "outline": group * 2 + labels}, 2, 1)
    assert apart.balanced_accuracy < 0.75 and apart.worst <= apart.balanced_accuracy


def test_the_largest_unit_of_which_every_class_has_two_is_left_out():
    labels = np.array([0, 0, 1, 1])
    slide, outline = np.array([0, 1, 0, 1]), np.arange(4)
    assert unit_to_leave_out(labels, {"animal": slide, "slide": slide, "outline": outline}) == "animal"
    assert unit_to_leave_out(labels, {"animal": slide * 0, "slide": slide, "outline": outline}) == "slide"
    assert unit_to_leave_out(labels, {"animal": slide, "slide": np.array([0, 1, 0, 0]), "outline": outline}) == "animal"
    assert unit_to_leave_out(labels, {"animal": slide * 0, "slide": slide * 0, "outline": outline}) == "outline"


def test_a_class_that_was_drawn_once_has_no_error():
    values, labels, group = examples()
    keep = (labels == 0) | (group == 0)
    found = cross_validate(values[:, keep], labels[keep], {"slide": group[keep], "outline": (group * 2 + labels)[keep]}, 2, 1)
    assert found.unit == "outline" and np.isnan(found.recall[1]) and np.isnan(found.f1[1])
    assert found.facts()["recall"][1] is None
    said = " ".join(cautions(found, ("scar", "vessel")))
    assert "whole outlines were left out" in said and "the error of vessel could not be told" in said


def test_rates_of_a_confusion():
    found = OutOfSample("animal", 3, np.array([[8, 1, 1], [2, 18, 0]]), 0.7)
    assert found.recall == pytest.approx([0.8, 0.9]) and found.precision == pytest.approx([0.8, 18 / 19])
    assert found.f1 == pytest.approx([0.8, 36 / 39]) and found.balanced_accuracy == pytest.approx(0.85)
    assert cautions(found, ("a", "b")) == []


def test_a_pixel_counts_from_an_even_chance():
    found = classes_of(np.array([[0.5, 0.4, 0.2], [0.3, 0.35, 0.7], [0.2, 0.25, 0.1]], np.float32))
    assert found.tolist() == [0, 3, 1]


def test_pixels_under_two_classes_are_left_out_and_large_outlines_are_sampled():
    image = np.arange(120 * 100, dtype=np.float32).reshape(1, 120, 100)
    inputs = Inputs(("a",), READER, lambda reader, raw, y0, x0: iter(raw), (1.5, 3.0), 1.0, (120, 100))
    read = partial(lambda box: image[:, box[0] : box[1], box[2] : box[3]])
    ones = np.ones((60, 60), bool)
    marks = [(0, (0, 0), ones), (1, (30, 30), ones), (1, (100, 90), np.ones((3, 2), bool))]
    values, labels, outline = sample_pixels(inputs, read, marks, [1, 2])
    assert np.bincount(outline).tolist() == [MAX_PIXELS, MAX_PIXELS, 6]
    whole = inputs.features((0, 120, 0, 100), image)
    small = values[:, outline == 2].reshape(-1, 3, 2)
    assert np.array_equal(small, whole[:, 100:103, 90:92]) and set(labels[outline == 2]) == {1}
    again = sample_pixels(inputs, read, marks, [1, 2])
    assert all(np.array_equal(a, b) for a, b in zip((values, labels, outline), again, strict=True))
    covered = sample_pixels(inputs, read, [(0, (0, 0), ones), (1, (0, 0), ones)], [1])
    assert covered[0].shape == (10, 0)


def test_many_outlines_give_fewer_pixels_each():
    assert pixels_of_an_outline([3, 4]) == MAX_PIXELS
    assert pixels_of_an_outline([300, 4]) == 100
