"""Files that are there whole or not at all, alone and together."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sevhisto.io.files import all_together, read_sealed, remove_unfinished, whole_file, write_bytes_atomic, write_json, write_sealed
from sevhisto.types import OutputError

NAMES = ("a.csv", "b.csv", "seal.json")


def write_all(folder: Path, what: bytes) -> None:
    with all_together(folder / "seal.json"):
        for name in (NAMES[2], *NAMES[:2]):  # whatever comes first, the seal is put into place last
            write_bytes_atomic(folder / name, what)


def there(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


@pytest.mark.parametrize("once", [True, False])
def test_whichever_write_fails_no_mix_is_sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, once: bool) -> None:
    old, new = (dict.fromkeys(NAMES, data) for data in (b"old", b"new"))
    outcomes = set()
    for nth in range(1, 100):
        folder = tmp_path / str(nth)
        folder.mkdir()
        write_all(folder, b"old")
        count = 0

        def failing(real: Callable[..., Any], nth: int = nth) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                nonlocal count
                count += 1
                if count == nth or (count > nth and not once):
                    raise OSError(errno.ENOSPC, "No space left on device")
                return real(*args, **kwargs)

            return call

        with monkeypatch.context() as patch:
            for module, name in ((os, "fsync"), (tempfile, "mkstemp"), (os, "replace"), (os, "unlink")):
                patch.setattr(module, name, failing(getattr(module, name)))
            try:
                write_all(folder, b"new")
            except (OutputError, OSError) as error:
                assert "No space left" in str(error)
        seen = there(folder)
        complete = "seal.json" in seen
        outcomes.add("new" if seen == new else "old" if seen == old else "unsealed")
        tables = {k: v for k, v in seen.items() if not k.endswith(".tmp")}
        assert not complete or tables in (old, new), (nth, seen)
        write_all(folder, b"new")  # once it works again, all is as it should be
        remove_unfinished(folder)
        assert there(folder) == new
        if count < nth:
            break
    assert outcomes >= {"old", "new", "unsealed"}


def test_a_file_written_bit_by_bit_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with whole_file(path) as file:
        file.write(b"one, ")
        assert not path.exists()
        file.write(b"two")
    assert path.read_bytes() == b"one, two"

    def broken() -> None:
        with whole_file(path) as file:
            file.write(b"thr")
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        broken()
    assert there(tmp_path) == {"a.csv": b"one, two"}


def test_what_a_killed_process_was_writing_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".a.csv.x1.tmp").write_bytes(b"half")
    (tmp_path / "a.tmp").write_bytes(b"not ours")
    remove_unfinished(tmp_path, tmp_path / "not there")
    assert sorted(there(tmp_path)) == ["a.tmp"]


def test_a_sealed_file_is_what_was_written_or_told(tmp_path: Path) -> None:
    path, facts = (
        tmp_path / "facts.json",
        {"files": {"a.tif": {"sha256": "0f" * 32, "n_bytes": 5}}, "share": 0.1, "list": [1, None, "\u00e9"]},
    )
    write_sealed(path, facts)
    assert read_sealed(path) == facts
    data = path.read_bytes()
    for at in range(len(data)):
        for bit in range(8):
            path.write_bytes(data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :])
            with suppress(ValueError):
                assert {name: fact for name, fact in read_sealed(path).items() if name in facts} == facts
    path.write_bytes(data.replace(b"0f0f", b"0f0e"))
    with pytest.raises(ValueError, match="checksum does not fit"):
        read_sealed(path)
    write_json(path, facts)  # as versions before the seal did
    assert read_sealed(path) == facts
