"""Make the sample images and the tables that they should give.

python sample_images/make.py                     slides, sheets and expected tables, all from the seed
python sample_images/make.py --renew-expected    the expected tables only, after a change that moves numbers on purpose
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import imagecodecs
import tifffile
from skimage import data

from sevhisto.phantom.section import make_section
from sevhisto.phantom.slide import write_slide
from sevhisto.phantom.spec import SectionSpec
from sevhisto.phantom.study import plan_animals, plan_slides
from sevhisto.phantom.study_files import write_sheets
from sevhisto.phantom.study_spec import SlidePlan, StudySpec
from sevhisto.pipeline import compare, run

HERE = Path(__file__).resolve().parent
STUDIES = ("study", "ihc")
TABLES: Mapping[str, tuple[str, ...]] = {
    "study": ("status.csv", "thresholds.csv", "sections.csv", "animals.csv", "comparisons.csv", "relations.csv"),
    "ihc": ("status.csv", "thresholds.csv", "sections.csv", "animals.csv"),
}
"""The result tables that are held against expected/; the ihc study has no groups, so nothing to compare."""

SEED = 20
PANEL = "main"
CHANNELS = {"DAPI": "DAPI", "GFAP": "AF488", "CD68": "AF568", "CD206": "AF647", "fibronectin": "AF750", "AF": "blank"}
# noise does not compress: a dim signal with little noise keeps the files small
DIM = 1 / 4
SECTION = SectionSpec(
    cord_um=(620.0, 500.0),
    margin_um=10.0,
    signal={"DAPI": 800 * DIM, "GFAP": 600 * DIM, "CD68": 600 * DIM, "CD206": 550 * DIM, "fibronectin": 600 * DIM},
    af_tissue=32 * DIM,
    af_cell=40 * DIM,
    glass=4 * DIM,
    offset=40.0,
    electrons_per_grey=100.0,
    read_noise=0.3,
    texture=0.04,
    seam=0.005,
)
SPEC = StudySpec(
    seed=SEED,
    name="sample study (synthetic)",
    n_per_arm=2,
    n_sections=3,
    um_per_px=3.0,
    section_spacing_um=200.0,
    n_batches=1,
    section=SECTION,
)

STUDY_TOML = """\
# Synthetic: made by sample_images/make.py. Nothing in it is a biological result.
[study]
name = "sample study (synthetic)"
orientation = "transverse"
section_spacing_um = 200
section_thickness_um = 20
sampling = "1 in 10, random start"

[panels.main]
pairs = [["CD68", "CD206"]]
channels = [
  { channel = "DAPI", marker = "DAPI", role = "nuclei" },
  { channel = "AF488", marker = "GFAP", role = "landmark" },
  { channel = "AF568", marker = "CD68", role = "macrophage" },
  { channel = "AF647", marker = "CD206", role = "macrophage" },
  { channel = "AF750", marker = "fibronectin", role = "ecm" },
  { channel = "blank", marker = "AF", role = "autofluorescence" },
]

[batches.batch1]
bleed_through = { CD206 = { CD68 = 0.03 } }

[zones]
edges_um = [0, 100, 250] # these cords are small: the default zones would lie outside them

# a coarse pixel: what is smaller than the defaults cannot be seen
[imaging]
nucleus_diameter_um = 9
ring_um = 3
fibre_sigma_um = 3

[protocols.vehicle]
route = "intravenous"
vehicle = "saline"
total_dose = 0
dose_unit = "particles"
injections_h = [3, 27, 51]

[protocols.daily_3d]
route = "intravenous"
vehicle = "saline"
total_dose = 3e9
dose_unit = "particles"
injections_h = [3, 27, 51]

[protocols.infusion_3d]
route = "intravenous"
vehicle = "saline"
total_dose = 3e9
dose_unit = "particles"
infusion = { start_h = 3, duration_h = 72, rate_ul_h = 1.0, loaded_volume_ul = 100 }

[protocols.infusion_6d]
route = "intravenous"
vehicle = "saline"
total_dose = 3e9
dose_unit = "particles"
infusion = { start_h = 3, duration_h = 144, rate_ul_h = 0.5, loaded_volume_ul = 100 }

[endpoints]
primary = ["main_core_fibronectin_positive_volume_mm3", "BBB_auc_score_days"]

[[contrasts]]
name = "mode"
a = ["infusion_3d"]
b = ["daily_3d"]

[[contrasts]]
name = "duration"
a = ["infusion_6d"]
b = ["infusion_3d"]

