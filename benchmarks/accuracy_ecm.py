"""Does brightfield collagen agree with people, and with other people's programs?

Real tiles that nobody on this project made (`shared/data`, see its README; they are not part of the repository) are written into small
studies and measured by the same function that `sevhisto run` calls: no control slides, no threshold in study.toml, no stain vectors.

trichrome    Masson trichrome, collagen painted by three people: is our share of the tile inside their range, widened by 15 %?
picrosirius  Dice with another program's mask: agreement, not accuracy
red_area     published area of red fluorescent cells, by the publisher's own rule (red at least 20 above green): agreement, not accuracy
fibres       direction, coherency and width in the core of synthetic sections of unseen seeds, against their noise-free image
baseline     plain Otsu on the collagen channel of scikit-image, deconvolved with its published vectors, of each tile alone

Tiles whose names begin alike are one staining and make one stain batch; `alone` measures every tile as a batch of its own, `together` all
tiles of a stain as one. The files hold no pixel size: um/px is assumed, and three are tried. Montages go to benchmarks/out/: the tile, the
people or program (grey: how many of them), ours, and ours on the tile.

    .venv/bin/python benchmarks/accuracy_ecm.py [--data ../shared/data]     # one minute
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import tifffile
from asked import Asked
from PIL import Image
from scipy.ndimage import distance_transform_edt, maximum_filter
from skimage import color
from skimage.feature import structure_tensor
from skimage.filters import threshold_otsu

from sevhisto.config import ChannelSettings, ImagingSettings, MarkerRole, PanelSettings
from sevhisto.decide.fibres import coherency, level_set
from sevhisto.imaging.measure import blurred
from sevhisto.imaging.overview import marker_reader, slide_overview
from sevhisto.imaging.plan import plan_section
from sevhisto.imaging.section import measure_section
from sevhisto.imaging.tally import gradients
from sevhisto.io.study import load_study
from sevhisto.phantom import SectionSpec, make_section
from sevhisto.pipeline import run
from sevhisto.types import JOINT_EDGES, N_DISTANCE, AnyArray, BoolArray, Correction

OUT = Path(__file__).parent / "out"
SIZES_UM = (0.5, 0.25, 1.0)
WIDER = 1.15
THRESHOLD = 150.0
STUDY = """
[study]
name = "tiles"
blind = false
orientation = "transverse"
section_spacing_um = 200

[panels.masson]
kind = "brightfield"
stain = "masson"
channels = [{ channel = "collagen", marker = "collagen", role = "ecm" }]

[panels.picrosirius]
kind = "brightfield"
stain = "picrosirius"
channels = [{ channel = "collagen", marker = "collagen", role = "ecm" }]

[panels.red]
channels = [
  { channel = 1, marker = "red", role = "other", threshold = 20 },
  { channel = 2, marker = "green", role = "other", threshold = 20 },
]

[batches.red]
bleed_through = { red = { green = 1.0 } }

