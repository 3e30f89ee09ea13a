"""A person's own segmenter: a function of an installed package, named in study.toml, and the model file that it gets.

Nothing is fetched, and nothing in the study's folder is run.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sevhisto.config import LABELS, ImagingSettings
from sevhisto.imaging.segmenters import Segmenter, segmenters
from sevhisto.registry import did_you_mean
from sevhisto.types import FloatArray, IntArray, Problem, SevhistoError

ACROSS_PX = 20.0
"""Pixels across a typical nucleus that a function of a person's own gets, where the scan has as many."""
_HOW = "package.module:function of an installed package; see docs/labels.md"


def is_own(name: str) -> bool:
    """Return whether a segmenter's name means a function of a person's own."""
    return ":" in name


def segmenter_problems(imaging: ImagingSettings, root: Path) -> list[Problem]:
    """Return what is wrong with the segmenters that a study in `root` names, and with the model file, without running either."""
    found = []
    names = {"segmenter": imaging.segmenter, "body_segmenter": imaging.body_segmenter}
    for setting, name in names.items():
        where = f"study.toml: imaging.{setting}"
        if is_own(name):
            found += _own_problems(where, name, root)
        elif name not in (*segmenters, LABELS):
            found.append(Problem(where, f"unknown {name!r}", did_you_mean(name, [*segmenters, LABELS])))
    where = "study.toml: imaging.segmenter_model"
    if imaging.segmenter_model and not any(is_own(n) for n in names.values()):
        found.append(Problem(where, "is set, and no segmenter takes a model", f"set imaging.segmenter to {_HOW}"))
    elif imaging.segmenter_model and not (root / imaging.segmenter_model).exists():
        found.append(Problem(where, f"{imaging.segmenter_model!r} is not there", "put the file there; nothing is fetched"))
    return found


def _own_problems(where: str, name: str, root: Path) -> list[Problem]:
    package = name.split(":")[0].split(".")[0]
    if package in sys.stdlib_module_names:
        return [Problem(where, f"{name!r} is of Python itself, and no segmenter", _HOW)]
    try:
        if source_of(package).is_relative_to(root.resolve()):  # asked first: finding a part of a package runs the whole
            return [Problem(where, f"{name!r} lies in the study's folder, from which nothing is run", "install it as a package")]
        source_of(name)
        _function(name)
    except SevhistoError as error:
        return [Problem(where, p.what, p.remedy) for p in error.problems]
    return []


def source_of(name: str) -> Path:
    """Return the file of the module that holds an own segmenter; SevhistoError where it is not installed."""
    module = name.split(":")[0]
    package = module.split(".")[0]
    remedy = f"install {package} into the environment that runs sevhisto; nothing is fetched"
    try:
        top = importlib.util.find_spec(package) if package else None
        spec = importlib.util.find_spec(module) if top is not None else None
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.has_location or spec.origin is None:
        raise SevhistoError(Problem("segmenter", f"there is no module {module!r} here", remedy))
    return Path(spec.origin).resolve()


def _function(name: str) -> Callable[..., Any]:
    module, _, attribute = name.partition(":")
    try:
        function = getattr(importlib.import_module(module), attribute, None)
    except Exception as error:  # whatever a package does when it is loaded
        raise SevhistoError(Problem("segmenter", f"{module} cannot be loaded: {type(error).__name__}: {error}", _HOW)) from error
    if not callable(function):
        raise SevhistoError(Problem("segmenter", f"{module} has no function {attribute!r}", _HOW))
    return function  # type: ignore[no-any-return]


def own_segmenter(name: str, model: Path | None) -> Segmenter:
    """Return a person's own function as a segmenter.

    It is called as ``function(image, um_per_px, diameter_um, model)`` with corrected intensity (h, w) float32 and the path of the model,
    or None, and returns labels (h, w) of whole numbers, 0 for background; what else it returns is a SevhistoError.
    """
    function = _function(name)

    def find(image: FloatArray, um: float, diameter_um: float, threshold: float) -> IntArray:
        labels = np.asarray(function(image.copy(), um, diameter_um, model))
        if labels.shape != image.shape or labels.dtype.kind not in "ui" or labels.min(initial=0) < 0:
            what = f"gave {labels.dtype} of shape {labels.shape} for an image of {image.shape}"
            raise SevhistoError(Problem(name, what, "return one whole number per pixel, 0 for background"))
        return np.asarray(np.searchsorted(np.union1d(0, labels), labels), np.int64)

    return Segmenter(find, across_px=ACROSS_PX)
