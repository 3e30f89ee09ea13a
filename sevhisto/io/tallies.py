"""Tallies on disk, beside the record they come from: read in a millisecond, where a record takes fifty."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from sevhisto.io.files import write_bytes_atomic
from sevhisto.tallies import Sparse, Tallies
from sevhisto.types import AnyArray

TALLY_FORMAT = 2
_DIGEST = 32


def tally_path(record: Path) -> Path:
    """Return where the tallies of a record lie: its name, which holds the hash of its bytes, with another ending."""
    return record.with_suffix(".tally")


def save_tallies(record: Path, tallies: Tallies) -> None:
    """Write the tallies of the record that is, or will be, at `record`: sha256 of all that follows, a line of JSON, the arrays."""
    arrays: list[AnyArray] = []

    def place(array: AnyArray) -> list[Any]:
        arrays.append(np.ascontiguousarray(array))
        return [array.dtype.str, list(array.shape)]

    head = {
        "format": TALLY_FORMAT,
        "meta": tallies.meta,
        "markers": list(tallies.markers),
        "contour": tallies.contour,
        "sums": [[*kind, s.shape, s.cells, *map(place, (s.start, s.column, s.value))] for kind, s in tallies.sums.items()],
        "cells": [[name, place(column)] for name, column in tallies.cells.items()],
        "cell_spots": [[name, place(spots)] for name, spots in tallies.cell_spots.items()],
    }
    text = json.dumps(head, allow_nan=False).encode() + b"\n"
    body = b"".join([text, *(a.tobytes() for a in arrays)])
    write_bytes_atomic(tally_path(record), hashlib.sha256(body).digest() + body)


def read_tallies(record: Path) -> Tallies | None:
    """Return the tallies of a record, or None where they are missing, damaged or of another format: then the record has them."""
    try:
        data = tally_path(record).read_bytes()
    except OSError:
        return None
    if hashlib.sha256(memoryview(data)[_DIGEST:]).digest() != data[:_DIGEST]:
        return None
    end = data.index(b"\n", _DIGEST)
    head = json.loads(data[_DIGEST:end])
    if head["format"] != TALLY_FORMAT:
        return None
    at = end + 1

    def take(what: list[Any]) -> AnyArray:
        nonlocal at
        dtype, shape = np.dtype(what[0]), tuple(what[1])
        n = math.prod(shape)
        found = np.frombuffer(data, dtype, n, at).reshape(shape)
        at += n * dtype.itemsize
        return found

    return Tallies(
        head["meta"],
        tuple(head["markers"]),
        head["contour"],
        {(k, m): Sparse(tuple(shape), tuple(cells), *map(take, arrays)) for k, m, shape, cells, *arrays in head["sums"]},
        {name: take(what) for name, what in head["cells"]},
        {name: take(what) for name, what in head["cell_spots"]},
    )
