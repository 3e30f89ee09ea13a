"""Tissue: pieces on glass, and fields of view that show no glass."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from sevhisto.config import ImagingSettings
from sevhisto.imaging.glass import glass_surface, straight_share
from sevhisto.imaging.tissue import MIN_SEPARABILITY, find_cavity, find_pieces, separability
from sevhisto.types import BoolArray, FloatArray

UM = 4.0
SETTINGS = ImagingSettings()


def slide(discs: list[tuple[int, int, int]], shape: tuple[int, int] = (300, 400), seed: int = 0) -> tuple[FloatArray, BoolArray]:
    """Return two noisy channels with textured discs (y, x, radius in px) on glass, and where the discs are."""
    rng = np.random.default_rng(seed)
    truth = np.zeros(shape, np.uint8)
    for y, x, radius in discs:
        cv2.circle(truth, (x, y), radius, 1, -1)
    image = np.full((2, *shape), 100.0) + truth * rng.gamma(4, 30, (2, *shape))
    return (image + rng.normal(0, 5, image.shape)).astype(np.float32), truth > 0


def dice(a: BoolArray, b: BoolArray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_pieces_on_glass_in_slide_order() -> None:
    overview, truth = slide([(100, 380, 75), (95, 120, 70), (290, 240, 80)], (400, 500))
    pieces, _ = find_pieces(overview, UM, SETTINGS)
    assert len(pieces) == 3 and not any(p.touches_edge or p.whole_field for p in pieces)
    assert [round((p.x0 + p.x1) / 2 / 10) for p in pieces] == [12, 38, 24]
    found = np.zeros(truth.shape, bool)
    for p in pieces:
        found[p.y0 : p.y1, p.x0 : p.x1] |= p.outline
    assert dice(found, truth) > 0.97


def test_a_hole_is_a_cavity() -> None:
    overview, truth = slide([(150, 200, 120)])
    overview[:, 140:170, 180:220] = 100
    pieces, mask = find_pieces(overview, UM, SETTINGS)
    (piece,) = pieces
    assert piece.outline.sum() == pytest.approx(truth.sum(), rel=0.06)
    cavity = find_cavity(mask[piece.y0 : piece.y1, piece.x0 : piece.x1], piece.outline, UM, SETTINGS)
    assert cavity.sum() == pytest.approx(30 * 40, rel=0.25)


def test_a_tissue_that_touches_the_edge_is_said_to() -> None:
    overview, _ = slide([(150, 0, 100)])
    (piece,) = find_pieces(overview, UM, SETTINGS)[0]
    assert piece.touches_edge and not piece.whole_field


def test_an_image_smaller_than_a_section_is_all_tissue() -> None:
    overview, _ = slide([(30, 30, 8), (60, 70, 8)], (100, 100))  # cells, in 0.16 mm2
    pieces, mask = find_pieces(overview, UM, SETTINGS)
    assert len(pieces) == 1 and pieces[0].whole_field and pieces[0].outline.all() and mask.all()


def test_texture_without_glass_is_all_tissue() -> None:
    rng = np.random.default_rng(3)
    texture = cv2.GaussianBlur(rng.normal(500, 200, (300, 400)).astype(np.float32), (0, 0), 4)
    pieces, mask = find_pieces(texture[None], UM, SETTINGS)
    assert len(pieces) == 1 and pieces[0].whole_field and mask.all()


@pytest.mark.parametrize("shape", [(300, 400), (300, 300), (257, 301)])
@pytest.mark.parametrize("value", [0, 7, 154, 60000])
def test_nothing_stands_out(shape: tuple[int, int], value: int) -> None:
    pieces, mask = find_pieces(np.full((2, *shape), value, np.float32), UM, SETTINGS)
    assert pieces == [] and not mask.any()


def test_separability_has_otsus_values() -> None:
    even = np.linspace(0, 1, 100_001, dtype=np.float32)
    assert separability(even, 0.5) == pytest.approx(MIN_SEPARABILITY, abs=1e-4)
    normal = np.random.default_rng(0).normal(0, 1, 400_000).astype(np.float32)
    assert separability(normal, 0.0) == pytest.approx(2 / np.pi, abs=0.005)
    assert separability(np.array([0, 0, 1, 1], np.float32), 0.5) == pytest.approx(1)
    assert separability(np.zeros(5, np.float32), 0.5) == 0


def cord(shape, level=60.0, glass=20.0, noise=2.0, seed=1):
    """A section on noisy glass: a dim ellipse with a brighter middle; (h, w) float32, and where it is."""
    h, w = shape
    y, x = np.mgrid[0:h, 0:w]
    far = ((y - h / 2) / (0.32 * h)) ** 2 + ((x - w / 2) / (0.36 * w)) ** 2
    rng = np.random.default_rng(seed)
    image = glass + np.where(far < 1, level - glass, 0) + np.where(far < 0.3, 4 * level, 0)
    return rng.normal(image, noise).astype(np.float32), far < 1


def overlap(pieces, truth):
    """Intersection over union of all pieces and the truth."""
    found = np.zeros(truth.shape, bool)
    for p in pieces:
        found[p.y0 : p.y1, p.x0 : p.x1] |= p.outline
    return (found & truth).sum() / (found | truth).sum()


@pytest.mark.parametrize("scale", [0.3, 1.0, 30.0])
def test_dim_white_matter_around_bright_grey_matter_is_tissue(scale: float) -> None:
    """Grey matter is ten times as far above white matter as that is above the glass: a split in two would lose the white matter."""
    image, truth = cord((420, 520), level=40.0)
    pieces, _ = find_pieces(scale * image[None], UM, SETTINGS)
    assert len(pieces) == 1 and not pieces[0].whole_field
    assert overlap(pieces, truth) > 0.95


@pytest.mark.parametrize("frame", [0.0, 255.0, 35.0])
def test_a_frame_of_one_value_is_no_tissue_and_no_glass(frame: float) -> None:
    image, truth = cord((420, 520))
    framed = np.full((600, 800), frame, np.float32)
    framed[90:510, 140:660] = image
    where = np.zeros(framed.shape, bool)
    where[90:510, 140:660] = truth
    pieces, mask = find_pieces(framed[None], UM, SETTINGS)
    assert len(pieces) == 1 and overlap(pieces, where) > 0.95
    assert not mask[:80].any() and not mask[:, :130].any()


def test_what_hangs_on_a_section_is_not_part_of_it() -> None:
    image, truth = cord((420, 520))
    image[200:204, 400:520] += 150  # a thread that runs from the section to the edge
    pieces, _ = find_pieces(image[None], UM, SETTINGS)
    assert len(pieces) == 1 and overlap(pieces, truth) > 0.95
    assert not pieces[0].touches_edge


def test_tissue_as_dark_as_noiseless_glass_is_what_lies_inside_its_rim() -> None:
    """As in 8-bit exports, where glass and white matter have one grey level; the surface of the section is a little brighter."""
    image, truth = cord((420, 520), level=20.0, noise=0.0)
    rng = np.random.default_rng(2)
    rim = truth & ~(cv2.erode(truth.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0)
    image[truth] += rng.normal(0, 0.6, int(truth.sum()))
    image[rim] += rng.choice([0.0, 12.0], int(rim.sum()), p=[0.3, 0.7])
    pieces, _ = find_pieces(np.round(image)[None], UM, SETTINGS)
    assert len(pieces) == 1 and overlap(pieces, truth) > 0.9


def test_the_outline_is_where_the_signal_is_half_as_high() -> None:
    """Neither blur nor brightness moves it."""
    areas = []
    for sigma, level in ((1.0, 60.0), (4.0, 60.0), (4.0, 600.0)):
        image, truth = cord((420, 520), level=level)
        soft = cv2.GaussianBlur(image, (0, 0), sigma)
        pieces, _ = find_pieces(soft[None], UM, SETTINGS)
        areas.append(pieces[0].outline.sum() / truth.sum())
    assert areas == pytest.approx([1, 1, 1], abs=0.02)


def test_glass_that_slopes_is_no_tissue() -> None:
    """Background rises across the slide to twice the light of tissue."""
    image, truth = cord((420, 520), level=60.0)
    y, x = np.mgrid[0:420, 0:520]
    pieces, _ = find_pieces((image + 80 * (x / 520) ** 2 + 20 * y / 420).astype(np.float32)[None], UM, SETTINGS)
    assert len(pieces) == 1 and overlap(pieces, truth) > 0.95


def test_even_glass_has_no_slope_and_a_noisy_frame_does_no_harm() -> None:
    image, truth = cord((420, 520))
    assert not glass_surface(image, np.ones(image.shape, bool), UM).any()
    image[:, :40] = np.random.default_rng(6).normal(5, 1, (420, 40))
    pieces, _ = find_pieces(image[None], UM, SETTINGS)
    assert len(pieces) == 1 and overlap(pieces, truth) > 0.95


def test_all_that_stands_on_lightless_glass_is_tissue() -> None:
    """A bright ring around a lesion stands out of the rest, but the rest is no glass: that is of one value."""
    image, truth = cord((420, 520), level=120.0, glass=0.0)
    y, x = np.mgrid[0:420, 0:520]
    image = np.where(truth, image + 600 * np.exp(-(((np.hypot(y - 210, x - 260) - 60) / 15) ** 2)), 0).astype(np.float32)
    pieces, _ = find_pieces(np.round(image)[None], UM, SETTINGS)
    assert len(pieces) == 1 and overlap(pieces, truth) > 0.95
    assert straight_share(np.pad(np.ones((200, 300), bool), 60)) > 0.9
    assert straight_share(truth) < 0.3


def test_dim_tissue_is_no_cavity_and_a_hole_in_it_is() -> None:
    image, _ = cord((420, 520), level=200.0)
    y, x = np.mgrid[0:420, 0:520]
    away = np.hypot(y - 210, x - 330)
    image[away < 50] = 20 + 0.3 * 180  # as a core in GFAP
    hole = away < 20
    image[hole] = 20
    image += np.random.default_rng(4).normal(0, 2, image.shape).astype(np.float32)
    (piece,), mask = find_pieces(image[None], UM, SETTINGS)
    box = slice(piece.y0, piece.y1), slice(piece.x0, piece.x1)
    assert dice(find_cavity(mask[box], piece.outline, UM, SETTINGS), hole[box]) > 0.85


@pytest.mark.parametrize(("mouth_um", "cyst"), [(60, True), (360, False)])
def test_a_cyst_with_a_narrow_mouth_belongs_to_the_section(mouth_um: int, cyst: bool) -> None:
    image, truth = cord((420, 520), level=200.0)
    y, x = np.mgrid[0:420, 0:520]
    gap = (np.hypot(y - 210, x - 120) < 35) | ((np.abs(y - 210) < mouth_um / UM / 2) & (x < 120))
    image[gap] = 20
    image += np.random.default_rng(5).normal(0, 2, image.shape).astype(np.float32)
    (piece,), mask = find_pieces(image[None], UM, SETTINGS)
    box = slice(piece.y0, piece.y1), slice(piece.x0, piece.x1)
    found = (find_cavity(mask[box], piece.outline, UM, SETTINGS) & gap[box]).sum() / (gap & truth).sum()
    assert found > 0.75 if cyst else found < 0.1
