"""Records and overviews on disk: content-addressed, and the same content is the same bytes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import time
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from sevhisto.io import remote
from sevhisto.io.files import write_bytes_atomic
from sevhisto.io.npz import NpzMembers, npz_bytes
from sevhisto.io.tallies import read_tallies, save_tallies
from sevhisto.tallies import Tallies, smallest
from sevhisto.types import INTENSITY_EDGES_Q, AnyArray, CellOutlines, Problem, SectionRecord, SectionView, SevhistoError, SlideError

RECORD_FORMAT = 7
_OUTLINES = ("outlines.start", "outlines.length", "outlines.turns")
_NAME = re.compile(r"([0-9a-f]{32})\.([0-9a-f]{32})\.npz")


def save_record(folder: Path, key: str, record: SectionRecord, store: str = "") -> Path:
    """Write one section's record and return its path, or where `keep_record` brings it from a store.

    Parameters
    ----------
    folder : the records folder, ``results/records``
    key : sha256 (hex) of everything that the record depends on
    record : what was measured
    store : address of a store (`io.remote`) that gets the record instead; other machines need not see the folder then

    Returns
    -------
    path : ``<first 32 of key>.<first 32 of the sha256 of the bytes>.npz``; equal records give equal bytes
    """
    data = _record_bytes(record)
    if not store:
        return _save(folder, key, data)
    name = _name(key, data)
    remote.put(store, name, data)
    return folder / name


def stored_record(folder: Path, key: str, store: str) -> Path | None:
    """Return where `keep_record` brings the record of `key` that a store has and this version reads; None where it has none."""
    for name in remote.names(store, _short(key)):
        data = remote.get(store, name) if _NAME.fullmatch(name) else None
        if data is not None and is_current(io.BytesIO(data)):
            return folder / name
    return None


def share_record(path: Path, store: str) -> None:
    """Give a store a record that is here, where it has none of that name."""
    data = _intact(path)
    if data is not None and path.name not in remote.names(store, path.name.partition(".")[0]):
        remote.put(store, path.name, data)


def keep_record(path: Path, store: str) -> None:
    """Bring a record from a store, where it is not here undamaged; SlideError where the store has none that is."""
    if _intact(path) is None:
        data = remote.get(store, path.name)
        if data is None:
            remedy = "run again: this section is measured anew"
            raise SlideError(Problem(f"{remote.OPTION} {store}", f"{path.name} is damaged or missing there", remedy))
        write_bytes_atomic(path, data)


def remove_record(path: Path, store: str = "") -> None:
    """Remove a record, here and in a store."""
    path.unlink(missing_ok=True)
    if store:
        remote.remove(store, path.name)


def load_tallies(path: Path) -> Tallies:
    """Return the tallies of a record; made, and kept beside it, where they are missing or damaged. Errors as in `load_record`."""
    found = read_tallies(path)
    if found is None:
        found = Tallies.of(load_record(path))
        save_tallies(path, found)
    return found


def _save(folder: Path, key: str, data: bytes) -> Path:
    path = folder / _name(key, data)
    write_bytes_atomic(path, data)
    return path


def _name(key: str, data: bytes) -> str:
    return f"{_short(key)}.{hashlib.sha256(data).hexdigest()[:32]}.npz"


def kept_overview(folder: Path, key: str, make: Callable[[], tuple[AnyArray, int]]) -> tuple[AnyArray, int]:
    """Return the overview of `key` and its step from `folder`; made, and kept there, where it is missing or damaged."""
    found = find_record(folder, key)
    data = _intact(found) if found is not None else None
    if data is not None:
        arrays = NpzMembers(data)
        return arrays["image"], int(arrays["step"][0])
    image, step = make()
    _save(folder, key, npz_bytes({"image": image, "step": np.array([step])}))
    return image, step


_MIDDLE = np.concatenate([INTENSITY_EDGES_Q[:1], (INTENSITY_EDGES_Q[:-1] + INTENSITY_EDGES_Q[1:]) // 2, INTENSITY_EDGES_Q[-1:]])
"""Middle of each intensity bin in quanta; the open ones have their only edge."""


def find_record(folder: Path, key: str) -> Path | None:
    """Return an undamaged record of `key`, or None: then the section is measured (again)."""
    names = _listed(folder).get(_short(key), ())
    return next((folder / name for name in sorted(names) if _intact(folder / name) is not None), None)


_SETTLED_NS = 2 * 10**9
"""Two changes of a folder within this time can have the same time stamp."""


def _listed(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return the names of the records in a folder by the start of their keys."""
    try:
        changed_ns = folder.stat().st_mtime_ns
        settled = abs(time.time_ns() - changed_ns) > _SETTLED_NS
        return _names(folder, changed_ns) if settled else _names.__wrapped__(folder, changed_ns)
    except FileNotFoundError:
        return {}


