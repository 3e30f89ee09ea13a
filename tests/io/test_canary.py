"""The codec canary: every file reads right here, and a library that hands out wrong pixels is caught before a slide is read."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from sevhisto.io import canary, tiff_decode
from sevhisto.types import SlideError


@pytest.fixture(autouse=True)
def _afresh():
    canary.problems_of.cache_clear()
    yield
    canary.problems_of.cache_clear()


@pytest.mark.parametrize("name", canary.FILES)
def test_every_codec_reads_known_pixels(name: str) -> None:
    state, said = canary.try_one(name)
    assert state == "ok", said


def test_files_and_list_agree() -> None:
    assert {p.name for p in canary.FOLDER.iterdir()} == set(canary.FILES)


def test_a_codec_that_gives_other_pixels_is_named_and_stops_what_reads_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    good = tiff_decode._UNPACK[5]

    def wrong(data: bytes, out: np.ndarray) -> object:
        found = good(data, out=out)
        found[-1] ^= 1
        return found

    monkeypatch.setitem(tiff_decode._UNPACK, 5, wrong)
    with pytest.raises(SlideError, match=r"codec canary lzw_u16.tif: imagecodecs .* pixels are wrong"):
        canary.need_codecs(Path("a.ome.tif"))
    canary.need_codecs(Path("a.png"))


@pytest.mark.parametrize(
    ("suffix", "package"),
    [(".nd2", "nd2"), (".lif", "liffile"), (".dcm", "pydicom"), (".zarr", "zarr"), (".czi", "slideio"), (".vsi", "slideio")],
)
def test_a_reader_is_tried_with_its_own_pictures_only_and_told_with_its_version(
    suffix: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(package)
    whole, tried = canary.read, set[str]()

    def wrong(name: str) -> np.ndarray:
        tried.add(name)
        return whole(name)[..., ::-1]

    monkeypatch.setattr(canary, "read", wrong)
    with pytest.raises(SlideError, match=rf"{package} {version(package)}: \d+ of \d+ pixels are wrong") as told:
        canary.need_codecs(Path(f"a{suffix}"))
    assert "constraints.txt" in str(told.value)
    own = ".czi" if suffix == ".vsi" else suffix
    assert {Path(name).suffix for name in tried} == {own} and tried == {n for n in canary.FILES if n.endswith(own)}


def test_pixels_that_differ_from_read_to_read_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, reads = canary.read, []

    def unsteady(name: str) -> np.ndarray:
        reads.append(name)
        return whole(name) + (len(reads) % 2 == 0)

    monkeypatch.setattr(canary, "read", unsteady)
    assert canary.try_one("deflate_u16.tif")[0] == "wrong"


def test_selftest_says_what_is_wrong_and_its_status_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from sevhisto import cli

    monkeypatch.setattr("sys.argv", ["sevhisto", "selftest", "--codecs"])
    with pytest.raises(SystemExit) as done:
        cli.main()
    assert not done.value.code and "reads and measures as it should" in capsys.readouterr().out
    monkeypatch.setattr(canary, "truth", lambda name: np.zeros((1, 41, 53), np.uint16))
    with pytest.raises(SystemExit) as done:
        cli.main()
    assert done.value.code == 1 and "are wrong, by up to" in capsys.readouterr().out
