"""Arrays in one file: written so that equal arrays give equal bytes, read so that no file can make the program do anything."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator, Mapping

import imagecodecs
import numpy as np

from sevhisto.types import AnyArray

_EPOCH = (1980, 1, 1, 0, 0, 0)


def npz_bytes(arrays: dict[str, AnyArray]) -> bytes:
    """Return an .npz whose bytes depend on the arrays only: numpy's own holds the time of writing."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(arrays):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(arrays[name]), version=(1, 0), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=_EPOCH)
            info.compress_type, info.create_system, info.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
            archive.writestr(info, member.getvalue(), compresslevel=2)
    return buffer.getvalue()


class NpzMembers(Mapping[str, AnyArray]):
    """The arrays of an .npz by name, each unpacked when it is asked for, in half of numpy's time: checksums are not looked at.

    data : the file, made by `npz_bytes`, whose bytes are known to be whole
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            self._members = {i.filename.removesuffix(".npy"): i for i in archive.infolist()}

    def __getitem__(self, name: str) -> AnyArray:
        info = self._members[name]
        head = self._data[info.header_offset : info.header_offset + 30]  # its last two numbers are the lengths of name and extra field
        start = info.header_offset + 30 + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
        packed = self._data[start : start + info.compress_size]
        plain = imagecodecs.deflate_decode(packed, raw=True, out=bytearray(info.file_size))  # arrays on it can be written to
        stream = io.BytesIO(plain[: 10 + int.from_bytes(plain[8:10], "little")])
        np.lib.format.read_magic(stream)
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        return np.frombuffer(plain, dtype, math.prod(shape), stream.tell()).reshape(shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


def npz_arrays(data: bytes, wanted: Mapping[str, tuple[str, int]], most_bytes: int) -> dict[str, AnyArray]:
    """Return the arrays of an .npz that nobody vouches for; ValueError where it is anything but what is wanted.

    Parameters
    ----------
    wanted : {name: (dtype, number of dimensions)}; no other member may be there
    most_bytes : of all arrays together; what a member claims is compared with it before anything is unpacked
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {i.filename.removesuffix(".npy"): i for i in archive.infolist()}
        if sorted(members) != sorted(wanted) or len(archive.infolist()) != len(wanted):
            raise ValueError(f"holds {', '.join(sorted(members)) or 'nothing'} instead of {', '.join(sorted(wanted))}")
        if sum(i.file_size for i in members.values()) > most_bytes:
            raise ValueError(f"unpacks to more than {most_bytes // 1_000_000} MB")
        return {name: _array(name, archive.read(members[name]), *kind) for name, kind in wanted.items()}


def _array(name: str, data: bytes, dtype: str, dimensions: int) -> AnyArray:
    stream = io.BytesIO(data)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError(f"{name} is in another version of the format")
    shape, fortran, found = np.lib.format.read_array_header_1_0(stream)
    if found.hasobject or found.str != dtype or len(shape) != dimensions or fortran:
        raise ValueError(f"{name} is {found.str} with {len(shape)} dimensions, not {dtype} with {dimensions}")
    rest = data[stream.tell() :]
    if len(rest) != math.prod(shape) * found.itemsize:
        raise ValueError(f"{name} is not as long as it says")
    return np.frombuffer(rest, found).reshape(shape).copy()
