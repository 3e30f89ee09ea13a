from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sevhisto.io.models import load_model, model_sha256, save_model
from sevhisto.io.npz import npz_bytes
from sevhisto.types import PixelModel, SevhistoError

ERROR: dict[str, Any] = {
    "left_out": "slide", "groups": 2, "confusion_px": [[1, 0, 0], [0, 1, 0]], "balanced_accuracy": None, "worst_group": None,
    "recall": [1, 1], "precision": [1, 1], "f1": [None, 1],
}  # fmt: skip
FACTS: dict[str, Any] = {
    "panel": "B", "kind": "fluorescence", "stain": "", "who": "EM", "version": "0", "seed": 1, "animals": 2, "slides": ["00" * 32],
    "cautions": [], "outlines": {"a": 1, "b": 2}, "pixels": {"a": 5, "b": 6}, "out_of_sample": ERROR,
}  # fmt: skip


@pytest.fixture
def model() -> PixelModel:
    """A tree of one split, and one that is a leaf."""
    share = np.array([[0.5, 0.5], [1, 0], [0.1, 0.9], [0.25, 0.75]], np.float32)
    feature, threshold = np.array([3, -1, -1, -1], np.int16), np.array([1.25, 0, 0, 0], np.float32)
    child, roots = np.array([1, 0, 0, 0], np.int32), np.array([0, 3], np.int32)
    return PixelModel(("a", "b"), ("DAPI",), (1.5, 3.0), feature, threshold, child, share, roots, FACTS)


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as found:
        return {name: found[name] for name in found.files}


def test_round_trip_is_exact_and_the_bytes_are_the_same(tmp_path, model):
    path, again = tmp_path / "c.npz", tmp_path / "d.npz"
    save_model(path, model)
    found = load_model(path)
    for name in ("feature", "threshold", "child", "share", "roots"):
        a, b = getattr(found, name), getattr(model, name)
        assert a.dtype == b.dtype and np.array_equal(a, b)
    assert replace(found, **dict.fromkeys(("feature", "threshold", "child", "share", "roots"))) == replace(
        model, **dict.fromkeys(("feature", "threshold", "child", "share", "roots"))
    )
    save_model(again, found)
    assert path.read_bytes() == again.read_bytes() and model_sha256(path) == model_sha256(again)


HOSTILE = {
    "a branch that goes back": lambda a: a["child"].__setitem__(1, 1),
    "a branch out of the tree": lambda a: a["child"].__setitem__(0, 3),
    "a branch below zero": lambda a: a["child"].__setitem__(0, -2),
    "a feature that there is not": lambda a: a["feature"].__setitem__(0, 10),
    "a root out of range": lambda a: a["roots"].__setitem__(0, 4),
    "no tree": lambda a: a.update(roots=a["roots"][:0]),
    "no node": lambda a: a.update({n: a[n][:0] for n in ("feature", "threshold", "child", "share")}),
    "a threshold that is no number": lambda a: a["threshold"].__setitem__(0, np.nan),
    "shares that are no number": lambda a: a["share"].__setitem__((0, 0), np.nan),
    "shares of more than all": lambda a: a["share"].__setitem__((0, 0), 3),
    "shares of other classes": lambda a: a.update(share=np.full((4, 3), 1 / 3, np.float32)),
    "arrays of different length": lambda a: a.update(feature=a["feature"][:2]),
    "another type": lambda a: a.update(threshold=a["threshold"].astype(np.float64)),
    "another shape": lambda a: a.update(share=a["share"].ravel()),
    "something more": lambda a: a.update(more=np.zeros(3)),
    "something less": lambda a: a.pop("roots"),
    "a head that is no JSON": lambda a: a.update(head=np.frombuffer(b"{", np.uint8)),
    "a head that is a list": lambda a: a.update(head=np.frombuffer(b"[]", np.uint8)),
    "a deep head": lambda a: a.update(head=np.frombuffer(b"[" * 100_000, np.uint8)),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_damaged_or_hostile_file_is_refused(tmp_path, model, what):
    path = tmp_path / "c.npz"
    save_model(path, model)
    arrays = arrays_of(path)
    HOSTILE[what](arrays)
    path.write_bytes(npz_bytes(arrays))
    with pytest.raises(SevhistoError, match=r"classifiers/c\.npz: is damaged, or no classifier of this program"):
        load_model(path)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "another"}, {"classes": ["a"]}, {"classes": ["a", "a"]}, {"classes": "ab"}, {"inputs": []}, {"scales_um": [3, 1.5]},
        {"scales_um": [-1, 2]}, {"scales_um": []}, {"facts": {}}, {"facts": {**FACTS, "seed": "1"}}, {"more": 1},
        {"facts": {**FACTS, "out_of_sample": {**ERROR, "confusion_px": [[1]]}}},
        {"facts": {**FACTS, "out_of_sample": {**ERROR, "f1": [1]}}},
    ],
)  # fmt: skip
def test_a_head_that_lies_is_refused(tmp_path, model, change):
    path = tmp_path / "c.npz"
    save_model(path, model)
    arrays = arrays_of(path)
    head = json.loads(arrays["head"].tobytes()) | change
    path.write_bytes(npz_bytes(arrays | {"head": np.frombuffer(json.dumps(head).encode(), np.uint8)}))
    with pytest.raises(SevhistoError, match="is damaged"):
        load_model(path)


def test_objects_bombs_and_rubbish_are_refused_before_they_are_unpacked(tmp_path, model):
    path = tmp_path / "c.npz"
    save_model(path, model)
    arrays = arrays_of(path)
    whole = path.read_bytes()
    buffer = io.BytesIO()
    np.savez(buffer, **{**arrays, "roots": np.array([{"a": 1}], object)})
    claim = io.BytesIO()
    np.lib.format.write_array_header_1_0(claim, {"descr": "<i4", "fortran_order": False, "shape": (10**12,)})
    lying, large = io.BytesIO(), io.BytesIO()
    for target, member in ((lying, claim.getvalue()), (large, bytes(200_000_000))):
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive, zipfile.ZipFile(io.BytesIO(whole)) as good:
            for name in good.namelist():
                archive.writestr(name, member if name == "roots.npy" else good.read(name))
    for data in (
        buffer.getvalue(),
        lying.getvalue(),
        large.getvalue(),
        whole[: len(whole) // 2],
        b"",
        b"PK no zip",
        whole[:-30] + bytes(30),
    ):
        path.write_bytes(data)
        with pytest.raises(SevhistoError, match="is damaged"):
            load_model(path)


def test_a_tree_that_is_too_deep_is_refused(tmp_path, model):
    n = 201
    child = np.where(np.arange(n) % 2 == 0, np.arange(n) + 1, 0).astype(np.int32)
    child[-1] = 0
    feature = np.where(child > 0, 0, -1).astype(np.int16)
    share = np.full((n, 2), 0.5, np.float32)
    save_model(tmp_path / "c.npz", replace(model, child=child, feature=feature, share=share, threshold=np.zeros(n, np.float32)))
    with pytest.raises(SevhistoError, match="deeper than 64"):
        load_model(tmp_path / "c.npz")


def test_a_missing_file_says_how_it_is_made(tmp_path):
    with pytest.raises(SevhistoError, match=r"classifiers/scar\.npz: cannot be read") as caught:
        load_model(tmp_path / "scar.npz")
    assert "sevhisto train STUDY scar" in caught.value.problems[0].remedy
