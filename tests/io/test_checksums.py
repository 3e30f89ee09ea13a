"""Lists of checksums beside the images: every form that people's tools write is read, what is none is told by its line."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sevhisto.io.checksums import summary, told_of
from sevhisto.io.sources import Look, compared, look_at
from sevhisto.types import StudyError

DATA = b"the pixels"


def digits(algorithm: str, data: bytes = DATA) -> str:
    return hashlib.new(algorithm, data).hexdigest()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "slides" / "day 1" / "R01 s1.tif"
    path.parent.mkdir(parents=True)
    path.write_bytes(DATA)
    return path


FORMS = {
    "SHA256SUMS": f"{digits('sha256')}  day 1/R01 s1.tif\n",
    "sha256sums.txt": f"# made by a scanner\r\n\r\n{digits('sha256').upper()} *./day 1/R01 s1.tif\r\n",
    "MD5SUMS": f"{digits('md5')}  day 1\\R01 s1.tif",
    "md5sums.txt": f"; a program for Windows\n{digits('md5')} *day 1\\R01 s1.tif\n{digits('md5')}  not/there.tif\n",
    "all.sha256": f"SHA256 (day 1/R01 s1.tif) = {digits('sha256')}\nMD5 (day 1/R01 s1.tif) = {digits('md5')}\n",
    "day 1/R01 s1.tif.md5": digits("md5"),
    "day 1/R01 s1.tif.sha512": f"{digits('sha512')}  R01 s1.tif",
    "day 1/SHA1SUMS": f"{digits('sha1')}  R01 s1.tif",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_every_form_is_read_and_a_changed_image_told_with_list_and_line(form: str, encoding: str, image: Path, tmp_path: Path) -> None:
    home = tmp_path / "slides"
    (home / form).write_bytes(FORMS[form].encode(encoding))
    told = told_of(home, [image])
    own = tuple(told[os.path.realpath(image)])
    assert compared(Look(image, own)) == (look_at(image), ())
    assert "1 of 2 images" in summary(told, {"a": [image], "b": [home / "other.tif"]})
    image.write_bytes(b"the pixelz")
    source, wrong = compared(Look(image, own))
    line = next(i for i, text in enumerate(FORMS[form].splitlines(), 1) if text and text[0] not in "#;")
    assert source == look_at(image) and len(wrong) == len(own)
    assert wrong[0].what.startswith(f"is not what {Path(form).name}, line {line} says: ") and wrong[0].where == image.name


def test_a_name_with_a_backslash_and_a_line_break_is_unescaped(tmp_path: Path) -> None:
    path = tmp_path / "a\\b\nc.tif"
    path.write_bytes(DATA)
    # GNU coreutils 9: sha256sum writes such a name so
    (tmp_path / "SHA256SUMS").write_text(f"\\{digits('sha256')}  a\\\\b\\nc.tif\n", "utf-8")
    assert os.path.realpath(path) in told_of(tmp_path, [path])


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("SHA256SUMS", f"{digits('md5')}  a.tif", "SHA256SUMS, line 1: is no sha256 and file"),
        ("SHA256SUMS", f"{digits('sha256')}", "line 1: is no sha256 and file"),
        ("MD5SUMS", f"{digits('md5')}  a.tif\nhello\n", "MD5SUMS, line 2: is no md5 and file: 'hello'"),
        ("a.sha256", f"CRC32 (a.tif) = {'0' * 32}", "line 1"),
        ("a.sha256", f"SHA256 (a.tif) = {'0' * 63}", "line 1"),
        ("md5sums.txt", "<html>not found</html>", "line 1"),
        ("a.md5", "\xff", "is no list of checksums"),
        ("a.md5", f"{digits('md5')}  a\0b", "line 1"),
    ],
)
def test_what_is_no_list_is_an_error_with_its_line(name: str, text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    (tmp_path / "SHA512SUMS").write_text("and one more", "utf-8")
    with pytest.raises(StudyError) as error:
        told_of(tmp_path, [tmp_path / "a.tif"])
    assert said in str(error.value) and "SHA512SUMS, line 1" in str(error.value)


def test_files_of_a_folder_are_compared_and_one_that_is_listed_and_missing_is_told(tmp_path: Path) -> None:
    root = tmp_path / "a.zarr"
    (root / "0").mkdir(parents=True)
    for name in ("0/0.0", "0/0.1", "zarr.json"):
        (root / name).write_bytes(DATA)
    (tmp_path / "MD5SUMS").write_text("".join(f"{digits('md5')}  a.zarr/{n}\n" for n in ("0/0.0", "0/0.1", "zarr.json")), "utf-8")
    told = tuple(t for entries in told_of(tmp_path, [root]).values() for t in entries)
    assert compared(Look(root, told))[1] == ()
    (root / "0/0.1").unlink()
    (root / "0/0.0").write_bytes(b"x")
    assert [p.what.split(":")[0] for p in compared(Look(root, told))[1]] == [f"is not what MD5SUMS, line {i} says" for i in (1, 2)]
    assert "no such file now" in compared(Look(root, told))[1][1].what


@given(st.binary(max_size=300))
def test_any_bytes_are_a_list_or_an_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("lists")
    (folder / "SHA256SUMS").write_bytes(data)
    try:
        assert all(len(t.digits) in (32, 40, 64, 128) for t in told_of(folder, [folder / "a.tif"]))
    except StudyError as error:
        assert all("SHA256SUMS" in p.where for p in error.problems)
