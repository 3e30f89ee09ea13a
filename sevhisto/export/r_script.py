"""R: the values of the animals as tidy CSV, and a script that computes the contrasts from them again."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pandas as pd

from sevhisto.export.given import Given, formats, stamped_flags, told_of
from sevhisto.export.text import write_csv

COMPARED = ("estimate", "ci_low", "ci_high", "hedges_g", "ratio", "ratio_low", "ratio_high", "p_welch", "p")


@formats.register("r")
def r_script(given: Given, folder: Path) -> list[str]:
    """Write values.csv, contrasts.csv, expected.csv, motor.csv, and contrasts.R, which reads them."""
    comparisons = given.table("comparisons.csv")
    hidden = comparisons["method"].str.contains("within blocks") & ("block" not in given.people)
    compared = comparisons[~comparisons["method"].eq("not compared") & ~hidden]
    write_csv(folder / "values.csv", tidy(given))
    write_csv(folder / "contrasts.csv", weights(given))
    write_csv(folder / "expected.csv", expected(compared))
    motor = given.motor.assign(group=given.group_of(given.motor["animal"]))
    write_csv(folder / "motor.csv", motor[["animal", "group", "day", "score"]])
    (folder / "contrasts.R").write_bytes(files("sevhisto.export").joinpath("contrasts.R").read_bytes())
    told = {
        "that sevhisto did not compute": int((~hidden).sum()) - len(compared),
        "within blocks, which open with the key,": int(hidden.sum()),
    }
    return [f"{n} contrasts {which} are left out" for which, n in told.items() if n]


def tidy(given: Given) -> pd.DataFrame:
    """Return one row per animal and endpoint, with the animal's group (empty where it takes no part), block and role of the endpoint."""
    rows = given.animals
    blocks = given.people["block"].astype(str) if "block" in given.people else pd.Series(dtype=object)
    columns = {
        "animal": rows["animal"],
        "group": given.group_of(rows["animal"]),
        "block": told_of(rows["animal"], blocks),
        "endpoint": rows["endpoint"],
        "role": [given.roles.get(name, "") for name in rows["endpoint"]],
        **{name: rows[name] for name in ("panel", "zone", "marker", "metric", "value", "unit", "n_sections", "n_expected")},
        "flags": [stamped_flags(given, cell) for cell in rows["flags"]],
    }
    return pd.DataFrame(columns).reset_index(drop=True)


_PERMUTATION = r"(exact|Monte-Carlo) permutation(?: within blocks)? \((\d+)\)"


def expected(compared: pd.DataFrame) -> pd.DataFrame:
    """Return what sevhisto found for each contrast of comparisons.csv, how its permutation p was made, and of how many arrangements."""
    told = compared["method"].str.extract(_PERMUTATION)
    kind = told[0].map({"exact": "exact", "Monte-Carlo": "sampled"}).fillna("")
    found = compared[["endpoint", "contrast", "n_a", "n_b", *COMPARED]]
    return found.assign(permutation=kind, arrangements=pd.to_numeric(told[1]).astype("float64"))


def weights(given: Given) -> pd.DataFrame:
    """Return the weight of each group in each contrast: shares of the sides' means, b negative."""
    rows = [(c.name, g, sign / len(side)) for c in given.plan for side, sign in ((c.a, 1.0), (c.b, -1.0)) for g in side]
    return pd.DataFrame(rows, columns=["contrast", "group", "weight"])
