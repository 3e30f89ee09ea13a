"""Label files: which are found for an image, which are read, and what is said of the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from sevhisto.io.check import inspect_files
from sevhisto.io.labels import LabelFile
from sevhisto.io.study import load_study
from sevhisto.types import SlideError, StudyError

LABELS = np.zeros((70, 90), np.uint16)
LABELS[10:20, 30:50], LABELS[40:70, 5:9] = 7, 300
ON = '[imaging]\nsegmenter = "labels"\n\n[protocols.vehicle]'
Change = Callable[[str, str, str], None]


def refused(path: Path, slide: tuple[int, int] = (70, 90)) -> str:
    with pytest.raises(SlideError) as error:
        LabelFile(path, slide)
    (problem,) = error.value.problems
    assert problem.where == f"label file {path.name}" and problem.remedy
    return problem.what


@pytest.mark.parametrize("kind", ["uint8", "int8", "uint16", "int16", "uint32", "int32"])
@pytest.mark.parametrize("layout", [{"tile": (16, 16), "compression": "zlib"}, {"rowsperstrip": 7, "compression": "lzw"}, {}])
def test_labels_of_every_type_and_layout_are_read_by_region(tmp_path: Path, kind: str, layout: dict) -> None:
    wanted = np.minimum(LABELS, min(np.iinfo(kind).max, 300)).astype(kind)
    tifffile.imwrite(tmp_path / "a.tif", wanted, photometric="minisblack", **layout)
    with LabelFile(tmp_path / "a.tif", (70, 90)) as file:
        assert file.factor == 1
        assert np.array_equal(file.read(0, 70, 0, 90), wanted)
        assert np.array_equal(file.read(15, 46, 7, 31), wanted[15:46, 7:31])


def test_other_programs_write_ome_imagej_colour_tables_pyramids_and_npy(tmp_path: Path) -> None:
    plain = {"photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "a.ome.tif", LABELS, metadata={"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}, **plain)
    tifffile.imwrite(tmp_path / "b.tif", LABELS, imagej=True, metadata={"axes": "YX"}, **plain)
    colours = np.random.default_rng(1).integers(0, 2**16, (3, 256)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "c.tif", (LABELS % 256).astype(np.uint8), photometric="palette", colormap=colours)
    with tifffile.TiffWriter(tmp_path / "d.ome.tif", ome=True) as writer:
        writer.write(LABELS, subifds=1, **plain)
        writer.write(LABELS[::2, ::2], subfiletype=1, **plain)
    np.save(tmp_path / "e.npy", LABELS)
    for name in ("a.ome.tif", "b.tif", "c.tif", "d.ome.tif", "e.npy"):
        with LabelFile(tmp_path / name, (70, 90)) as file:
            assert np.array_equal(file.read(0, 70, 0, 90), LABELS % 256 if name == "c.tif" else LABELS), name


@pytest.mark.parametrize(("slide", "factor"), [((70, 90), 1), ((140, 180), 2), ((141, 181), 2), ((139, 179), 2), ((280, 361), 4)])
def test_a_reduced_label_image_may_lack_the_last_pixels_or_have_more(tmp_path: Path, slide: tuple[int, int], factor: int) -> None:
    np.save(tmp_path / "a.npy", LABELS)
    with LabelFile(tmp_path / "a.npy", slide) as file:
        assert file.factor == factor


def test_what_is_no_label_image_is_refused_with_a_remedy(tmp_path: Path) -> None:
    path, plain = tmp_path / "a.tif", {"photometric": "minisblack"}
    tifffile.imwrite(path, LABELS, **plain)
    for slide in ((90, 70), (69, 90), (105, 135), (140, 90)):
        assert f"is 70 x 90 pixels (rows x columns), and the slide {slide[0]} x {slide[1]}" == refused(path, slide)
    tifffile.imwrite(path, LABELS.astype(np.float32), **plain)
    assert "float32" in refused(path)
    tifffile.imwrite(path, np.zeros((70, 90, 3), np.uint8), photometric="rgb")
    assert "colour" in refused(path)
    tifffile.imwrite(path, np.stack([LABELS] * 3), imagej=True, metadata={"axes": "ZYX"}, **plain)
    assert "3 planes in depth" in refused(path)
    tifffile.imwrite(path, np.stack([LABELS] * 2), imagej=True, metadata={"axes": "TYX"}, **plain)
    assert "2 frames in time" in refused(path)
    tifffile.imwrite(path, np.stack([LABELS] * 2), imagej=True, metadata={"axes": "CYX"}, **plain)
    assert "2 channels" in refused(path)
    with tifffile.TiffWriter(tmp_path / "b.ome.tif", ome=True) as writer:
        writer.write(LABELS, **plain)
        writer.write(LABELS, **plain)
    assert "2 scenes" in refused(tmp_path / "b.ome.tif")
    path.write_bytes(b"")
    assert "empty" in refused(path)
    path.write_bytes(b"no image")
    assert "not a TIFF" in refused(path)
    assert "cannot be opened" in refused(tmp_path / "nothing.tif")


def test_an_array_that_could_run_code_or_is_no_plane_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a_seg.npy"
    np.save(path, np.array({"masks": LABELS}, object), allow_pickle=True)
    assert refused(path) == "is no plain array"
    np.save(path, LABELS.astype(float))
    assert "float64" in refused(path)
    np.save(path, LABELS[None])
    assert "(1, 70, 90)" in refused(path)
    path.write_bytes(b"")
    assert "no plain array" in refused(path)


def put(root: Path, name: str, shape: tuple[int, int] = (32, 32)) -> Path:
    path = root / "labels" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, np.zeros(shape, np.uint16), photometric="minisblack")
    return path


def test_check_tells_of_label_files_that_are_missing_wrong_or_not_used(study_dir: Path, change: Change) -> None:
    put(study_dir, "R01_s1.tif")
    problems, notes = inspect_files(load_study(study_dir))
    assert problems == [] and len(notes) == 1 and "labels/ is not used" in notes[0]
    change("study.toml", "[protocols.vehicle]", ON)
    (told,), notes = inspect_files(load_study(study_dir))  # no control needs any
    assert notes == [] and "sub/R02_s1.tif" in told.where and "has no label image" in told.what
    assert told.remedy == "put it at labels/sub/R02_s1.tif"
    put(study_dir, "sub/R02_s1.tif", (30, 32))
    put(study_dir, "control.tif", (16, 16))
    (told,), _ = inspect_files(load_study(study_dir))
    assert "row 5" in told.where and "label file R02_s1.tif: is 30 x 32 pixels" in told.what
    put(study_dir, "sub/R02_s1.tif")
    study = load_study(study_dir)
    assert inspect_files(study) == ([], [])
    assert study.labels("sub/R02_s1.tif", 1, "A") == study_dir / "labels" / "sub" / "R02_s1.tif"
    assert study.labels("sub/R02_s1.tif", 2, "A") is None


def test_a_label_file_belongs_to_one_image(study_dir: Path, change: Change) -> None:
    change("study.toml", "[protocols.vehicle]", ON)
    change("study.toml", 'name = "tiny"', 'name = "tiny"\nlabels_dir = "masks"')
    put(study_dir, "sub/R02_s1.tif")
    put(study_dir, "R01_s1.tif")
    (study_dir / "labels").rename(study_dir / "masks")
    study = load_study(study_dir)
    assert inspect_files(study) == ([], [])
    (study_dir / "masks" / "R01_s1.tif.tif").write_bytes(b"")
    with pytest.raises(StudyError, match=r"masks/: R01_s1.tif.tif and R01_s1.tif are both for R01_s1.tif"):
        study.labels("R01_s1.tif", 1, "A")
    assert "are both for" in inspect_files(study)[0][0].what
    (study_dir / "masks" / "R01_s1.tif.tif").unlink()
    (study_dir / "slides" / "control.tif").rename(study_dir / "slides" / "R01_s1.ome.tif")
    change("slides.csv", "control.tif", "R01_s1.ome.tif")
    with pytest.raises(StudyError, match=r"could be for R01_s1.tif or R01_s1.ome.tif"):
        load_study(study_dir).labels("R01_s1.tif", 1, "A")
