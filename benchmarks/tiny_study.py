"""A synthetic study that is measured in seconds, and as many copies of its sections as asked for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from sevhisto.phantom import SectionSpec, StudySpec, make_study

REPO = Path(__file__).resolve().parents[1]
PIECES = 3
SLIDES_OF_AN_ANIMAL = 5


def write_tiny(root: Path, n_per_arm: int = 1, seed: int = 5) -> Path:
    """Write a study of one panel: four arms, three sections of an animal on a slide, and controls."""
    section = SectionSpec(cord_um=(700.0, 560.0), margin_um=30.0)
    make_study(root, StudySpec(n_per_arm=n_per_arm, n_sections=PIECES, um_per_px=4.0, n_batches=1, seed=seed, section=section))
    slides = read(root / "slides.csv")
    for file in slides.loc[slides["panel"] == "A", "file"].unique():
        (root / "slides" / file).unlink()
    slides[slides["panel"] == "B"].to_csv(root / "slides.csv", index=False)
    text = (root / "study.toml").read_text("utf-8")
    text = re.sub(r"\[panels\.A\].*?(?=\[panels\.B\])", "", text, flags=re.DOTALL)
    (root / "study.toml").write_text(text.replace("bleed_through = { CD206 = { CD68 = 0.03 }, ", "bleed_through = { "), "utf-8")
    return root


def read(path: Path) -> pd.DataFrame:
    """Read a sheet as text."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def copies(root: Path, n: int) -> Iterator[tuple[str, Path, Path]]:
    """Make the slides of a study n times, each with bytes of its own, five to a new animal; yield name, copy and original."""
    slides, animals, motor = (read(root / f"{name}.csv") for name in ("slides", "animals", "motor"))
    samples = slides[slides["role"] == "sample"]
    new = {"slides": [slides], "animals": [animals], "motor": [motor]}
    for k in range(n):
        for file, rows in samples.groupby("file"):
            of_animal, i = divmod(k, SLIDES_OF_AN_ANIMAL)
            old, name = rows["animal"].iloc[0], f"{k}_{file}"
            animal = f"{old}c{of_animal}"
            positions = rows["position_um"].astype(float) + 2000 * (i + 1)
            new["slides"].append(
                rows.assign(animal=animal, file=name, section=rows["section"] + f"x{i}", position_um=positions.astype(str))
            )
            if i == 0:
                new["animals"].append(animals[animals["animal"] == old].assign(animal=animal))
                new["motor"].append(motor[motor["animal"] == old].assign(animal=animal))
            copy = root / "slides" / name
            shutil.copyfile(root / "slides" / str(file), copy)
            with copy.open("ab") as stream:
                stream.write(f"copy {k:010d}".encode())  # readers of TIFF do not look there
            yield name, copy, root / "slides" / str(file)
    for name, parts in new.items():
        pd.concat(parts).to_csv(root / f"{name}.csv", index=False)


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a child that runs this checkout."""
    found = {**os.environ, "OMP_NUM_THREADS": "1", **more}
    found["PYTHONPATH"] = os.pathsep.join([p for p in (more.get("PYTHONPATH"), str(REPO), str(REPO / "napari_plugin")) if p])
    return found


def command(*words: object) -> list[str]:
    """Return the command line of sevhisto."""
    return [sys.executable, "-m", "sevhisto.cli", *map(str, words)]


def say(*words: object, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command of sevhisto to its end."""
    return subprocess.run(command(*words), env=environment(**more), capture_output=True, text=True, check=False)
