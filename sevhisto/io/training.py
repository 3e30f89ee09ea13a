"""Outlines with classes in training/, from which a classifier learns: what they are, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sevhisto.io.annotations import Outline, read_shapes
from sevhisto.types import DoubleArray, Problem, SevhistoError

FOLDER = "training"
_IMAGEJ_DEFAULT = re.compile(r"\d{4}-\d{4}(-\d{4})?")
_IMAGEJ_COUNT = re.compile(r"-\d+$")


@dataclass(frozen=True)
class Example:
    """One outline, line or point, and the class of what it marks."""

    name: str
    outline: Outline


def read_examples(path: Path, shape: tuple[int, int]) -> tuple[list[Example], list[Problem]]:
    """Return what a person drew on one slide to learn from, and everything that is wrong with it.

    Parameters
    ----------
    path : QuPath GeoJSON, whose classification names the class; or ImageJ ROIs by their names, where ``scar-1`` and ``scar-2`` are both
        ``scar``
    shape : (height, width) of the slide, in full-resolution pixels
    """
    try:
        outlines = read_shapes(path, FOLDER)
    except SevhistoError as error:
        return [], error.problems
    examples, problems = [], []
    for number, outline in enumerate(outlines, 1):
        where = f"{FOLDER}/{path.name}, outline {number}"
        name = class_of(outline.name, path.suffix.lower() in (".roi", ".zip"))
        parts = [*outline.polygons, *outline.strokes]
        if not name:
            problems.append(Problem(where, "has no class", "give it one: in QuPath a classification, in ImageJ a name"))
        elif not parts:
            problems.append(Problem(where, f"is a {outline.drawn_as}, which marks no pixel", "draw an area, a line or points"))
        elif _outside(parts, shape):
            what = f"lies outside the slide, which has {shape[1]} x {shape[0]} pixels"
            problems.append(Problem(where, what, "draw it on this image, at full resolution"))
        else:
            examples.append(Example(name, outline))
    return examples, problems


def class_of(name: str, imagej: bool) -> str:
    """Return the class that an outline's name gives, empty where it gives none.

    ImageJ numbers equal names, and gives places as names where a person gave none (``0123-0456``).
    """
    plain = " ".join(name.split())
    if not imagej:
        return plain
    return "" if _IMAGEJ_DEFAULT.fullmatch(plain) else _IMAGEJ_COUNT.sub("", plain)


def class_problems(names: Collection[str], panel: str) -> list[Problem]:
    """Return a problem where the outlines of a panel show fewer than two classes."""
    classes = sorted(set(names))
    if len(classes) > 1:
        return []
    what = f"its outlines show one class only, {classes[0]!r}" if classes else "there is no outline on any of its slides"
    remedy = "draw two classes or more: what is to be measured, and what is not"
    return [Problem(f"{FOLDER}/, panel {panel}", what, remedy)]


def _outside(parts: Sequence[DoubleArray], shape: tuple[int, int]) -> bool:
    points = np.concatenate(parts)
    low, high = points.min(axis=0), points.max(axis=0)
    return bool((high < 0).any() or (low > shape).any())
