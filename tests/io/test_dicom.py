"""DICOM whole slides: files written here with pydicom, as the standard lays them out; no real file was at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

from sevhisto.io.draft import draft_study
from sevhisto.io.scene import Acquisition
from sevhisto.io.slides import open_slide
from sevhisto.pipeline.tasks import file_sha256
from sevhisto.types import SlideError

pydicom = pytest.importorskip("pydicom", reason="DICOM needs the package pydicom")
from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402
from pydicom.encaps import encapsulate, encapsulate_extended  # noqa: E402
from pydicom.pixels.encoders import RLELosslessEncoder  # noqa: E402
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid  # noqa: E402

RNG = np.random.default_rng(3)
TILE = (32, 24)
IMAGE = RNG.integers(0, 4096, (2, 70, 60)).astype("<u2")  # 3 rows and 3 columns of tiles, two of them cut
HALF = IMAGE[:, ::2, ::2]
COLOUR = np.repeat(np.repeat(RNG.integers(0, 256, (3, 10, 9)), 8, 1), 8, 2).astype(np.uint8)
JPEG, J2K, JLS, RLE = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.5"
SERIES = generate_uid()
JPEG_OPTIONS: dict[str, Any] = {"level": 95}


def tiles_of(image: Any, tile: tuple[int, int] = TILE) -> list[tuple[int, int, Any]]:
    """Row, column and pixels (h, w, n) of each tile, padded, in the order of the standard."""
    (h, w), (th, tw) = image.shape[-2:], tile
    padded = np.pad(image, ((0, 0), (0, -h % th), (0, -w % tw)))
    corners = ((r, c) for r in range(0, h, th) for c in range(0, w, tw))
    return [(r, c, np.moveaxis(padded[:, r : r + th, c : c + tw], 0, -1)) for r, c in corners]


def item(**values: Any) -> Dataset:
    made = Dataset()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def run_lengths(tile: Any) -> bytes:
    n = 3 if tile.ndim == 3 else 1
    bits = 8 * tile.dtype.itemsize
    facts = {"rows": TILE[0], "columns": TILE[1], "bits_allocated": bits, "bits_stored": bits, "pixel_representation": 0}
    kind = "RGB" if n == 3 else "MONOCHROME2"
    facts |= {"samples_per_pixel": n, "photometric_interpretation": kind, "planar_configuration": 0, "number_of_frames": 1}
    encoded: bytes = RLELosslessEncoder.encode(tile, encoding_plugin="pydicom", **facts)
    return encoded


def write(
    path: Path,
    image: Any,
    paths: tuple[str, ...] = ("1", "2"),
    sparse: bool = False,
    syntax: str = ExplicitVRLittleEndian,
    drop: int | None = None,
    extended: bool = False,
    series: str = SERIES,
    **changes: Any,
) -> Path:
    """One instance. `image`: (path, y, x), (path, z, y, x) or, with one path named "rgb", (3, y, x)."""
    rgb = paths == ("rgb",)
    stacks = [image[None]] if rgb else [p if p.ndim == 3 else p[None] for p in image]  # per path: (z, y, x), or (1, 3, y, x)
    frames = [
        (name, z, r, c, t)
        for name, stack in zip(paths, stacks, strict=True)
        for z, plane in enumerate(stack)
        for r, c, t in tiles_of(plane if rgb else plane[None])
    ]
    if drop is not None:
        frames.pop(drop)
    d = Dataset()
    d.file_meta = FileMetaDataset()
    d.file_meta.TransferSyntaxUID = UID(syntax)
    d.file_meta.MediaStorageSOPClassUID = d.SOPClassUID = UID("1.2.840.10008.5.1.4.1.1.77.1.6")
    d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID = generate_uid()
    d.SeriesInstanceUID, d.ImageType, d.Modality = series, ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], "SM"
    h, w = image.shape[-2:]
    bits = 8 if image.dtype == np.uint8 else 16
    d.Rows, d.Columns, d.TotalPixelMatrixRows, d.TotalPixelMatrixColumns, d.NumberOfFrames = *TILE, h, w, len(frames)
    d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = bits, min(bits, 12), min(bits, 12) - 1, 0
    d.SamplesPerPixel, d.PhotometricInterpretation = (3, "YBR_FULL_422" if syntax == JPEG else "RGB") if rgb else (1, "MONOCHROME2")
    d.TotalPixelMatrixFocalPlanes = len(stacks[0])
    if rgb:
        d.PlanarConfiguration = 0
    names = {"1": "DAPI", "2": "CD68"}
    d.OpticalPathSequence = [
        item(OpticalPathIdentifier=p, OpticalPathDescription=names.get(p, p), ObjectiveLensPower=20, ObjectiveLensNumericalAperture=0.75)
        for p in paths
    ]
    spacing = [5e-4 * 70 / h, 5e-4 * 70 / h]
    d.SharedFunctionalGroupsSequence = [item(PixelMeasuresSequence=[item(PixelSpacing=spacing)])]
    d.DimensionOrganizationType = "TILED_SPARSE" if sparse else "TILED_FULL"
    if sparse:
        RNG.shuffle(frames)
        d.PerFrameFunctionalGroupsSequence = [
            item(
                OpticalPathIdentificationSequence=[item(OpticalPathIdentifier=p)],
                PlanePositionSlideSequence=[
                    item(
                        RowPositionInTotalImagePixelMatrix=r + 1,
                        ColumnPositionInTotalImagePixelMatrix=c + 1,
                        ZOffsetInSlideCoordinateSystem=f"{z * 1.5:g}",
                    )
                ],
            )
            for p, z, r, c, _ in frames
        ]
    encode = {
        JPEG: lambda t: imagecodecs.jpeg8_encode(t, **JPEG_OPTIONS),
        J2K: lambda t: imagecodecs.jpeg2k_encode(t, reversible=True, codecformat="j2k"),
        JLS: imagecodecs.jpegls_encode,
        RLE: run_lengths,
    }.get(syntax)
    blobs = [np.ascontiguousarray(t if rgb else t[..., 0]) for *_, t in frames]
    if encode is None:
        d.PixelData = b"".join(b.tobytes() for b in blobs)
    elif extended:
        d.PixelData, d.ExtendedOffsetTable, d.ExtendedOffsetTableLengths = encapsulate_extended([encode(b) for b in blobs])
    else:
        d.PixelData = encapsulate([encode(b) for b in blobs], has_bot=False)
    d["PixelData"].VR = "OB" if encode or bits == 8 else "OW"
    for name, value in changes.items():
        setattr(d, name, value)
    d.save_as(path, enforce_file_format=True)
    return path


def whole(path: Path) -> Any:
    with open_slide(path) as slide:
        return slide.read(range(len(slide.channels)), 0, slide.shape[0], 0, slide.shape[1])


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, "1.2.840.10008.1.2", J2K, JLS])
def test_channels_levels_calibration_and_pixels(tmp_path: Path, sparse: bool, syntax: str) -> None:
    path = write(tmp_path / "a.dcm", IMAGE, sparse=sparse, syntax=syntax)
    write(tmp_path / "b.dcm", HALF, sparse=sparse, syntax=syntax)
    write(tmp_path / "label.dcm", HALF, ImageType=["ORIGINAL", "PRIMARY", "LABEL", "NONE"])
    write(tmp_path / "other.dcm", IMAGE, series=generate_uid())
    with open_slide(path) as slide:
        assert slide.channels == ("DAPI", "CD68") and slide.levels == ((70, 60), (35, 30)) and slide.bit_max == 4095
        assert slide.um_per_px == pytest.approx(0.5) and slide.um_source == "DICOM"
        assert slide.info.acquisition == (Acquisition(objective="20x/0.75"),) * 2
        assert np.array_equal(slide.read([1, 0], 20, 70, 5, 49), IMAGE[[1, 0], 20:70, 5:49])
        assert np.array_equal(slide.read([1], 3, 35, 2, 30, level=1), HALF[1:, 3:35, 2:30])
    with pytest.raises(SlideError, match=r"is a part of the slide a\.dcm"):
        open_slide(tmp_path / "b.dcm")
    with pytest.raises(SlideError, match="shows LABEL"):
        open_slide(tmp_path / "label.dcm")


def test_one_file_per_optical_path(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", IMAGE[:1], ("1",))
    before = file_sha256(path)
    write(tmp_path / "b.dcm", IMAGE[1:], ("2",))
    assert np.array_equal(whole(path), IMAGE) and file_sha256(path) != before
    write(tmp_path / "c.dcm", IMAGE[1:], ("2",))
    with pytest.raises(SlideError, match="optical path '2' stands in several files"):
        open_slide(path)


@pytest.mark.parametrize("sparse", [False, True])
def test_planes_in_depth_give_their_maximum(tmp_path: Path, sparse: bool) -> None:
    stack = RNG.integers(0, 4096, (2, 3, 40, 50)).astype("<u2")  # path, z
    assert np.array_equal(whole(write(tmp_path / "a.dcm", stack, sparse=sparse)), stack.max(axis=1))


@pytest.mark.parametrize("extended", [False, True])
def test_jpeg_colour(tmp_path: Path, extended: bool) -> None:
    path = write(tmp_path / "a.dcm", COLOUR, ("rgb",), syntax=JPEG, extended=extended)
    with open_slide(path) as slide:
        assert slide.is_rgb and slide.channels == ("R", "G", "B")
    got = whole(path)
    for r, c, tile in tiles_of(COLOUR):
        own = np.moveaxis(imagecodecs.jpeg8_decode(imagecodecs.jpeg8_encode(np.ascontiguousarray(tile), **JPEG_OPTIONS)), -1, 0)[
            :, : 80 - r, : 72 - c
        ]
        assert np.array_equal(got[:, r : r + 32, c : c + 24], own)
    assert np.abs(got.astype(int) - COLOUR).mean() < 10  # lossy; swapped colours are 80 off
    rows = np.moveaxis(whole(path)[[2, 1]], 0, -1)
    with open_slide(path) as slide:
        assert np.array_equal(np.moveaxis(slide.read([2, 1], 0, 80, 0, 72), 0, -1), rows)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, J2K])
def test_colour_without_loss(tmp_path: Path, syntax: str) -> None:
    assert np.array_equal(whole(write(tmp_path / "a.dcm", COLOUR, ("rgb",), syntax=syntax)), COLOUR)


def test_a_missing_tile_is_an_error_never_zeros(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", IMAGE, sparse=True, drop=4)  # middle tile of the first path
    with open_slide(path) as slide:
        assert np.array_equal(slide.read([0], 0, 32, 0, 60), IMAGE[:1, :32])
        with pytest.raises(SlideError, match="lacks the tile in row 2, column 2 of optical path 1"):
            slide.read([0], 0, 64, 0, 60)
    with pytest.raises(SlideError, match="needs 18 tiles and declares 17"):
        open_slide(write(tmp_path / "f.dcm", IMAGE, drop=4))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JLS])
@pytest.mark.parametrize("keep", [0.98, 0.5, 0.2, 0.01])
def test_truncated_files_are_refused(tmp_path: Path, syntax: str, keep: float) -> None:
    path = write(tmp_path / "a.dcm", IMAGE, syntax=syntax)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(SlideError):
        whole(path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ConcatenationUID": "1.2.3"}, "concatenation"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "MONOCHROME1"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "PALETTE"),
        ({"PixelRepresentation": 1}, "int16"),
        ({"HighBit": 15}, "packs 12 bits"),
        ({"TotalPixelMatrixRows": 7000}, "needs"),
        ({"ImageType": ["ORIGINAL", "PRIMARY"]}, "shows no slide"),
    ],
)
def test_what_is_not_read_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(SlideError, match=reason):
        open_slide(write(tmp_path / "a.dcm", IMAGE, **changes))


def test_no_pixel_size_and_no_dicom(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", IMAGE, SharedFunctionalGroupsSequence=[Dataset()])
    with open_slide(path) as slide, pytest.raises(SlideError, match="no pixel size"):
        _ = slide.um_per_px
    volume = {"ImagedVolumeWidth": 0.03, "ImagedVolumeHeight": 0.035}
    with open_slide(write(path, IMAGE, SharedFunctionalGroupsSequence=[Dataset()], **volume)) as slide:
        assert slide.um_per_px == pytest.approx(0.5)
    path.write_bytes(b"no DICOM" * 99)
    with pytest.raises(SlideError, match="not a readable DICOM"):
        open_slide(path)


def test_run_lengths(tmp_path: Path) -> None:
    assert np.array_equal(whole(write(tmp_path / "a.dcm", IMAGE, syntax=RLE)), IMAGE)
    colour = write(tmp_path / "c.dcm", COLOUR, ("rgb",), syntax=RLE, series=generate_uid())
    assert np.array_equal(whole(colour), COLOUR)


def test_a_series_is_drafted_as_one_slide(tmp_path: Path) -> None:
    for name in ("R1_s1_a.dcm", "R1_s1_b.dcm"):
        write(tmp_path / name, IMAGE[:1] if name.endswith("a.dcm") else IMAGE[1:2], ("DAPI",) if name.endswith("a.dcm") else ("GFAP",))
    notes = draft_study(tmp_path)
    assert not any("left out" in note for note in notes)
    assert len((tmp_path / "slides.csv").read_text("utf-8").splitlines()) == 2
