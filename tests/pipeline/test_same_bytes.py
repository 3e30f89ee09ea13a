"""The same pixels give the same record however a file stores them, and the same tables whoever measures them and in which order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from sevhisto.config import BatchSettings, ChannelSettings, ImagingSettings, PanelSettings
from sevhisto.imaging.background import corrected_marker
from sevhisto.imaging.blocks import BLOCK_PX
from sevhisto.imaging.geometry import upsample
from sevhisto.imaging.measure import blurred
from sevhisto.io.records import load_record
from sevhisto.phantom import SectionSpec, make_section
from sevhisto.pipeline import run, running
from sevhisto.pipeline.measuring import measure_slide
from sevhisto.pipeline.tasks import PieceTask, SlideTask
from sevhisto.types import INTENSITY_EDGES_Q, QUANTUM, Correction

UM = 1.0
IMAGING = ImagingSettings(blur_um=1.5)
ROLES = {"DAPI": "nuclei", "GFAP": "landmark", "CD68": "macrophage", "fibronectin": "ecm", "AF": "autofluorescence"}
LAYOUTS = {"tiles of 256": {"tile": (256, 256)}, "tiles of 512": {"tile": (512, 512)}, "tiles of 1024": {"tile": (1024, 1024)}}
LAYOUTS |= {f"tiles of {n}": {"tile": (n, n)} for n in (2048, 4096)}
LAYOUTS["strips"] = {"rowsperstrip": 7}


@pytest.fixture(scope="module")
def image():
    """A section of more than one block, (channels, height, width)."""
    spec = SectionSpec(markers=tuple(ROLES), um_per_px=UM, cord_um=(1600.0, 700.0))
    return make_section(spec, 77, keep_truth_images=False).image


def settings():
    channels = [ChannelSettings(channel=i + 1, marker=m, role=r) for i, (m, r) in enumerate(ROLES.items())]
    unmix = np.eye(len(ROLES))
    unmix[2, 4], unmix[3, 4] = -0.3, -0.2  # autofluorescence is subtracted
    correction = Correction(np.full(len(ROLES), 154.0), unmix, ("no_primary",) * len(ROLES))
    return PanelSettings(channels=channels, pairs=[("CD68", "fibronectin")]), correction


def write(path: Path, image: np.ndarray, smaller_copies: int, **layout: object) -> None:
    meta = {"axes": "CYX", "PhysicalSizeX": UM, "PhysicalSizeY": UM, "PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}
    options = {"photometric": "minisblack", "compression": "zlib", "maxworkers": 1, **layout}
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(image, subifds=smaller_copies, metadata=meta, **options)
        for k in range(1, smaller_copies + 1):
            f = 2**k
            h, w = image.shape[1] // f * f, image.shape[2] // f * f
            small = image[:, :h, :w].reshape(len(image), h // f, f, w // f, f).mean((2, 4))
            writer.write(np.rint(small).astype(np.uint16), subfiletype=1, **options)


def measured_record(path: Path):
    panel, correction = settings()
    task = SlideTask(
        path=path,
        scene=1,
        um_per_px=None,
        panel=panel,
        panel_name="A",
        batch=BatchSettings(),
        batch_name="batch1",
        imaging=IMAGING,
        longitudinal=False,
        pieces=(PieceTask(0, 0, "sample", False),),
        drawn=None,
        records=path.parent / "records",
        correction=correction,
    )
    (outcome,) = measure_slide(task)
    assert outcome.record is not None, outcome.reason
    return load_record(outcome.record)


def differences(a, b):
    """Names of what differs between two records, but for the hash of the file."""
    found = [n for n in ("counts", "sums", "cavity_px", "masked_px") if not np.array_equal(getattr(a, n), getattr(b, n))]
    for group in ("joint", "fibres", "cells", "masks", "puncta"):
        one, two = getattr(a, group), getattr(b, group)
        assert one.keys() == two.keys()
        found += [f"{group} {n}" for n in one if one[n].tobytes() != two[n].tobytes()]
    found += [f"meta {n}" for n in a.meta.keys() | b.meta.keys() if n != "sha256" and a.meta.get(n) != b.meta.get(n)]
    return found


@pytest.mark.parametrize("smaller_copies", [0, 2])
def test_a_record_does_not_depend_on_the_tiles_of_the_file(image, tmp_path, smaller_copies):
    records = {}
    for name, layout in LAYOUTS.items():
        path = tmp_path / name / "slide.ome.tif"
        path.parent.mkdir()
        write(path, image, smaller_copies, **layout)
        records[name] = measured_record(path)
    first = records["tiles of 256"]
    assert first.counts.sum() > 0
    assert len(first.cells["y_um"]) > 100
    assert first.meta["has_core"]
    assert {name: differences(first, record) for name, record in records.items()} == {name: [] for name in LAYOUTS}


def test_a_record_tells_how_its_markers_were_imaged(image, tmp_path):
    path = tmp_path / "slide.ome.tif"
    planes = {"ExposureTime": [10 * (i + 1) for i in range(len(image))], "ExposureTimeUnit": ["ms"] * len(image)}
    write(path, image, 0, tile=(512, 512))
    assert measured_record(path).meta["acquisition"] == {}  # the file says nothing
    meta = {"axes": "CYX", "PhysicalSizeX": UM, "PhysicalSizeY": UM, "Plane": {**planes, "TheC": list(range(len(image)))}}
    tifffile.imwrite(path, image, ome=True, metadata=meta, photometric="minisblack", tile=(512, 512))
    told = measured_record(path).meta["acquisition"]
    assert {marker: facts["exposure_ms"] for marker, facts in told.items()} == {m: 10 * (i + 1) for i, m in enumerate(ROLES)}


def test_positive_area_at_every_threshold_is_a_count_of_pixels(image, tmp_path):
    """The tally against the corrected, blurred image of the whole section, in the 1/16 grey levels in which it is kept."""
    path = tmp_path / "slide.ome.tif"
    write(path, image, 0, tile=(512, 512))
    record = measured_record(path)
    panel, correction = settings()
    (y0, x0), (h, w), factor = record.meta["corner_px"], record.meta["shape_px"], record.meta["overview_factor"]
    assert max(h, w) > BLOCK_PX
    section = image[:, y0 : y0 + h, x0 : x0 + w]
    tissue, cavity, masked = (upsample(record.masks[m], factor, 0, h, 0, w) >= 0.5 for m in ("tissue", "cavity", "masked"))
    examined = tissue & ~cavity & ~masked
    for i, marker in enumerate(panel.markers):
        soft = blurred(corrected_marker(section, correction, i), IMAGING.blur_um / UM)
        quanta = np.rint(soft[examined] / QUANTUM).astype(np.int64)
        recount = [np.count_nonzero(quanta >= edge) for edge in INTENSITY_EDGES_Q]
        by_bin = record.counts[i].sum((0, 1))
        assert by_bin.sum() == examined.sum()
        assert [int(by_bin[k:].sum()) for k in range(1, len(by_bin))] == recount, marker
        assert record.sums[i].sum() == quanta.sum()


def reversed_tasks(monkeypatch):
    """Slides are measured from the last to the first."""
    forward = running.run_tasks

    def backward(function, tasks, *more, **named):
        for i, result in forward(function, tasks[::-1], *more, **named):
            yield len(tasks) - 1 - i, result

    monkeypatch.setattr(running, "run_tasks", backward)


def test_tables_do_not_depend_on_workers_or_the_order_of_slides(fresh, study, monkeypatch):
    reversed_tasks(monkeypatch)
    done = run(fresh.root, jobs=2)  # `study` was measured by one, from the first to the last
    assert (done.failed, done.measured_now) == (0, 15)
    found, wanted = fresh.files(), study.files()
    assert found.keys() == wanted.keys()
    assert [name for name in found if found[name] != wanted[name]] == []