@lru_cache(maxsize=4)
def _names(folder: Path, changed_ns: int) -> dict[str, tuple[str, ...]]:
    # one listing of thousands of names for thousands of keys, until the folder changes
    found: dict[str, tuple[str, ...]] = {}
    for name in os.listdir(folder):  # noqa: PTH208  (a Path for each of 30,000 names takes ten times as long)
        match = _NAME.fullmatch(name)
        if match is not None:
            found[match[1]] = (*found.get(match[1], ()), name)
    return found


def is_current(record: Path | io.BytesIO) -> bool:
    """Return whether an undamaged record can be read by this version; its arrays are not."""
    with np.load(record, allow_pickle=False) as arrays:
        return bool(json.loads(arrays["head"].tobytes()).get("format") == RECORD_FORMAT)


def is_record(path: Path) -> bool:
    """Return whether a file has the name of a record."""
    return _NAME.fullmatch(path.name) is not None and path.is_file()


def load_record(path: Path, store: str = "") -> SectionRecord:
    """Read a record, from `store` where it is not here; SevhistoError if its bytes are not those that its name promises."""
    return _unpack(dict(_opened(path, store)), path)


def load_view(path: Path, cells: bool = True, masks: Collection[str] | None = None) -> SectionView:
    """Read what there is to see of a section, without its tallies; errors as in `load_record`.

    Parameters
    ----------
    cells : with them; else they look as if there were none
    masks : those that are wanted; all where None
    """
    arrays = _opened(path)
    head = _head(arrays, path)
    found = (
        (_cells(arrays, head), _masks(arrays, head, masks), _outlines(arrays, head)) if cells else ({}, _masks(arrays, head, masks), None)
    )
    return SectionView(head["meta"], tuple(head["markers"]), *found)


def _opened(path: Path, store: str = "") -> NpzMembers:
    data = _intact(path)
    if data is None and store:
        data = remote.get(store, path.name)
    if data is None:
        raise SevhistoError(Problem(str(path), "the record is damaged or missing", "run the study again: this section is measured anew"))
    return NpzMembers(data)


def _head(arrays: Mapping[str, AnyArray], path: Path) -> dict[str, Any]:
    head: dict[str, Any] = json.loads(arrays["head"].tobytes())
    if head.get("format") != RECORD_FORMAT:
        raise SevhistoError(Problem(str(path), f"was written in format {head.get('format')}", "run the study again with this version"))
    return head


def _cells(arrays: Mapping[str, AnyArray], head: dict[str, Any]) -> dict[str, AnyArray]:
    return {name: arrays[f"cells{i}"] for i, name in enumerate(head["cells"])}


def _outlines(arrays: Mapping[str, AnyArray], head: dict[str, Any]) -> CellOutlines | None:
    step = head["outline_step"]
    if not step:
        return None
    start, length, turns = (arrays[name] for name in _OUTLINES)
    return CellOutlines(start, length, turns, step)


def _masks(arrays: Mapping[str, AnyArray], head: dict[str, Any], wanted: Collection[str] | None = None) -> dict[str, AnyArray]:
    found = {name: arrays[f"masks{i}"] for i, name in enumerate(head["masks"]) if wanted is None or name in wanted}
    return {name: np.cumsum(m, axis=-1, dtype=np.int16) if m.dtype == np.int16 else m for name, m in found.items()}