[[contrasts]]
name = "any_sev"
a = ["daily_3d", "infusion_3d", "infusion_6d"]
b = ["vehicle"]
"""

IHC_TOML = """\
# A real brightfield picture, to show that panel kind; it is colon, not spinal cord, and no study. See ../README.md.
[study]
name = "immunohistochemistry (scikit-image)"
section_spacing_um = 200
blind = false # one picture, no groups

[panels.dab]
kind = "brightfield"
stain = "hematoxylin_dab"
channels = [
  { channel = "hematoxylin", marker = "hematoxylin", role = "nuclei", threshold = 200 },
  { channel = "dab", marker = "FHL2", role = "other", threshold = 200 },
] # thresholds set by hand, in milli optical density: there is no control slide
"""
IHC_SLIDES = """\
file,animal,section,panel,batch,role,position_um,um_per_px,notes
ihc.png,colon,s01,dab,batch1,uninjured,,0.5,the source states no pixel size: 0.5 um is assumed
"""
IHC_ANIMALS = """\
animal,protocol,species
colon,,not stated by the source
"""


def make_study(folder: Path) -> None:
    """Write the synthetic study: one panel, one slide per animal and one of controls."""
    (folder / "slides").mkdir(parents=True)
    animals = plan_animals(SPEC)
    chosen = [p for p in plan_slides(SPEC, animals) if p.panel == "A"]
    leaks = {"CD206": {"CD68": 0.03}}
    plans = []
    for n, plan in enumerate(sorted(chosen, key=lambda p: p.file), 1):
        pieces = tuple(replace(p, spec=replace(p.spec, markers=tuple(CHANNELS), bleed_through=leaks)) for p in plan.pieces)
        plans.append(SlidePlan(f"slide_{n:02d}.ome.tif", PANEL, plan.batch, pieces))
    for plan in plans:
        sections = [make_section(p.spec, p.seed) for p in plan.pieces]
        path = folder / "slides" / plan.file
        write_slide(path, sections, padding_um=40.0, channel_names=list(CHANNELS.values()))
        _tighten(path)
    write_sheets(folder, SPEC, animals, plans)
    _text(folder / "study.toml", STUDY_TOML)


def _tighten(path: Path) -> None:
    """Write a slide again, same pixels and metadata, smaller: higher compression, tiles that fit."""
    with tifffile.TiffFile(path) as file:
        image, description = file.asarray(), file.pages.first.description
    resolution = 1e4 / SPEC.um_per_px
    tifffile.imwrite(
        path,
        image,
        photometric="minisblack",
        tile=(128, 128),
        compression="zlib",
        compressionargs={"level": 9},
        predictor=True,
        description=description,
        metadata=None,
        ome=False,
        resolution=(resolution, resolution),
        resolutionunit="CENTIMETER",
        software="sevhisto phantom",
    )


def make_ihc(folder: Path) -> None:
    """Write scikit-image's own immunohistochemistry picture as a study of one section."""
    (folder / "slides").mkdir(parents=True)
    (folder / "slides" / "ihc.png").write_bytes(imagecodecs.png_encode(data.immunohistochemistry(), level=9))
    for name, text in (("study.toml", IHC_TOML), ("slides.csv", IHC_SLIDES), ("animals.csv", IHC_ANIMALS)):
        _text(folder / name, text)


def measure(name: str, target: Path, jobs: int | None = None) -> Path:
    """Copy a sample study (``study`` or ``ihc``) to a new folder, run it to the end, and return its results folder."""
    shutil.copytree(HERE / name, target, ignore=shutil.ignore_patterns("results"))
    done = run(target, jobs)
    if "comparisons.csv" in TABLES[name]:
        compare(target, open_key=True)
    return done.results


def renew_expected() -> None:
    """Run the sample studies and keep their tables as what is expected from now on."""
    for name in STUDIES:
        with tempfile.TemporaryDirectory() as folder:
            results = measure(name, Path(folder) / name)
            target = HERE / "expected" / name
            target.mkdir(parents=True, exist_ok=True)
            for table in TABLES[name]:
                shutil.copyfile(results / table, target / table)


def _text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def main() -> None:
    """Write what was asked for, and say where it is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--renew-expected", action="store_true", help="write the expected tables only")
    if not parser.parse_args().renew_expected:
        for name, make in (("study", make_study), ("ihc", make_ihc)):
            shutil.rmtree(HERE / name, ignore_errors=True)
            make(HERE / name)
    renew_expected()
    size = sum(p.stat().st_size for p in HERE.rglob("*") if p.is_file())
    print(f"{HERE} holds {size / 1e6:.1f} MB. Where expected tables changed, say so in CHANGELOG.md under 'Numbers changed'.")


if __name__ == "__main__":
    main()
