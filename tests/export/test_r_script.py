"""The exported R script computes what sevhisto computed, permutation p too: every arrangement, or a sample of as many."""

from __future__ import annotations

import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sevhisto.compare.effects import contrast
from sevhisto.export.r_script import expected
from sevhisto.export.text import write_csv

SIZES = {"even": ((5, 5), ()), "uneven": ((4, 3, 3), ()), "blocked": ((4, 6), "xy"), "sampled": ((9, 9), "xyz")}


def test_how_a_p_was_made_is_told() -> None:
    methods = ["no interval; exact permutation (20)", "Welch t interval; Monte-Carlo permutation (10000)", "not computed"]
    methods.append("Welch t interval within blocks; exact permutation within blocks (36)")
    columns = ["endpoint", "contrast", "n_a", "n_b", "estimate", "ci_low", "ci_high", "hedges_g", "ratio", "ratio_low", "ratio_high"]
    table = expected(pd.DataFrame({**dict.fromkeys([*columns, "p_welch", "p"], [1.0] * 4), "method": methods}))
    assert table["permutation"].tolist() == ["exact", "sampled", "", "exact"]
    assert table["arrangements"].tolist()[:2] == [20, 10000]


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="needs R (Rscript); on Debian r-base-core")
def test_r_finds_the_same_permutation_p(tmp_path: Path) -> None:
    _must_agree(tmp_path / "plain", ["even", "uneven"])
    _must_agree(tmp_path / "blocks", ["blocked", "sampled"])


def _must_agree(folder: Path, names: list[str]) -> None:
    rng = np.random.default_rng(8)
    values, plan, rows = [], [], []
    for name in names:
        sizes, blocks = SIZES[name]
        groups = [np.round(rng.normal(10 + k, 1.5, n), 1) for k, n in enumerate(sizes)]
        own = [np.array([blocks[i % len(blocks)] for i in range(n)]) for n in sizes] if blocks else None
        effect = contrast(groups[:1], groups[1:], own and own[:1], own and own[1:], permutations=4000, seed=3)
        rows.append({"endpoint": name, "contrast": name, **{k: v for k, v in vars(effect).items() if k != "flags"}})
        plan += [(name, f"{name}{k}", 1.0 if k == 0 else -1 / (len(sizes) - 1)) for k in range(len(sizes))]
        placed = [(k, i, v) for k, g in enumerate(groups) for i, v in enumerate(g)]
        values += [(f"{name}{k}{i}", f"{name}{k}", blocks[i % len(blocks)] if blocks else "", name, v) for k, i, v in placed]
    told = expected(pd.DataFrame(rows))
    assert told["permutation"].tolist() == ["sampled" if name == "sampled" else "exact" for name in names]
    write_csv(folder / "values.csv", pd.DataFrame(values, columns=["animal", "group", "block", "endpoint", "value"]))
    write_csv(folder / "contrasts.csv", pd.DataFrame(plan, columns=["contrast", "group", "weight"]))
    write_csv(folder / "expected.csv", told)
    (folder / "contrasts.R").write_bytes(files("sevhisto.export").joinpath("contrasts.R").read_bytes())
    done = subprocess.run(["Rscript", "contrasts.R"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("1 permutation p from samples; farther apart than two samples can be: 0." in done.stdout) == ("sampled" in names)
    found = pd.read_csv(folder / "contrasts_r.csv")
    exact = (told["permutation"] == "exact").to_numpy()
    np.testing.assert_allclose(found["p"][exact], told["p"][exact], rtol=1e-12)
    wrong = told.assign(p=[told["p"].iloc[0] * 1.5, *told["p"].iloc[1:]])
    write_csv(folder / "expected.csv", wrong)
    assert subprocess.run(["Rscript", "contrasts.R"], cwd=folder, capture_output=True, check=False).returncode == 1
