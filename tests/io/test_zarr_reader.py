"""OME-Zarr: real files of both versions, and what a folder can lack."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sevhisto.io.slides import open_slide, slide_info
from sevhisto.types import SlideError

zarr = pytest.importorskip("zarr", reason="OME-Zarr needs the package zarr")
VENDOR = Path(__file__).parents[2].parent / "shared" / "data" / "vendor"


def write(
    path: Path,
    levels: list[Any],
    axes: str,
    scale: list[float],
    unit: str | None = "micrometer",
    labels: tuple[str, ...] = (),
    version: int = 3,
    shards: tuple[int, ...] | None = None,
    **more: Any,
) -> None:
    """An OME-Zarr image of the given level arrays, with the least metadata that the specification asks for."""
    group = zarr.create_group(str(path), zarr_format=version)
    datasets = []
    for i, level in enumerate(levels):
        chunks = tuple(1 if a in "tcz" else 32 for a in axes)
        array = group.create_array(str(i), shape=level.shape, dtype=level.dtype, chunks=chunks, shards=shards, **more)
        array[...] = level
        factor = levels[0].shape[-1] / level.shape[-1]
        steps = [s * factor if a in "yx" else s for a, s in zip(axes, scale, strict=True)]
        datasets.append({"path": str(i), "coordinateTransformations": [{"type": "scale", "scale": steps}]})
    named = [{"name": a, "type": "space", "unit": unit} if a in "zyx" and unit else {"name": a, "type": "space"} for a in axes]
    image: dict[str, Any] = {"multiscales": [{"axes": named, "datasets": datasets}]}
    if labels:
        image["omero"] = {"channels": [{"label": name} for name in labels]}
    group.attrs.update({"ome": {"version": "0.5", **image}} if version == 3 else image)


def pixels(*shape: int) -> Any:
    return np.random.default_rng(1).integers(1, 60000, shape).astype(np.uint16)


@pytest.mark.parametrize("version", ["04", "05"])
def test_real_files_of_both_versions_are_read(version: str) -> None:
    path = VENDOR / f"blobs_image_v{version}.ome.zarr"
    if not path.is_dir():
        pytest.skip(f"{path.name} is not at hand")
    with open_slide(path) as slide:
        whole = np.asarray(zarr.open_array(str(path / "0"), mode="r")[...]).reshape(-1, *slide.shape)
        assert np.array_equal(slide.read(range(len(slide.channels)), 0, slide.shape[0], 0, slide.shape[1]), whole)
        assert np.array_equal(slide.read([0], 3, 9, 7, 12)[0], whole[0, 3:9, 7:12])


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("axes", ["cyx", "czyx", "tczyx", "yx"])
def test_axes_names_levels_and_pixel_size(tmp_path: Path, axes: str, version: int) -> None:
    full = pixels(*{"cyx": (3, 90, 70), "czyx": (3, 2, 90, 70), "tczyx": (1, 3, 2, 90, 70), "yx": (90, 70)}[axes])
    small = np.ascontiguousarray(full[..., ::2, ::2])
    path = tmp_path / "a.ome.zarr"
    labels = ("DAPI", "GFAP", "CD68") if "c" in axes else ()
    write(path, [full, small], axes, [0.65 if a in "yx" else 2.0 for a in axes], labels=labels, version=version)
    want = full.reshape(3 if "c" in axes else 1, -1, 90, 70).max(axis=1)
    with open_slide(path) as slide:
        assert slide.um_per_px == pytest.approx(0.65)
        assert slide.um_source == "OME-Zarr"
        assert slide.channels == (labels or ("channel 1",))
        assert slide.levels == ((90, 70), (45, 35))
        c = len(slide.channels)
        assert np.array_equal(slide.read(range(c), 10, 80, 20, 69), want[:, 10:80, 20:69])
        assert slide.read([0], 0, 45, 0, 35, level=1).shape == (1, 45, 35)


def test_units_are_converted_and_never_guessed(tmp_path: Path) -> None:
    write(tmp_path / "mm.zarr", [pixels(1, 40, 40)], "cyx", [1, 0.0005, 0.0005], unit="millimeter")
    write(tmp_path / "none.zarr", [pixels(1, 40, 40)], "cyx", [1, 0.5, 0.5], unit=None)
    assert slide_info(tmp_path / "mm.zarr")[0].um_per_px == pytest.approx(0.5)
    assert slide_info(tmp_path / "none.zarr")[0].um_per_px is None


def test_a_missing_chunk_is_an_error_and_never_zeros(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    write(path, [pixels(2, 64, 64)], "cyx", [1, 0.5, 0.5])
    (path / "0" / "c" / "1" / "0" / "1").unlink()
    with pytest.raises(SlideError, match="chunk c/1/0/1 of 0 is missing"):
        slide_info(path)


def test_a_chunk_that_goes_while_the_image_is_open_is_an_error_too(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    write(path, [pixels(2, 64, 64)], "cyx", [1, 0.5, 0.5])
    with open_slide(path) as slide:
        (path / "0" / "c" / "1" / "0" / "1").unlink()
        assert slide.read([0], 0, 64, 0, 64).all()
        assert slide.read([1], 0, 64, 0, 32).all()
        with pytest.raises(SlideError, match="chunk c/1/0/1 of 0 is missing"):
            slide.read([1], 0, 64, 20, 40)


@pytest.mark.parametrize("version", [2, 3])
def test_what_an_array_declares_is_checked_before_the_library_sees_it(tmp_path: Path, version: int) -> None:
    path = tmp_path / "a.zarr"
    write(path, [pixels(2, 64, 64)], "cyx", [1, 0.5, 0.5], version=version)
    notes = path / "0" / ("zarr.json" if version == 3 else ".zarray")
    good = json.loads(notes.read_text("utf-8"))
    unsafe = {"filters": [{"id": "pickle"}]} if version == 2 else {"codecs": [{"name": "pickle"}]}
    for change, said in (
        (unsafe, "codec 'pickle' is not read here"),
        ({"shape": [1, 10**7, 10**7]}, "declares a shape"),
        ({"shape": [2, -64, 64]}, "declares a shape"),
        ({"shape": [2, 64, 96]}, "is missing, and 3 more of 12"),
    ):
        notes.write_text(json.dumps(good | change), "utf-8")
        with pytest.raises(SlideError, match=said):
            slide_info(path)
    notes.write_text("[" * 100_000, "utf-8")
    with pytest.raises(SlideError, match="is damaged"):
        slide_info(path)


def test_a_link_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    write(path, [pixels(2, 64, 64)], "cyx", [1, 0.5, 0.5])
    chunk = path / "0" / "c" / "1" / "0" / "1"
    chunk.rename(tmp_path / "elsewhere")
    chunk.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SlideError, match="link that leaves the folder"):
        slide_info(path)


def test_sharded_arrays_are_read_and_a_missing_shard_is_an_error(tmp_path: Path) -> None:
    path, full = tmp_path / "a.zarr", pixels(2, 64, 64)
    write(path, [full], "cyx", [1, 0.5, 0.5], shards=(1, 64, 64))
    with open_slide(path) as slide:
        assert np.array_equal(slide.read([0, 1], 5, 60, 3, 61), full[:, 5:60, 3:61])
        (path / "0" / "c" / "1" / "0" / "0").unlink()
        with pytest.raises(SlideError, match="is missing"):
            slide.read([1], 0, 8, 0, 8)


def test_numbered_images_are_scenes(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    zarr.create_group(str(path))
    for name, size in (("0", 40), ("1", 50), ("labels", 20)):
        write(path / name, [pixels(1, size, size)], "cyx", [1, 0.5, 0.5])
    assert [s.shape for s in slide_info(path)] == [(40, 40), (50, 50)]


@pytest.mark.parametrize("kind", ["empty", "outside", "axes", "file", "damaged"])
def test_a_folder_that_is_no_image_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.zarr"
    if kind == "file":
        path.write_bytes(b"x")
    elif kind == "empty":
        path.mkdir()
    else:
        write(path, [pixels(1, 40, 40)], "cyx", [1, 0.5, 0.5])
        text = (path / "zarr.json").read_text("utf-8")
        facts = json.loads(text)
        image = facts["attributes"]["ome"]["multiscales"][0]
        if kind == "outside":
            shutil.copytree(path / "0", tmp_path / "secret")
            image["datasets"][0]["path"] = "../secret"
        elif kind == "axes":
            image["axes"] = [{"name": n} for n in ("c", "x", "y")]
        (path / "zarr.json").write_text(text[:-40] if kind == "damaged" else json.dumps(facts), "utf-8")
    with pytest.raises(SlideError) as caught:
        open_slide(path)
    assert caught.value.problems[0].remedy


def test_a_changed_chunk_changes_the_checksum(tmp_path: Path) -> None:
    from sevhisto.pipeline.tasks import file_sha256

    path = tmp_path / "a.zarr"
    write(path, [pixels(1, 40, 40)], "cyx", [1, 0.5, 0.5])
    before = file_sha256(path)
    assert file_sha256(path) == before
    chunk = path / "0" / "c" / "0" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"x")
    assert file_sha256(path) != before


def test_channels_come_in_the_order_in_which_they_are_asked_for(tmp_path: Path) -> None:
    full = pixels(2, 4, 40, 50)  # z before c
    write(tmp_path / "a.zarr", [full], "zcyx", [1, 1, 0.5, 0.5])
    with open_slide(tmp_path / "a.zarr") as slide:
        for asked in ([3, 0], [1, 2, 3], [0, 2, 3, 1]):
            assert np.array_equal(slide.read(asked, 2, 40, 3, 50), full.max(axis=0)[asked, 2:40, 3:50])
