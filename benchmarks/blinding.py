"""Does anything that is written before the key is opened tell an animal, a group or a file by name?

A small synthetic study gets names that tell as much as names can: animals are named after their group, files, sections and
batches after their animals, and the study after its groups; some slides are damaged, so that errors are told. Every command is
run, and every byte of every file outside results/key is searched: compressed files are unpacked, pictures in the report decoded.
What people write themselves (study.toml, the sheets, slides/, corrections/) is not searched.

    python benchmarks/blinding.py [--out DIR]
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import html
import io
import json
import re
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import anndata
import pandas as pd

from sevhisto import cli
from sevhisto.phantom import SectionSpec, StudySpec, make_study

GROUPS = {"vehicle": "Salzarm", "daily_3d": "Tagesarm", "infusion_3d": "Kurzpumpe", "infusion_6d": "Langpumpe"}
GIVEN = (
    "study.toml",
    "slides.csv",
    "animals.csv",
    "motor.csv",
    "slides",
    "truth",
    "corrections",
    "corrections_ann",
    "corrections_bob",
    "counts",
)


def hostile(root: Path) -> None:
    """Rename everything in a synthetic study so that names tell the group."""
    animals = pd.read_csv(root / "animals.csv", dtype=str, keep_default_na=False)
    group_of = dict(zip(animals["animal"], animals["protocol"].map(lambda p: GROUPS.get(p, p)), strict=True))
    named = {a: f"{g}-{a}x" if g else f"Kontrolltier-{a}x" for a, g in group_of.items()}
    slides = pd.read_csv(root / "slides.csv", dtype=str, keep_default_na=False)
    for a in slides["animal"]:
        named.setdefault(a, f"Kontrolltier-{a}x")
    first = slides[slides["file"] != ""].groupby("file")["animal"].first()
    files = {file: f"{named[a]}_{i:02d}.ome.tif" for i, (file, a) in enumerate(first.items())}
    for file, new in files.items():
        (root / "slides" / file).rename(root / "slides" / new)
    slides["section"] = [f"{named[a]}_{s}" for a, s in zip(slides["animal"], slides["section"], strict=True)]
    slides = slides.assign(file=slides["file"].map(lambda f: files.get(f, f)), animal=slides["animal"].map(named), batch="Langpumpe tag 1")
    slides.to_csv(root / "slides.csv", index=False)
    animals = animals.assign(animal=animals["animal"].map(named), protocol=animals["protocol"].map(lambda p: GROUPS.get(p, p)))
    animals.to_csv(root / "animals.csv", index=False)
    motor = pd.read_csv(root / "motor.csv", dtype=str, keep_default_na=False)
    motor.assign(animal=motor["animal"].map(named)).to_csv(root / "motor.csv", index=False)
    text = (root / "study.toml").read_text("utf-8")
    for old, new in GROUPS.items():
        text = re.sub(rf'(?<=protocols\.){old}(?=\])|(?<="){old}(?=")', new, text)
    text = re.sub(r"(?<=batches\.)\w+", '"Langpumpe tag 1"', text)
    text = re.sub(r'(?m)^name = "[^"]*"', 'name = "Langpumpe against Salzarm"', text, count=1)
    (root / "study.toml").write_text(text, "utf-8")


def damage(root: Path) -> None:
    """Break two slides, name a piece that is not there, and draw an outline that cannot be used."""
    slides = pd.read_csv(root / "slides.csv", dtype=str, keep_default_na=False)
    files = sorted(slides.loc[slides["role"] == "sample", "file"].unique())
    short, text, _, odd = (root / "slides" / f for f in files[:4])
    short.write_bytes(short.read_bytes()[:3000])
    text.write_text("this is no image", "utf-8")
    rows = slides.index[slides["file"] == files[2]]
    slides.loc[rows[-1], "piece"] = "9"
    slides.to_csv(root / "slides.csv", index=False)
    (root / "corrections").mkdir(exist_ok=True)
    (root / "corrections" / f"{odd.name}.geojson").write_text('{"type": "FeatureCollection", "features": [7]}', "utf-8")


def draw(root: Path) -> None:
    """Write two readings of every slide: a square lesion and an excluded area each."""
    slides = pd.read_csv(root / "slides.csv", dtype=str, keep_default_na=False)
    for name, size in (("corrections_ann", 60.0), ("corrections_bob", 66.0)):
        (root / name).mkdir()
        for file in slides.loc[slides["role"] == "sample", "file"].unique():
            shapes = [("lesion", 90.0), ("exclude: tissue_damaged", 120.0)]
            features = [
                {
                    "type": "Feature",
                    "geometry": {"type": "Polygon", "coordinates": [[[x, x], [x + size, x], [x + size, x + size], [x, x + size], [x, x]]]},
                    "properties": {"name": label},
                }
                for label, x in shapes
            ]
            (root / name / f"{file}.geojson").write_text(json.dumps(features), "utf-8")


def command(*words: object) -> tuple[int, str]:
    """Run a command line in this process; return its status and all that it said."""
    said, before = io.StringIO(), sys.argv
    sys.argv = ["sevhisto", *map(str, words)]
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            cli.main()
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    finally:
        sys.argv = before
    return status, said.getvalue()


def use(root: Path, jobs: int = 1) -> dict[str, str]:
    """Run every command that reads or writes results of a blind study; return what each said."""
    heard = {"run": command("run", root, "--jobs", jobs)[1]}
    kept = root / "kept"
    shutil.copytree(root / "results", kept)
    (root / "corrections").mkdir(exist_ok=True)
    drawn = sorted((root / "corrections_ann").iterdir())[-1]
    shutil.copy(drawn, root / "corrections" / drawn.name)
    status = pd.read_csv(root / "results" / "status.csv", keep_default_na=False)
    line = status[status["status"].isin(["ok", "flagged"])].iloc[0]
    who = ("--who", "Ann", "--reason", "tissue_damaged", "--note", "fold")
    heard["exclude"] = command("exclude", root, "--animal", line["animal"], "--section", line["section"], *who)[1]
    heard["run again"] = command("run", root, "--jobs", jobs)[1]
    edited = pd.read_csv(root / "results" / "exclusions.csv", keep_default_na=False).query("level == 'area'")
    for area in edited.head(1).to_dict("records"):
        place = ("--animal", area["animal"], "--section", area["section"], "--panel", area["panel"])
        heard["exclude areas"] = command("exclude", root, *place, "--areas", *who)[1]
        heard["run signed"] = command("run", root, "--jobs", jobs)[1]
    heard["compare"] = command("compare", root, "--jobs", jobs)[1]
    heard["report"] = command("report", root, "--jobs", jobs)[1]
    heard["export"] = command("export", root, "--to", "all")[1]
    heard["agreement"] = command("agreement", root, "--first", "corrections_ann", "--second", "corrections_bob", "--more", "auto")[1]
    heard["diff"] = command("diff", kept, root, "--csv", root / "results" / "differences.csv")[1]
    return {name: said.replace(str(root), "STUDY") for name, said in heard.items()}


def names_of(root: Path) -> set[str]:
    """Return every name that must not be told: animals, groups, files with and without ending."""
    animals, slides = (pd.read_csv(root / f"{n}.csv", dtype=str, keep_default_na=False) for n in ("animals", "slides"))
    files = set(slides["file"]) - {""}
    stems = {Path(f).name.partition(".")[0] for f in files}
    return {*animals["animal"], *animals["protocol"], *slides["animal"], *files, *stems} - {""}


def content(path: Path) -> Iterator[bytes]:
    """Yield what a file says: as it is, unpacked, and with pictures and escapes decoded."""
    data = path.read_bytes()
    yield data
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            yield from (n.encode() for n in packed.namelist())
            yield from (packed.read(n) for n in packed.namelist())
    if path.suffix == ".parquet":
        yield pd.read_parquet(path).to_csv().encode()
    if path.suffix == ".h5ad":
        cells = anndata.read_h5ad(path)
        yield f"{cells.obs.to_csv()}{cells.var.to_csv()}{cells.uns}".encode()
    if path.suffix in (".html", ".svg"):
        text = data.decode("utf-8")
        yield html.unescape(text).encode()
        yield from (base64.b64decode(found) for found in re.findall(r"base64,([A-Za-z0-9+/=]+)", text))


def leaks(root: Path) -> dict[str, list[str]]:
    """Return the names told by each file that the program wrote outside results/key, in any case and by UTF-8, UTF-16 or escapes."""
    sought = {n: {e.lower() for e in (n.encode(), n.encode("utf-16-le"), n.encode("unicode_escape"))} for n in names_of(root)}
    found = {}
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        parts = path.relative_to(root).parts
        if parts[0] in GIVEN or "key" in parts[:-1]:
            continue
        said = [*content(path), "/".join(parts).encode()]
        told = sorted(n for n, forms in sought.items() if any(form in part.lower() for part in said for form in forms))
        if told:
            found["/".join(parts)] = told
    return found


def main() -> int:
    """Make the study, use it, search it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out" / "blinding", help="where the study is made, anew")
    root = parser.parse_args().out
    shutil.rmtree(root, ignore_errors=True)
    section = SectionSpec(cord_um=(700.0, 560.0), margin_um=30.0)
    make_study(root, StudySpec(n_per_arm=2, n_sections=3, um_per_px=4.0, n_batches=1, seed=11, section=section))
    hostile(root)
    damage(root)
    draw(root)
    heard = use(root)
    told = leaks(root)
    files = [p for p in root.rglob("*") if p.is_file() and p.relative_to(root).parts[0] not in GIVEN and "key" not in p.parts[:-1]]
    size = sum(p.stat().st_size for p in files)
    print(f"{len(names_of(root))} names sought in {len(files)} files ({size / 1e6:.1f} MB): {len(told)} files tell one")
    for name, names in told.items():
        print(f"  {name}: {', '.join(names)}")
    spoken = {name: sorted(n for n in names_of(root) if n.lower() in said.lower()) for name, said in heard.items()}
    for name, names in spoken.items():
        print(f"  {name} says {len(names)} names on the screen{': ' + ', '.join(names[:5]) if names else ''}")
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
