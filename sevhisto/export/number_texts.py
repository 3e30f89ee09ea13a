"""Millions of numbers as text: columns at once, in place of one format a number."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sevhisto.types import AnyArray

_POWERS = np.array([float(10**n) for n in range(23)])  # exact
SIGNIFICANT = 6


def joined(*parts: pa.Array | str, between: str = "", skip: bool = False) -> pa.Array:
    """Return the texts of several columns, and texts that are the same for all, joined row by row; `skip` : leave nulls out."""
    return pc.binary_join_element_wise(*parts, between, null_handling="skip" if skip else "emit_null")


def six_digits(values: AnyArray) -> pa.Array:
    """Return numbers (n,) with six significant digits, null for those that are not finite; those that ``%.6g`` gives, read back."""
    known = np.isfinite(values)
    plain = np.where(known, values, 0).astype(np.float64)
    size = np.where(plain == 0, 1, np.abs(plain))
    shift = (SIGNIFICANT - 1 - np.floor(np.log10(size))).astype(np.int64)
    up, down = (_POWERS[np.clip(n, 0, 22)] for n in (shift, -shift))
    # a whole number over an exact power of ten is the double next to the decimal, whose shortest text is the decimal
    short = np.rint(plain * up / down) * down / up
    far = np.abs(shift) >= len(_POWERS)  # next to nothing, and seldom
    short[far] = [float(f"{v:.6g}") for v in plain[far]]
    return pc.if_else(pa.array(known), pa.array(short).cast(pa.string()), pa.scalar(None, pa.string()))


def text_bytes(texts: pa.Array) -> bytes:
    """Return the texts of a column one after the other as UTF-8."""
    start, end = (np.frombuffer(texts.buffers()[1], np.int32)[i + texts.offset] for i in (0, len(texts)))
    return texts.buffers()[2].to_pybytes()[start:end] if len(texts) else b""