def _short(key: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{32,}", key):
        raise ValueError(f"not a hex digest of 32 digits or more: {key!r}")
    return key[:32]


def _intact(path: Path) -> bytes | None:
    match = _NAME.fullmatch(path.name)
    if match is None or not path.is_file():
        return None
    data = path.read_bytes()
    return data if hashlib.sha256(data).hexdigest()[:32] == match[2] else None


def _record_bytes(record: SectionRecord) -> bytes:
    head = {
        "format": RECORD_FORMAT,
        "meta": record.meta,
        "markers": list(record.markers),
        "joint": [list(pair) for pair in record.joint],
        "scrambled": [list(pair) for pair in record.scrambled],
        "fibres": list(record.fibres),
        "puncta": list(record.puncta),
        "autofluorescent": list(record.autofluorescent),
        "local": list(record.local),
        "cell_spots": list(record.cell_spots),
        "cells": list(record.cells),
        "outline_step": record.outlines.step if record.outlines else 0,
        "masks": list(record.masks),
    }
    text = json.dumps(head, sort_keys=True, allow_nan=False)
    arrays: dict[str, AnyArray] = {"head": np.frombuffer(text.encode(), np.uint8)}
    sparse = {"counts": record.counts, "sums": record.sums - _expected_sums(record.counts)}
    sparse |= {"cavity_px": record.cavity_px, "masked_px": record.masked_px}
    for kind in ("joint", "scrambled", "fibres", "puncta", "autofluorescent", "local", "cell_spots"):
        sparse |= {f"{kind}{i}": a for i, a in enumerate(getattr(record, kind).values())}
    for name, array in sparse.items():
        arrays |= _pack(name, array)
    arrays |= {f"cells{i}": a for i, a in enumerate(record.cells.values())}
    if record.outlines:
        arrays |= {name: getattr(record.outlines, name.partition(".")[2]) for name in _OUTLINES}
    arrays |= {f"masks{i}": _differences(a) for i, a in enumerate(record.masks.values())}
    return npz_bytes(arrays)


def _expected_sums(counts: AnyArray) -> Any:
    """Return the sums that pixels in the middle of their bins would have: what differs from them takes half the space."""
    return counts * _MIDDLE if counts.shape[-1:] == _MIDDLE.shape else np.zeros(1, np.int64)[0]


def _differences(mask: AnyArray) -> AnyArray:
    """Return a map of distances (int16) as steps along its rows, which take a quarter of the space; other maps as they are."""
    return np.diff(mask, axis=-1, prepend=np.int16(0)) if mask.dtype == np.int16 else mask


def _pack(name: str, array: AnyArray) -> dict[str, AnyArray]:
    """Return a mostly empty int64 array as steps between its non-zero places, and their values, each in the smallest dtype."""
    if array.dtype != np.int64:
        raise TypeError(f"{name} must be int64, not {array.dtype}")
    flat = np.ascontiguousarray(array).ravel()
    place = np.flatnonzero(flat)
    steps = np.diff(place, prepend=0)
    return {
        f"{name}.shape": np.array(array.shape, np.int64),
        f"{name}.steps": smallest(steps),
        f"{name}.values": smallest(flat[place]),
    }


def _unpack(arrays: dict[str, AnyArray], path: Path) -> SectionRecord:
    head = _head(arrays, path)

    def dense(name: str) -> AnyArray:
        out = np.zeros(tuple(arrays[f"{name}.shape"]), np.int64)
        out.reshape(-1)[np.cumsum(arrays[f"{name}.steps"], dtype=np.int64)] = arrays[f"{name}.values"]
        return out

    counts, sums = dense("counts"), dense("sums")
    if counts.shape[-1] == len(_MIDDLE):  # only where there are pixels: of these arrays nearly all is empty
        place = np.cumsum(arrays["counts.steps"], dtype=np.int64)
        sums.reshape(-1)[place] += arrays["counts.values"] * _MIDDLE[place % len(_MIDDLE)]
    return SectionRecord(
        meta=head["meta"],
        markers=tuple(head["markers"]),
        counts=counts,
        sums=sums,
        cavity_px=dense("cavity_px"),
        masked_px=dense("masked_px"),
        joint={(a, b): dense(f"joint{i}") for i, (a, b) in enumerate(head["joint"])},
        fibres={name: dense(f"fibres{i}") for i, name in enumerate(head["fibres"])},
        cells=_cells(arrays, head),
        masks=_masks(arrays, head),
        puncta={name: dense(f"puncta{i}") for i, name in enumerate(head["puncta"])},
        cell_spots={name: dense(f"cell_spots{i}") for i, name in enumerate(head["cell_spots"])},
        scrambled={(a, b): dense(f"scrambled{i}") for i, (a, b) in enumerate(head["scrambled"])},
        autofluorescent={name: dense(f"autofluorescent{i}") for i, name in enumerate(head["autofluorescent"])},
        local={name: dense(f"local{i}") for i, name in enumerate(head["local"])},
        outlines=_outlines(arrays, head),
    )
