"""Trained pixel classifiers on disk: arrays and a line of JSON, never a pickle, and nothing is taken on trust when one is read."""

from __future__ import annotations

import hashlib
import itertools
import json
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from sevhisto.io.files import write_bytes_atomic
from sevhisto.io.npz import npz_arrays, npz_bytes
from sevhisto.types import PixelModel, Problem, SevhistoError

FORMAT = "sevhisto pixel classifier 1"
FOLDER = "classifiers"
MAX_BYTES, MAX_NODES, MAX_DEPTH = 100_000_000, 1_000_000, 64
_ARRAYS = {
    "head": ("|u1", 1),
    "feature": ("<i2", 1),
    "threshold": ("<f4", 1),
    "child": ("<i4", 1),
    "share": ("<f4", 2),
    "roots": ("<i4", 1),
}
_HEAD = ("format", "classes", "inputs", "scales_um", "facts")
_FACTS: dict[str, type] = {
    **dict.fromkeys(("panel", "kind", "stain", "who", "version"), str),
    **dict.fromkeys(("slides", "cautions"), list),
    **dict.fromkeys(("outlines", "pixels", "out_of_sample"), dict),
    **dict.fromkeys(("seed", "animals"), int),
}
_PER_CLASS = ("recall", "precision", "f1")
_OUT_OF_SAMPLE = ("left_out", "groups", "confusion_px", "balanced_accuracy", "worst_group", *_PER_CLASS)
_DAMAGE = (ValueError, KeyError, TypeError, EOFError, RecursionError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error)


def save_model(path: Path, model: PixelModel) -> None:
    """Write a model: the same model gives the same bytes."""
    head = {"format": FORMAT, "classes": model.classes, "inputs": model.inputs, "scales_um": model.scales_um, "facts": model.facts}
    text = json.dumps(head, sort_keys=True, allow_nan=False).encode()
    arrays = {name: np.asarray(getattr(model, name), kind) for name, (kind, _) in _ARRAYS.items() if name != "head"}
    write_bytes_atomic(path, npz_bytes({"head": np.frombuffer(text, np.uint8), **arrays}))


def load_model(path: Path) -> PixelModel:
    """Read a model; SevhistoError where there is none, or the file is damaged or not a classifier of this program."""
    where = f"{FOLDER}/{path.name}"
    try:
        found = path.stat()
        return _loaded(path, found.st_size, found.st_mtime_ns)
    except OSError as error:
        remedy = f"learn it: sevhisto train STUDY {path.stem}; or correct `classifier` in study.toml"
        raise SevhistoError(Problem(where, f"cannot be read: {error.strerror}", remedy)) from error
    except _DAMAGE as error:
        what = f"is damaged, or no classifier of this program: {error}"
        raise SevhistoError(Problem(where, what, f"learn it again: sevhisto train STUDY {path.stem}")) from error


@lru_cache(maxsize=4)
def _loaded(path: Path, size: int, changed_ns: int) -> PixelModel:
    if size > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES // 1_000_000} MB")
    return _model(path.read_bytes())


def model_sha256(path: Path) -> str:
    """Return the sha256 (hex) of a model's file; OSError where it cannot be read."""
    found = path.stat()
    return _digest(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=16)
def _digest(path: Path, size: int, changed_ns: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _model(data: bytes) -> PixelModel:
    arrays = npz_arrays(data, _ARRAYS, MAX_BYTES)
    head = json.loads(arrays.pop("head").tobytes())
    if not isinstance(head, dict) or sorted(head) != sorted(_HEAD) or head["format"] != FORMAT:
        raise ValueError("its head is not that of a classifier, or of another version")
    names = _names("classes", head["classes"], 2), _names("inputs", head["inputs"], 1)
    scales = head["scales_um"]
    if not isinstance(scales, list) or not scales or not all(isinstance(s, (int, float)) and 0 < s < 1000 for s in scales):
        raise ValueError("scales_um are not lengths")
    if any(b <= a for a, b in itertools.pairwise(scales)):
        raise ValueError("scales_um do not grow")
    feature, threshold, child, share, roots = (arrays[name] for name in ("feature", "threshold", "child", "share", "roots"))
    facts = _facts(head["facts"], len(names[0]))
    model = PixelModel(*names, tuple(map(float, scales)), feature, threshold, child, share, roots, facts)
    _check_trees(model)
    return model


def _names(what: str, given: Any, least: int) -> tuple[str, ...]:
    different = isinstance(given, list) and all(isinstance(n, str) and n for n in given) and len(set(given)) == len(given)
    if not different or len(given) < least:
        raise ValueError(f"{what} are not {least} or more different names")
    return tuple(given)


def _facts(facts: Any, n_classes: int) -> dict[str, Any]:
    if not isinstance(facts, dict) or sorted(facts) != sorted(_FACTS) or any(type(facts[n]) is not kind for n, kind in _FACTS.items()):
        raise ValueError("what it says of how it was learned is not complete")
    told = facts["out_of_sample"]
    if sorted(told) != sorted(_OUT_OF_SAMPLE) or np.shape(told["confusion_px"]) != (n_classes, n_classes + 1):
        raise ValueError("what it says of its error is not complete")
    if any(len(told[name]) != n_classes for name in _PER_CLASS):
        raise ValueError("it does not tell the error of each class")
    return facts


def _check_trees(model: PixelModel) -> None:
    """Raise ValueError unless every walk down a tree ends in a leaf and looks at features that there are."""
    n = len(model.child)
    inner = np.flatnonzero(model.child)
    child, feature = model.child[inner], model.feature[inner]
    if not 0 < n <= MAX_NODES or any(len(a) != n for a in (model.feature, model.threshold, model.share)):
        raise ValueError("its arrays do not belong together")
    # children come later than their parents, so that no walk goes round
    if (child <= inner).any() or (child >= n - 1).any():
        raise ValueError("a branch leads nowhere")
    if (feature < 0).any() or (feature >= model.n_features).any():
        raise ValueError("it looks at a feature that there is not")
    if not np.isfinite(model.threshold).all() or not len(model.roots) or (model.roots < 0).any() or (model.roots >= n).any():
        raise ValueError("a threshold or root is out of range")
    if model.share.shape[1] != len(model.classes) or not (np.abs(model.share.sum(axis=1) - 1) < 1e-4).all() or (model.share < 0).any():
        raise ValueError("the shares of its classes do not sum to one")
    depth = np.zeros(n, np.int64)
    for node, first in zip(inner.tolist(), child.tolist(), strict=True):
        depth[first : first + 2] = depth[node] + 1
    if depth.max() > MAX_DEPTH:
        raise ValueError(f"a tree is deeper than {MAX_DEPTH}")
