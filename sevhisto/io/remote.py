"""Records in any store that fsspec reaches: a folder elsewhere, S3, SFTP and the like. What is read is what was written, or nothing."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import urlsplit

from sevhisto.io.patience import attempts
from sevhisto.types import OutputError, Problem, StudyError

T = TypeVar("T")

OPTION = "--records"
WAITS_S = (1.0, 5.0, 20.0)
"""Pauses between tries where a store does not answer: a network comes back."""
_TEMPORARY = ".tmp"
_PROBE = b"sevhisto keeps records here\n"


def refusal(url: str) -> Problem | None:
    """Return what is wrong with an address before anybody is asked: it is none, or tells a secret."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://.", url) is None or "::" in url:
        remedy = "write it as file:///FOLDER, s3://BUCKET/FOLDER or sftp://HOST/FOLDER"
        return Problem(OPTION, f"{url.partition('?')[0]!r} is no address of a store", remedy)
    if urlsplit(url).password is not None or "?" in url:
        remedy = "take it out, and give it to fsspec (~/.config/fsspec/conf.json) or to where the provider's own programs look"
        return Problem(OPTION, "the address holds a password or a token, which lists of processes and logs would show", remedy)
    return None


def try_store(url: str) -> None:
    """Write, read and remove something small; StudyError or OutputError, before a slide is read, where that cannot be done."""
    problem = refusal(url)
    if problem is not None:
        raise StudyError(problem)
    name = f"sevhisto.{hashlib.sha256(_PROBE).hexdigest()[:32]}.npz"
    put(url, name, _PROBE, waits=())
    read = get(url, name)
    remove(url, name)
    if read is None:
        raise OutputError(Problem(f"{OPTION} {url}", "does not give back what was written to it", "look at its settings"))


def names(url: str, key: str) -> list[str]:
    """Return the names of the records of a key, the part before the first dot."""

    def listed(store: Any, root: str) -> list[str]:
        store.invalidate_cache()
        try:
            found = store.ls(f"{root}/{key}", detail=False)
        except FileNotFoundError:
            return []
        return sorted(name for path in found if not (name := str(path).rpartition("/")[2]).endswith(_TEMPORARY))

    return _asked(url, "read", listed)


def get(url: str, name: str) -> bytes | None:
    """Return the bytes of a record, or None where it is not there, or not what its name promises."""
    return _asked(url, "read", lambda store, root: _intact(store, _path(root, name)))


def put(url: str, name: str, data: bytes, waits: Sequence[float] = WAITS_S) -> None:
    """Write a record under another name, then rename it; one that is there and whole stays as it is."""

    def written(store: Any, root: str) -> None:
        path = _path(root, name)
        if _intact(store, path) is not None:
            return
        folder = path.rpartition("/")[0]
        if not store.exists(folder):
            with suppress(FileExistsError):  # another machine made it just now
                store.mkdir(folder, create_parents=False)  # never a bucket, or a folder that was misspelt
        store.pipe_file(path + _TEMPORARY, data)
        try:
            if store.exists(path):
                store.rm_file(path)  # damaged; and some stores rename onto nothing that is there
            store.mv(path + _TEMPORARY, path)
        except Exception:
            if _intact(store, path) is None:  # else another machine wrote the same
                raise

    _asked(url, "written", written, waits)


def remove(url: str, name: str) -> None:
    """Remove a record; nothing where there is none."""

    def removed(store: Any, root: str) -> None:
        path = _path(root, name)
        if store.exists(path):
            store.rm_file(path)
        store.invalidate_cache()
        with suppress(Exception):  # not empty, or there are no folders
            store.rmdir(path.rpartition("/")[0])

    _asked(url, "written", removed)


def _path(root: str, name: str) -> str:
    return f"{root}/{name.partition('.')[0]}/{name}"  # a folder for each key: who asks for one lists no others


def _intact(store: Any, path: str) -> bytes | None:
    try:
        data: bytes = store.cat_file(path)
    except FileNotFoundError:
        return None
    return data if hashlib.sha256(data).hexdigest()[:32] == path.split(".")[-2] else None


def _asked(url: str, how: str, work: Callable[[Any, str], T], waits: Sequence[float] = WAITS_S) -> T:
    """Return what a store answers; OutputError, which ends a run, where it does not in several tries."""
    for last in attempts(waits):
        try:
            return work(*_store(url))
        except OutputError:
            raise
        except Exception as error:  # each library has errors of its own
            if last or isinstance(error, (PermissionError, NotImplementedError)):
                remedy = "see address, network, permissions and credentials (docs/cluster.md); run again, and what was stored is found"
                what = f"cannot be {how}: {type(error).__name__}: {error}"
                raise OutputError(Problem(f"{OPTION} {url}", what, remedy)) from error
            _store.cache_clear()
    raise AssertionError("the last try raises")


@lru_cache(maxsize=4)
def _store(url: str) -> tuple[Any, str]:
    """Return the store and the path in it."""
    try:
        import fsspec
    except ImportError:
        raise OutputError(Problem(OPTION, "needs the package fsspec", "pip install 'sevhisto[cluster]'")) from None
    try:
        store, root = fsspec.core.url_to_fs(url, skip_instance_cache=True)
    except (ImportError, ValueError) as error:  # fsspec says which package is missing, or that there is no such kind
        remedy = "install the package for it on all machines: s3fs for s3://, gcsfs for gs://, adlfs for abfs://, paramiko for sftp://"
        raise OutputError(Problem(f"{OPTION} {url}", f"no package reaches this kind of store: {error}", remedy)) from error
    return store, str(root).rstrip("/")
