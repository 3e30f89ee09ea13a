"""Outlines as masks, as GeoJSON features and back; the history of what was drawn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevhisto.io.annotations import Outline, name_problems, read_outlines
from sevhisto.io.outlines import area_mask, collection_bytes, feature_of, features_in, of_piece, outlines_of_features, traced
from sevhisto.io.versions import History


def box(y0: float, x0: float, y1: float, x1: float) -> np.ndarray:
    return np.array([(y0, x0), (y0, x1), (y1, x1), (y1, x0)], np.float64)


def test_outlines_come_back_from_geojson_to_the_last_digit(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    ring = box(10, 10, 60, 80) + rng.uniform(-1, 1, (4, 2))
    drawn = Outline("lesion", [ring, box(100, 100, 120, 130)], [box(30, 30, 40, 50)], piece=2)
    path = tmp_path / "a.geojson"
    path.write_bytes(collection_bytes([feature_of(drawn), feature_of(Outline("exclude: tissue_damaged", [box(0, 0, 5, 5)], []))]))
    first, second = read_outlines(path)
    assert (first.name, first.piece, second.name, second.piece) == ("lesion", 2, "exclude: tissue_damaged", 0)
    assert np.abs(first.polygons[0][:-1] - ring).max() < 0.01 and len(first.polygons) == 2 and len(first.holes) == 1
    assert [o.name for o in of_piece([first, second], 1)] == ["exclude: tissue_damaged"]
    assert features_in(path) == json.loads(path.read_text("utf-8"))["features"]
    mask = area_mask([drawn], "lesion", (140, 140), 1.0)
    assert mask is not None and np.array_equal(mask, area_mask(outlines_of_features(features_in(path)), "lesion", (140, 140), 1.0))
    assert mask[35, 40] == 0 and mask[20, 20] and mask[110, 110]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1.0, 7.5]))
def test_a_mask_is_what_its_trace_fills(seed: int, factor: float) -> None:
    """The border runs between the centres of pixels; corners that touch diagonally may be parted either way, so blobs are solid."""
    rng = np.random.default_rng(seed)
    mask = np.kron(rng.random((6, 7)) > 0.5, np.ones((4, 4), bool))
    mask |= np.roll(mask, 1, axis=0) & np.roll(mask, 1, axis=1)
    outer, holes = traced(mask, factor, (30.0, -4.0), tolerance_px=0.0)
    if not outer:
        assert not mask.any()
        return
    back = area_mask([Outline("lesion", outer, holes)], "lesion", (mask.shape[0], mask.shape[1]), factor, (30.0, -4.0))
    assert back is not None and np.array_equal(back, mask)


def test_what_is_taken_away_is_taken_from_what_stands_before_it() -> None:
    big, cut, again = (box(0, 0, 20, 20), box(5, 5, 15, 15), box(8, 8, 12, 12))
    outlines = [Outline(name, [ring], []) for name, ring in (("lesion", big), ("not lesion", cut), ("lesion", again))]
    mask = area_mask(outlines, "lesion", (20, 20), 1.0)
    assert mask is not None and int(mask.sum()) == 400 - 100 + 16
    assert area_mask(outlines, "excluded", (20, 20), 1.0) is None
    assert not name_problems(outlines, "here")
    (problem,) = name_problems(outlines[1:2], "here")
    assert "none 'lesion'" in problem.what


def test_the_history_goes_back_and_forth_after_a_restart_too(tmp_path: Path) -> None:
    path = tmp_path / "a.versions.jsonl"
    states = [[feature_of(Outline("lesion", [box(0, 0, n, n)], []), 2)] for n in (5, 6, 7)]
    history = History.read(path, 2)
    assert (history.before, history.after, history.features) == (0, 0, ())
    for state in states:
        history.add(state, "drawn", "Ann")
    History.read(path, 1).add(states[0], "drawn", "Bob")  # another piece of the slide
    history = History.read(path, 2)
    assert list(history.features) == states[2]
    history.go_to(history.before, "Ann")
    history = History.read(path, 2)
    assert list(history.features) == states[1] and history.after == 3
    history.go_to(history.before, "Ann")
    assert history.before == 0 and history.after == 2
    history.add(states[2], "drawn", "Ann")
    assert history.after == 0 and History.read(path, 2).before == 1 and len(History.read(path, 1).versions) == 1


def test_a_line_that_was_cut_off_costs_itself_only(tmp_path: Path) -> None:
    path = tmp_path / "a.versions.jsonl"
    history = History.read(path, 1)
    history.add([], "found", "Ann")
    with path.open("ab") as file:
        file.write(b'{"piece": 1, "versi')
    history = History.read(path, 1)
    history.add([feature_of(Outline("lesion", [box(0, 0, 3, 3)], []))], "drawn", "Ann")
    again = History.read(path, 1)
    assert again.current == 2 and again.before == 1 and path.read_bytes().endswith(b"\n")


def test_points_and_lines_stay_what_they_are() -> None:
    line = Outline("note", [], [], [np.array([(1.0, 2.0), (3.0, 4.0)])])
    (back,) = outlines_of_features([feature_of(line)])
    assert back.strokes[0].tolist() == line.strokes[0].tolist()
    with pytest.raises(KeyError):
        outlines_of_features([{"type": "Feature", "geometry": {"type": "Polygon"}, "properties": {}}])
