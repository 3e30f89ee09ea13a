"""Records in a store: what is read back is what was written, or nothing; a store that fails says so and loses nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sevhisto.io import remote
from sevhisto.io.records import is_record, keep_record, load_record, remove_record, save_record, share_record, stored_record
from sevhisto.types import OutputError, SlideError, StudyError
from tests.io.test_store import KEY, typical

fsspec = pytest.importorskip("fsspec")
from fsspec.implementations.memory import MemoryFileSystem  # noqa: E402


class Faulty(MemoryFileSystem):  # type: ignore[misc]
    """A store, shared by this process, whose calls fail as often as it is told."""

    protocol = "faulty"
    store: dict[str, Any] = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012
    fails: dict[str, list[Exception]] = {}  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("faulty://", "/")))

    def _asked(self, what: str) -> None:
        if self.fails.get(what):
            raise self.fails[what].pop()

    def pipe_file(self, path: str, value: bytes, *rest: Any, **more: Any) -> None:
        self._asked("write")
        super().pipe_file(path, value, *rest, **more)

    def cat_file(self, path: str, *rest: Any, **more: Any) -> Any:
        self._asked("read")
        return super().cat_file(path, *rest, **more)

    def mv(self, *rest: Any, **more: Any) -> None:
        self._asked("move")
        super().mv(*rest, **more)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    fsspec.register_implementation("faulty", Faulty, clobber=True)
    monkeypatch.setattr(remote, "WAITS_S", (0.0, 0.0))
    monkeypatch.setattr(remote.put, "__defaults__", ((0.0, 0.0),))
    monkeypatch.setattr(remote._asked, "__defaults__", ((0.0, 0.0),))
    Faulty.store.clear()
    Faulty.pseudo_dirs[:] = ["", "/lab"]
    Faulty.fails.clear()
    remote._store.cache_clear()
    yield "faulty://lab"


def kept() -> dict[str, bytes]:
    return {path: bytes(file.getvalue()) for path, file in Faulty.store.items()}


def test_what_is_stored_is_found_and_brought(store, tmp_path):
    here = save_record(tmp_path / "here", KEY, typical())
    away = save_record(tmp_path / "away", KEY, typical(), store)
    assert away.name == here.name and not is_record(away)
    assert list(kept()) == [f"/lab/{KEY[:32]}/{here.name}"] and next(iter(kept().values())) == here.read_bytes()
    assert stored_record(tmp_path / "away", KEY, store) == away
    assert stored_record(tmp_path / "away", "cd" * 32, store) is None
    assert load_record(away, store).meta == typical().meta
    keep_record(away, store)
    assert away.read_bytes() == here.read_bytes()
    remove_record(away, store)
    assert not kept() and not away.exists()
    share_record(here, store)
    share_record(here, store)
    assert len(kept()) == 1


@pytest.mark.parametrize("damage", [lambda data: data[:-100], lambda _: b"", lambda data: data[:999] + b"x" + data[1000:]])
def test_a_torn_object_is_none_and_is_written_anew(store, tmp_path, damage):
    path = save_record(tmp_path, KEY, typical(), store)
    (place,), (whole,) = kept().keys(), kept().values()
    Faulty().pipe_file(place, damage(whole))
    assert stored_record(tmp_path, KEY, store) is None
    with pytest.raises(SlideError, match="is damaged or missing there"):
        keep_record(path, store)
    assert not path.exists()
    save_record(tmp_path, KEY, typical(), store)
    assert kept() == {place: whole}


@pytest.mark.parametrize("what", ["write", "read", "move"])
def test_a_store_that_fails_is_asked_again_then_told_and_keeps_what_it_had(store, tmp_path, what):
    save_record(tmp_path, "cd" * 32, typical(), store)
    before = kept()
    Faulty.fails[what] = [OSError("no route"), OSError("no route")]
    path = save_record(tmp_path, KEY, typical(), store)  # the third try
    remove_record(path, store)
    assert kept() == before
    Faulty.fails[what] = [OSError("no route")] * 9
    with pytest.raises(OutputError, match="OSError: no route"):
        save_record(tmp_path, KEY, typical(), store)
    assert {p: d for p, d in kept().items() if not p.endswith(".tmp")} == before
    Faulty.fails.clear()
    save_record(tmp_path, KEY, typical(), store)
    assert len(kept()) == 2  # what was being written is gone too
    assert stored_record(tmp_path, KEY, store) is not None
    Faulty.fails["write"] = [PermissionError("denied")]
    with pytest.raises(OutputError, match="PermissionError: denied"):  # not asked again
        save_record(tmp_path, "ef" * 32, typical(), store)


def test_two_machines_may_write_the_same(store, tmp_path, monkeypatch):
    save_record(tmp_path, KEY, typical(), store)
    whole = kept()
    monkeypatch.setattr(Faulty, "mv", lambda self, a, b: Faulty.store.update({b: Faulty.store.pop(a)}) or self._asked("move"))
    Faulty.store.clear()
    Faulty.fails["move"] = [FileNotFoundError("the other was faster")]
    save_record(tmp_path, KEY, typical(), store)
    assert kept() == whole


def test_a_store_is_tried_before_it_is_needed(store, tmp_path):
    remote.try_store(store)
    assert not kept() and Faulty.pseudo_dirs == ["", "/lab"]
    remote.try_store((tmp_path / "").as_uri())
    assert not list(tmp_path.iterdir())
    with pytest.raises(OutputError, match="cannot be written: FileNotFoundError"):
        remote.try_store((tmp_path / "nowhere").as_uri())
    assert not (tmp_path / "nowhere").exists()
    Faulty.fails["write"] = [PermissionError("denied")]
    with pytest.raises(OutputError, match="PermissionError: denied"):
        remote.try_store(store)
    with pytest.raises(OutputError, match="no package reaches this kind of store"):
        remote.try_store("nosuch://lab")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("/lab/records", "is no address of a store"),
        ("records", "is no address"),
        ("s3://", "is no address"),
        ("simplecache::s3://lab", "is no address"),
        ("ftp://anna:secret@host/lab", "holds a password"),
        ("https://store/lab?sig=secret", "holds a password"),
    ],
)
def test_an_address_that_is_none_or_tells_a_secret_is_refused(url, why):
    with pytest.raises(StudyError, match=why) as told:
        remote.try_store(url)
    assert "secret" not in str(told.value)
