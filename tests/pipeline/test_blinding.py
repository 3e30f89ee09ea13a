"""Nothing that is written before the key is opened tells a name, however telling the names are: benchmarks/blinding.py on a tiny study."""

from __future__ import annotations

import base64
import importlib.util
import zipfile
from pathlib import Path
from types import ModuleType

import pandas as pd

from tests.pipeline.conftest import Study


def _load() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "blinding.py"
    spec = importlib.util.spec_from_file_location("for_test_blinding", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


blinding = _load()


def test_no_file_and_no_word_tells_a_name_even_where_slides_fail(fresh: Study) -> None:
    blinding.hostile(fresh.root)
    blinding.damage(fresh.root)
    blinding.draw(fresh.root)
    heard = blinding.use(fresh.root)
    assert blinding.leaks(fresh.root) == {}
    names = blinding.names_of(fresh.root)
    assert len(names) > 15 and not [(c, n) for c, said in heard.items() for n in names if n.lower() in said.lower()]
    status = fresh.table("status.csv")
    assert status.loc[status["status"] == "failed", "reason"].str.contains("S-").sum() >= 4  # the file is named, by its code
    assert {"agreement.csv", "differences.csv", "report.html", "specifications.csv", "study.pzfx", "study.xlsx"} <= {
        p.name for p in fresh.results.rglob("*")
    }
    assert (fresh.root / "exclusions.jsonl").is_file()


def test_the_search_finds_what_it_should(tmp_path: Path) -> None:
    (tmp_path / "results" / "key").mkdir(parents=True)
    for name, text in (("animals", "animal,protocol\nTier1,Armgruppe\n"), ("slides", "file,animal\nbild_7.tif,Tier1\n")):
        (tmp_path / f"{name}.csv").write_text(text, "utf-8")
    (tmp_path / "results" / "key" / "key.csv").write_text("Tier1", "utf-8")
    with zipfile.ZipFile(tmp_path / "results" / "a.npz", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("x", "x" * 99 + "tier1" + "x" * 99)
    pd.DataFrame({"group": ["Armgruppe"]}).to_parquet(tmp_path / "results" / "b.parquet", compression="zstd")
    picture = base64.b64encode(b"..." + "Bild_7".encode("utf-16-le")).decode()
    (tmp_path / "results" / "c.html").write_text(f'<img src="data:image/png;base64,{picture}">', "utf-8")
    assert blinding.leaks(tmp_path) == {"results/a.npz": ["Tier1"], "results/b.parquet": ["Armgruppe"], "results/c.html": ["bild_7"]}
