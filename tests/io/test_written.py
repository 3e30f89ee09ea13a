"""Tables as the program wrote them: the fast reading gives what the careful one does, and leaves to it whatever somebody changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sevhisto.io import store
from sevhisto.io.written import as_written
from sevhisto.schema import ANIMALS
from sevhisto.types import SevhistoError

WORD = st.text(st.characters(codec="utf-8", exclude_characters="\0\r", exclude_categories=("Cs",)), max_size=12)
NUMBER = st.floats(allow_infinity=False, width=64)


def table(rows: list[tuple[str, str, float, int]]) -> pd.DataFrame:
    """One animal table, whose flags may be any text."""
    parts = [(f"R{i}", "A", "core", marker, "m", value, "", n, n, flags) for i, (marker, flags, value, n) in enumerate(rows)]
    return pd.DataFrame(parts, columns=ANIMALS.names)


def both(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    fast = store.read_table(path, ANIMALS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "as_written", lambda *_: None)
        return fast, store.read_table(path, ANIMALS)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(WORD, WORD, NUMBER, st.integers(0, 2**40)), max_size=8))
def test_fast_and_careful_reading_agree(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, float, int]]) -> None:
    path = tmp_path_factory.mktemp("written") / "animals.csv"
    store.write_table(path, table(rows), ANIMALS)
    assert as_written(path, ANIMALS) is not None
    fast, careful = both(path)
    pd.testing.assert_frame_equal(fast, careful, check_exact=True)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("R0,A", "R0;A"),
        (",1.5,", ",1.5e,"),
        (",1.5,", ",inf,"),
        (",1.5,", ",?,"),
        (",7,7,", ",7.5,7,"),
        (",7,7,f", ",7,7"),
        (",7,7,f", ",7,7,f,x"),
        ("R0,A", ",,,,,,,,,\nR0,A"),
        ("animal,", "Animal,"),
        ("animal,", "panel,"),
        ("R0,A", '"R0,A'),
    ],
)
def test_what_was_changed_is_read_with_care(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "animals.csv"
    store.write_table(path, table([("m", "f", 1.5, 7)]), ANIMALS)
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    assert as_written(path, ANIMALS) is None
    if new.startswith(",,") or "?" in new:
        assert list(store.read_table(path, ANIMALS)["animal"]) == ["R0"]
    else:
        with pytest.raises(SevhistoError):
            store.read_table(path, ANIMALS)


def test_a_word_is_in_memory_once(tmp_path: Path) -> None:
    store.write_table(tmp_path / "animals.csv", table([("marker of many rows", "f", np.nan, 1)] * 50), ANIMALS)
    read = as_written(tmp_path / "animals.csv", ANIMALS)
    assert read is not None and len({id(word) for word in read["marker"]}) == 1