[protocols.none]
route = "none"
total_dose = 0
dose_unit = "particles"
injections_h = [0]
"""


@dataclass
class Tile:
    """One tile: its panel, its file, and masks of the same shape made by people or a program."""

    panel: str
    path: Path
    masks: list[BoolArray]

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem

    @property
    def rgb(self) -> AnyArray:
        """Its colour, (h, w, 3) uint8."""
        return np.asarray(Image.open(self.path).convert("RGB"))

    @property
    def staining(self) -> str:
        """What the tiles of one staining have in common in their names: all but the last part."""
        return self.name.rpartition("_")[0]


def find_tiles(data: Path) -> list[Tile]:
    """Return every tile with a mask or a published area, of whatever number and name."""

    def mask(path: Path) -> BoolArray:
        return np.asarray(Image.open(path).convert("L")) > 127

    tiles = []
    for path in sorted((data / "ecm/trichrome").glob("*.png")):
        masks = [mask(m) for m in sorted(path.parent.glob(f"{path.stem}_annotator_*.png"))]
        if masks:
            tiles.append(Tile("masson", path, masks))
    for path in sorted((data / "ecm/picrosirius").glob("*_mask.jpg")):
        tiles.append(Tile("picrosirius", path.with_name(path.name.replace("_mask", "")), [mask(path)]))
    published = {"Image_example1": 25063, "Image_example2": 116088}
    for path in sorted((data / "fluorescence/red_area").glob("*.JPG")):
        if path.stem in published:
            red, green, blue = np.moveaxis(np.asarray(Image.open(path).convert("RGB"), np.int64), -1, 0)
            rule = (red > green + 20) & (red > blue + 20) & (red > 20)
            assert rule.sum() == published[path.stem]
            tiles.append(Tile("red", path, [rule]))
    return tiles


def measure(tiles: list[Tile], um: float, batches: str) -> pd.DataFrame:
    """Measure the tiles as a study; return per tile our share, and the mask that gave it."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "slides").mkdir()
        (root / "study.toml").write_text(STUDY, "utf-8")
        (root / "animals.csv").write_text("animal,protocol\n" + "".join(f"{t.name},none\n" for t in tiles), "utf-8")
        rows = ["file,animal,section,panel,batch,role,position_um,um_per_px"]
        for t in tiles:
            file = t.path.name
            if t.panel == "red":  # the program asks for the channels of the microscope, not for their picture
                file = f"{t.name}.tif"
                tifffile.imwrite(root / "slides" / file, np.moveaxis(t.rgb, -1, 0)[:2], photometric="minisblack", metadata={"axes": "CYX"})
            else:
                shutil.copyfile(t.path, root / "slides" / file)
            batch = {"staining": t.staining, "alone": t.name, "together": t.panel}[batches] if t.panel != "red" else "red"
            rows.append(f"{file},{t.name},s1,{t.panel},{batch},sample,0,{um}")
        (root / "slides.csv").write_text("\n".join([*rows, ""]), "utf-8")
        summary = run(root, jobs=1)
        assert not summary.failures, summary.failures
        sections = pd.read_csv(root / "results/sections.csv")
        facts = json.loads((root / "results/run.json").read_text("utf-8"))["background"]
        panels = load_study(root).config.panels
    sections = sections[(sections["zone"] == "all") & (sections["marker"] != "green")].set_index("animal")
    found = []
    for t in tiles:
        row = sections.loc[t.name]
        share = row["positive_um2"] / row["zone_um2"]
        ours = positive(t, panels[t.panel], facts[f"{t.panel} / {row['batch']}"], row, um)
        assert abs(ours.mean() - share) < 5e-4, (t.name, ours.mean(), share)  # the picture shows what the table says
        found.append({"tile": t, "share": share, "ours": ours, "source": row["threshold_source"], "vectors": facts})
    return pd.DataFrame(found)


def positive(tile: Tile, panel: PanelSettings, facts: dict[str, dict[str, object]], row: pd.Series, um: float) -> BoolArray:
    """Return which pixels were positive, from the vectors, offset and threshold that the run wrote down."""
    raw = np.moveaxis(tile.rgb, -1, 0)
    if tile.panel == "red":
        value = raw[0].astype(np.float32) - raw[1]
    else:
        names = list(facts["stain_vectors"])
        rows = [np.array(facts["stain_vectors"][n], np.float64) for n in names]
        cross = np.cross(rows[0], rows[1])
        value = marker_reader(panel, (), np.inf, np.array([*rows, cross / np.linalg.norm(cross)])).convert(raw)[0]
    soft = blurred(np.ascontiguousarray(value - np.float32(row["background"] if tile.panel != "red" else 0)), 0.3 / um)
    return np.asarray(soft >= row["threshold"], bool)


def baseline(tile: Tile) -> BoolArray:
    """Return the plain answer: scikit-image's vectors and Otsu's threshold, for each tile alone; of red cells, Otsu of red."""
    if tile.panel == "red":
        return np.asarray(tile.rgb[..., 0] > threshold_otsu(tile.rgb[..., 0]))
    # methyl blue and ponceau; there is no picrosirius, so fast red, fast blue and DAB
    channel = color.separate_stains(tile.rgb, color.bpx_from_rgb if tile.panel == "masson" else color.rbd_from_rgb)[..., 0]
    return np.asarray(channel > threshold_otsu(channel))


