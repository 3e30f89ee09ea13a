"""What is asked of the program, beside what was measured: each accuracy script hands in its lines, accuracy.py puts them together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

OUT = Path(__file__).parent / "out"
COLUMNS = ("on", "figure", "asked", "measured", "plain", "met")


class Asked:
    """The lines of one script.

    `plain` is what an engineer writes in a day: Otsu and watershed of scikit-image, on the same images.
    """

    def __init__(self, script: str) -> None:
        self._path = OUT / f"{Path(script).stem}.asked.csv"
        self._rows: list[dict[str, str]] = []

    def line(self, on: str, figure: str, asked: str, measured: str, met: bool, plain: str = "") -> None:
        """Add one line."""
        row = (on, figure, asked, measured, plain, "met" if met else "**not met**")
        self._rows.append(dict(zip(COLUMNS, row, strict=True)))

    def close(self) -> None:
        """Print the lines and keep them for accuracy.py."""
        OUT.mkdir(exist_ok=True)
        table = pd.DataFrame(self._rows, columns=list(COLUMNS))
        table.to_csv(self._path, index=False)
        show("asked", table)


def handed_in(script: str) -> pd.DataFrame:
    """Return the lines that a script handed in when it last ran."""
    return pd.read_csv(OUT / f"{script}.asked.csv", keep_default_na=False)


def show(title: str, table: pd.DataFrame) -> None:
    """Print a table as Markdown."""
    print(f"\n### {title}\n")
    print("| " + " | ".join(map(str, table.columns)) + " |\n|" + " --- |" * len(table.columns))
    for row in table.to_numpy():
        print("| " + " | ".join(map(str, row)) + " |", flush=True)


def mean_and_worst(values: Sequence[float] | pd.Series, form: str = "+.2f") -> str:
    """Return mean and worst of errors, in words."""
    errors = pd.Series(values, dtype=float).dropna()
    if errors.empty:
        return "none"
    return f"{errors.mean():{form}} ({errors.loc[errors.abs().idxmax()]:{form}})"
