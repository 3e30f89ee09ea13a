"""A small study on disk, written by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

TOML = """
[study]
name = "tiny"
section_spacing_um = 200

[panels.A]
pairs = [["CD68", "CD206"]]
channels = [
  { channel = "DAPI", marker = "DAPI", role = "nuclei" },
  { channel = "GFAP", marker = "GFAP", role = "landmark", aliases = ["Cy5"] },
  { channel = 3, marker = "CD68", role = "macrophage" },
  { channel = "CD206", marker = "CD206", role = "macrophage" },
]

[protocols.vehicle]
route = "intravenous"
total_dose = 0
dose_unit = "particles"
injections_h = [24]

[protocols.daily]
route = "intravenous"
total_dose = 1e9
dose_unit = "particles"
injections_h = [24, 48, 72]

[[contrasts]]
name = "daily - vehicle"
a = ["daily"]
b = ["vehicle"]
"""
SLIDES = """file,animal,section,piece,panel,batch,role,position_um,scene,um_per_px,flipped,notes
R01_s1.tif,R01,1,1,A,1,sample,-200,,,,
R01_s1.tif,R01,2,2,A,1,sample,0,,,yes,
,R01,3,,A,1,sample,200,,,,lost
sub/R02_s1.tif,R02,1,1,A,1,sample,0,,,no,
control.tif,K1,1,1,A,1,no_primary,,,,,
"""
ANIMALS = "animal,protocol,sex,dpi,excluded,exclusion_reason\nR01,vehicle,f,28,,\nR02,daily,f,28,yes,died early\n"
MOTOR = "animal,day,score,test\nR01,1,0,\nR01,7,8,BBB\nR02,1,1,BBB\n"
CHANNELS = ("DAPI", "Cy5", "CD68", "CD206")


def write_tiff(path: Path, channels: tuple[str, ...] = CHANNELS, um: float | None = 0.5, size: int = 32) -> None:
    """Write a small fluorescence OME-TIFF whose metadata are true."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size_of_pixel = {} if um is None else {"PhysicalSizeX": um, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": um, "PhysicalSizeYUnit": "µm"}
    data = np.arange(len(channels) * size * size, dtype=np.uint16).reshape(len(channels), size, size)
    metadata = {"axes": "CYX", "Channel": {"Name": list(channels)}, **size_of_pixel}
    name = path if path.name.endswith(".ome.tif") else path.with_name("x.ome.tif")
    tifffile.imwrite(name, data, metadata=metadata, photometric="minisblack", tile=(16, 16), compression="zlib")
    name.replace(path)


def write_rgb(path: Path) -> None:
    """Write a small colour TIFF with its pixel size."""
    tifffile.imwrite(path, np.full((32, 32, 3), 200, np.uint8), photometric="rgb", resolution=(20000, 20000), resolutionunit="CENTIMETER")


Change = Callable[[str, str, str], None]


@pytest.fixture
def study_dir(tmp_path: Path) -> Path:
    """A study of two animals and a control, without fault."""
    root = tmp_path / "tiny"
    for file in ("R01_s1.tif", "sub/R02_s1.tif", "control.tif"):
        write_tiff(root / "slides" / file)
    for name, text in {"study.toml": TOML, "slides.csv": SLIDES, "animals.csv": ANIMALS, "motor.csv": MOTOR}.items():
        (root / name).write_text(text, "utf-8")
    return root


@pytest.fixture
def change(study_dir: Path) -> Change:
    """Replace text in one file of the study."""

    def replace(name: str, old: str, new: str) -> None:
        path = study_dir / name
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new), "utf-8")

    return replace


@pytest.fixture
def tiff() -> Callable[..., None]:
    """`write_tiff`, for tests."""
    return write_tiff


@pytest.fixture
def rgb() -> Callable[[Path], None]:
    """`write_rgb`, for tests."""
    return write_rgb
