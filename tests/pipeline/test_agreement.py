"""`sevhisto agreement` on the tiny study: outlines, the program's own, counts; codes, stamp and errors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import tifffile

from sevhisto.io import key as keys
from sevhisto.io.study import load_study
from sevhisto.pipeline import agreement, run
from sevhisto.types import SevhistoError
from tests.pipeline.conftest import Study, draw


def test_two_people_and_the_program(study: Study, sevhisto: Callable) -> None:
    for name, half in (("ann", 20), ("bob", 24)):
        for piece, file in ((2, study.a_sample()), (2, study.a_sample(1))):
            draw(study, file, half_px=half, piece=piece)
        (study.root / "corrections").rename(study.root / name)
    said = sevhisto("agreement", study.root, "--first", "ann", "--second", "bob", "--more", "auto", "--jobs", 1)
    assert said.status == 0, said.err
    table = pd.read_csv(study.results / "agreement" / "agreement.csv")
    drawn = table[(table["reading_a"] == "ann") & (table["reading_b"] == "bob")]
    assert len(drawn) == 2 and table["animal"].str.startswith("A-").all()
    assert drawn["dice"].to_numpy() == pytest.approx(2 * 20**2 / (20**2 + 24**2), abs=0.02)  # squares in squares, within tissue
    assert drawn["area_um2_a"].to_numpy() == pytest.approx((40 * 4.0) ** 2, rel=0.05)
    assert drawn["border_p95_um"].between(12, 24).all()  # 16 um along the sides, 22.6 at the corners
    own = table[table["reading_b"] == "auto"].set_index(["animal", "section"])["area_um2_b"].dropna()
    (study.root / "bob").rename(study.root / "corrections")  # a person's outline in the records: the program's is made again, and the same
    run(study.root, jobs=1)
    done = agreement(study.root, ["ann", "auto"], 1)
    again = done.sections.set_index(["animal", "section"])["area_um2_b"].dropna()
    assert len(again) == 2 and all((own.loc[place] == area).all() for place, area in again.items())
    assert {p.name for p in done.folder.iterdir()} == {"agreement.csv", "agreement_summary.csv", "agreement.svg", "agreement.png"}
    path = study.root / "slides" / study.a_sample()
    path.write_bytes(path.read_bytes() + b" ")  # changed since first sight: its section gives no number, the other its own
    changed = agreement(study.root, ["ann", "auto"], 1).sections.set_index(["animal", "section"])
    told = changed["reason"].str.contains("changed since it was first seen")
    assert told.sum() >= 1 and not changed["reason"].str.contains(path.name).any()
    assert changed.loc[told, ["area_um2_a", "area_um2_b", "dice"]].isna().all().all()
    assert changed.loc[~told, "area_um2_b"].dropna().tolist() == [again.loc[p] for p in again.index if not told.loc[p]]


def test_counts_go_by_name_or_code_and_masks_by_object(study: Study) -> None:
    slides = study.sheet("slides.csv").query("role == 'sample'")
    key = keys.codes(load_study(study.root))
    counts = slides[["animal", "section"]].assign(count=[str(10 * i) for i in range(len(slides))])
    counts.to_csv(study.root / "one.csv", index=False)
    coded = counts.assign(animal=counts["animal"].map(key.animals), count=[str(10 * i + 1) for i in range(len(slides))])
    coded.to_csv(study.root / "two.csv", index=False)
    done = agreement(study.root, ["one.csv", "two.csv"], 1)
    assert done.summary[["kind", "measure", "n", "bias"]].to_numpy().tolist() == [["count", "count", len(slides), -1.0]]
    assert done.sections["animal"].isin(set(key.animals.values())).all()
    file = study.a_sample()
    with tifffile.TiffFile(study.root / "slides" / file) as tiff:
        h, w = tiff.series[0].shape[-2:]
    for name, shift in (("m1", 0), ("m2", 2)):
        mask = np.zeros((h, w), np.uint8)
        mask[20:60:20, 20 + shift : w - 20 + shift : 20] = 1
        mask = np.kron(mask[::10, ::10], np.ones((10, 10), np.uint8))[:h, :w]
        (study.root / name).mkdir()
        tifffile.imwrite(study.root / name / f"{file.removesuffix('.ome.tif')}.tif", np.roll(mask, shift, axis=1))
    masks = agreement(study.root, ["m1", "m2"], 1)
    assert set(masks.sections["kind"]) == {"objects"} and (masks.sections["count_a"] >= 0).all()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["nowhere", "auto"], "nowhere: is not there"),
        (["slides", "auto"], "cannot be compared with each other"),
        (["truth", "auto"], "holds neither drawn outlines nor label images"),
        (["counts.csv", "auto"], "give readings of one kind"),
        (["counts.csv", "wrong.csv"], "'many' is no count"),
    ],
)
def test_what_cannot_be_compared_is_told(study: Study, given: list[str], said: str) -> None:
    slide = study.sheet("slides.csv").iloc[0]
    for name, count in (("counts", "1"), ("wrong", "many")):
        (study.root / f"{name}.csv").write_text(f"animal,section,count\n{slide['animal']},{slide['section']},{count}\n", "utf-8")
    with pytest.raises(SevhistoError, match=said):
        agreement(study.root, given, 1)