def dice(a: BoolArray, b: BoolArray) -> float:
    """Return the Dice coefficient."""
    return 2 * int((a & b).sum()) / max(int(a.sum()) + int(b.sum()), 1)


def montage(found: pd.DataFrame, path: Path) -> None:
    """Write one row per tile."""
    lines = []
    for row in found.to_dict("records"):
        tile, ours = row["tile"], row["ours"]
        people = np.mean(tile.masks, axis=0)
        rim = (ours ^ cv2.erode(ours.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool))[..., None]
        grey = [np.repeat((255 * m[..., None]).astype(np.uint8), 3, axis=2) for m in (people, ours.astype(float))]
        shown = np.where(rim, np.array([255, 230, 0], np.uint8), tile.rgb)
        parts = [cv2.resize(p, (480, 420), interpolation=cv2.INTER_AREA) for p in (tile.rgb, *grey, shown)]
        lines.append(np.hstack(parts))
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.vstack(lines)).save(path)


def table(found: pd.DataFrame) -> pd.DataFrame:
    """Return one row per tile: what is asked, ours and the baseline."""
    rows = []
    for row in found.to_dict("records"):
        tile, ours, plain = row["tile"], row["ours"], baseline(row["tile"])
        shares = [m.mean() for m in tile.masks]
        low, high = (min(shares) / WIDER, max(shares) * WIDER) if tile.panel == "masson" else (min(shares) * 0.9, max(shares) * 1.1)
        score = float(np.mean([dice(ours, m) for m in tile.masks]))
        met = score >= 0.85 if tile.panel == "picrosirius" else low <= row["share"] <= high
        between = [dice(a, b) for i, a in enumerate(tile.masks) for b in tile.masks[:i]]
        rows.append(
            {
                "tile": tile.name,
                "panel": tile.panel,
                "asked %": f"{100 * low:.1f} to {100 * high:.1f}" if tile.panel != "picrosirius" else f"Dice 0.85; {100 * shares[0]:.1f}",
                "ours %": f"{100 * row['share']:.1f}",
                "met": "yes" if met else "NO",
                "Dice": f"{score:.2f}",
                "between people": f"{np.mean(between):.2f}" if between else "",
                "Otsu %": f"{100 * plain.mean():.1f}",
                "Otsu Dice": f"{np.mean([dice(plain, m) for m in tile.masks]):.2f}",
                "threshold": row["source"],
            }
        )
    return pd.DataFrame(rows)


