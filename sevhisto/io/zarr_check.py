"""Whether an OME-Zarr folder can be trusted, told from its own JSON and file names before any library opens it."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sevhisto.io.scene import broken
from sevhisto.io.tiff_check import MAX_SEGMENT_BYTES, MAX_SIDE

REMEDY = "copy the whole folder again, or write it again as OME-Zarr 0.4 or 0.5"
MAX_JSON_BYTES, MAX_CHUNKS = 2**24, 2_000_000
_V2 = {"blosc", "zlib", "gzip", "zstd", "lz4", "bz2", "lzma", "shuffle", "delta", "crc32", "crc32c", "adler32", "fletcher32"}
_V3 = {"bytes", "transpose", "blosc", "gzip", "zstd", "crc32c", "sharding_indexed"}
_TYPES = {"uint8": 1, "uint16": 2, "uint32": 4, "float32": 4, "float64": 8, "u1": 1, "u2": 2, "u4": 4, "f4": 4, "f8": 8}


def read_json(path: Path, root: Path) -> dict[str, Any]:
    """Return the object in a JSON file; SlideError where it is too large, damaged or something else."""
    if path.stat().st_size > MAX_JSON_BYTES:
        raise broken(root, f"{path.name} is larger than {MAX_JSON_BYTES // 2**20} MB", REMEDY)
    try:
        found = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise broken(root, f"its {path.name} is damaged ({error})", REMEDY) from error
    if not isinstance(found, dict):
        raise broken(root, f"its {path.name} is damaged (no object)", REMEDY)
    return found


def check_links(root: Path) -> None:
    """SlideError where a link in the folder leaves it."""
    home = root.resolve()
    for path in root.rglob("*"):
        if path.is_symlink() and not path.resolve().is_relative_to(home):
            raise broken(
                root, f"holds a link that leaves the folder ({path.relative_to(root).as_posix()})", "put the files themselves there"
            )


def check_array(root: Path, folder: Path) -> None:
    """SlideError where an array declares what cannot be, needs a codec that is not known here, or has chunks missing."""
    v3, v2 = folder / "zarr.json", folder / ".zarray"
    if v3.is_file():
        facts = read_json(v3, root)
        grid = facts.get("chunk_grid", {}).get("configuration", {}).get("chunk_shape")
        codecs, known = _codecs_v3(facts.get("codecs"), root), _V3
        kind = facts.get("data_type")
    elif v2.is_file():
        facts = read_json(v2, root)
        grid, kind = facts.get("chunks"), str(facts.get("dtype", ""))[1:]
        codecs, known = [c.get("id", "") for c in [facts.get("compressor"), *(facts.get("filters") or [])] if c], _V2
    else:
        raise broken(root, f"refers to {folder.name!r}, which is no array", REMEDY)
    unknown = [c for c in codecs if c not in known]
    if unknown:
        raise broken(
            root, f"its codec {unknown[0]!r} is not read here: it is not known, or can run code", "write it with zstd, blosc or gzip"
        )
    shape, grid = _whole(facts.get("shape")), _whole(grid)
    if not shape or len(shape) != len(grid) or max(shape[-2:]) > MAX_SIDE:
        raise broken(root, f"declares a shape of {facts.get('shape')} in chunks of {grid}", REMEDY)
    if math.prod(grid) * _TYPES.get(str(kind), 8) > 4 * MAX_SEGMENT_BYTES:
        raise broken(root, f"its chunks of {grid} pixels are too large to read by region", "write it with chunks of 512 or 1024 pixels")
    _check_chunks(root, folder, facts, [-(-n // c) for n, c in zip(shape, grid, strict=True)])


def _whole(numbers: Any) -> list[int]:
    """Return a list of whole numbers above 0; an empty one for anything else."""
    return numbers if isinstance(numbers, list) and all(type(n) is int and n > 0 for n in numbers) else []


def _codecs_v3(codecs: Any, root: Path) -> list[str]:
    found: list[str] = []
    if not isinstance(codecs, Sequence) or isinstance(codecs, str):
        raise broken(root, "does not say how its chunks are packed", REMEDY)
    for codec in codecs:
        found.append(str(codec.get("name", "")) if isinstance(codec, dict) else str(codec))
        more = codec.get("configuration", {}) if isinstance(codec, dict) else {}
        for part in ("codecs", "index_codecs"):
            found += _codecs_v3(more[part], root) if part in more else []
    return found


def _check_chunks(root: Path, folder: Path, facts: dict[str, Any], counts: Sequence[int]) -> None:
    """Chunks that are not on disk would be read as the fill value."""
    n = math.prod(counts)
    if n > MAX_CHUNKS:
        raise broken(root, f"declares {n} chunks", REMEDY)
    held = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    encoding = facts.get("chunk_key_encoding") or {}
    v3 = encoding.get("name") == "default"
    mark = (encoding.get("configuration") or {}).get("separator", "/" if v3 else ".") if encoding else facts.get("dimension_separator", ".")
    keys = (("c" + mark if v3 else "") + mark.join(map(str, place)) for place in itertools.product(*map(range, counts)))
    missing = [key for key in keys if key not in held]
    if missing:
        what = f"chunk {missing[0]} of {folder.name} is missing" + (f", and {len(missing) - 1} more of {n}" if len(missing) > 1 else "")
        raise broken(root, what, REMEDY)