def fibre_rows(seeds: range, um: float) -> pd.DataFrame:
    """Return direction, coherency and width in the core of synthetic sections, measured and in their noise-free image."""
    markers = ("DAPI", "GFAP", "fibronectin")
    roles: tuple[MarkerRole, ...] = ("nuclei", "landmark", "ecm")
    channels = [ChannelSettings(channel=i + 1, marker=m, role=r) for i, (m, r) in enumerate(zip(markers, roles, strict=True))]
    panel, settings = PanelSettings(channels=channels), ImagingSettings()
    correction = Correction(np.full(3, 154.0), np.eye(3), ("no_primary",) * 3)  # camera offset and glass of the synthetic sections
    reader = marker_reader(panel, range(3), 65535)
    rows = []
    for k, seed in enumerate(seeds):
        deg, kappa = float(36 * k % 180), (2.0, 6.0)[k % 2]
        changes = {"fibre_deg": deg, "fibre_concentration": kappa, "coverage": {"fibronectin": 0.15}}
        section = make_section(SectionSpec(um_per_px=um, cord_um=(2400.0, 1900.0), markers=markers, **changes), seed)
        source = Picture(section.image, um)
        step = round(settings.overview_um / um)
        h, w = (n // step * step for n in source.shape)
        small = section.image[:, :h, :w].reshape(3, h // step, step, w // step, step).mean((2, 4), dtype=np.float32)
        plan = plan_section(slide_overview(small, step, um * step, reader, settings), source.shape, panel, correction, settings, piece=None)
        sums = measure_section(source, plan, reader, panel, correction, settings).fibres["fibronectin"]
        core = sums[:, : N_DISTANCE // 3].sum(axis=(0, 1))  # distance below 0
        bright = np.concatenate([[-np.inf], JOINT_EDGES]) >= THRESHOLD
        found = core[bright][:, :3].sum(axis=0).astype(float)
        truth = section.truth
        clean = truth.optical("fibronectin")
        here = truth.structure("fibronectin") & truth.core_mask()
        fy, fx = (g[here].astype(float) for g in gradients(blurred(clean, settings.fibre_sigma_um / um)))
        real = np.array([(fx * fx).sum(), (fy * fy).sum(), (fx * fy).sum()])
        angle = [np.degrees(0.5 * np.arctan2(2 * xy, yy - xx)) for xx, yy, xy in (found, real)]
        area, outline = level_set(core[None, :, 5], core[None, :, 6], THRESHOLD)
        depth = distance_transform_edt(clean >= THRESHOLD) * um
        ridge = here & (depth > 0) & (depth == maximum_filter(depth, 3))
        rows.append(
            {
                "seed": seed,
                "drawn at": deg,
                "direction off (deg)": (angle[0] - angle[1] + 90) % 180 - 90,
                "plain, off (deg)": (plain_direction(section.image[2]) - angle[1] + 90) % 180 - 90,
                "coherency": coherency(*found),
                "true coherency": coherency(*real),
                "width (um)": 2 * area[0] / outline[0] * um,
                "twice the depth of ridges (um)": 2 * float(depth[ridge].mean()),
            }
        )
    return pd.DataFrame(rows)


def plain_direction(image: AnyArray) -> float:
    """Return the mean of local orientations over the whole image, as scikit-image's structure tensor gives them (degrees)."""
    rr, rc, cc = structure_tensor(image.astype(float), sigma=2, order="rc")
    local = 0.5 * np.arctan2(2 * rc, rr - cc)
    return float(np.degrees(np.arctan2(np.sin(2 * local).mean(), np.cos(2 * local).mean()) / 2))


@dataclass(frozen=True)
class Picture:
    """An image in memory, as a PixelSource."""

    image: AnyArray
    um_per_px: float
    channels: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.image.shape[1], self.image.shape[2]

    def read(self, channels: Sequence[int], y0: int, y1: int, x0: int, x1: int) -> AnyArray:
        """Pixels of a part."""
        return self.image[list(channels), y0:y1, x0:x1]


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    data = parser.parse_args().data
    tiles = find_tiles(data)
    if not tiles:
        raise SystemExit(f"no tiles in {data}")
    asked = Asked(__file__)
    pd.set_option("display.width", 250, "display.max_columns", 20, "display.max_colwidth", 60)
    for batches in ("staining", "alone", "together"):
        for um in SIZES_UM if batches == "staining" else SIZES_UM[:1]:
            found = measure(tiles, um, batches)
            print(f"\nbatches: {batches}, {um} um/px assumed\n")
            print(table(found).to_string(index=False))
            if batches == "staining" and um == SIZES_UM[0]:
                montage(found, OUT / "ecm_tiles.png")
                for row in table(found).to_dict("records"):
                    said = f"{row['ours %']} %; Dice {row['Dice']}"
                    plain = f"{row['Otsu %']} %; Dice {row['Otsu Dice']}"
                    asked.line(f"{row['panel']} tile {row['tile']}", "collagen, red area", row["asked %"], said, row["met"] == "yes", plain)
    print("\nfibres in the core of synthetic sections, 1.3 um/px\n")
    fibres = fibre_rows(range(8200, 8210), 1.3)
    print(fibres.round(2).to_string(index=False))
    off = fibres["direction off (deg)"].abs()
    said = f"{off.mean():.2f} (worst {off.max():.2f})"
    plain = f"{fibres['plain, off (deg)'].abs().mean():.1f}"
    asked.line("phantoms, ten seeds", "direction of fibres, degrees off", "<= 3", said, bool(off.mean() <= 3), plain)
    asked.close()
    for name, facts in sorted(found["vectors"].iloc[0].items()):
        print(name, facts["stain_vectors"], facts["stain_source"])


if __name__ == "__main__":
    main()
