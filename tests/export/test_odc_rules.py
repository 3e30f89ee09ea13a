"""The rules of the ODC-SCI: a sound pair passes, every breach is told."""

from __future__ import annotations

import pandas as pd
import pytest

from sevhisto.export.odc import variable_name
from sevhisto.export.odc_rules import DICTIONARY, REQUIRED, findings


def pair(n: int = 2) -> tuple[pd.DataFrame, pd.DataFrame]:
    data = pd.DataFrame({name: [f"{name}{i}" for i in range(n)] for name in REQUIRED})
    words = pd.DataFrame([(name, "title", "", "what it is", "Free Text", "", "", "", "") for name in REQUIRED], columns=list(DICTIONARY))
    return data, words


def test_a_sound_pair_has_no_finding():
    assert findings(*pair()) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d, w: (d.drop(columns="Sex"), w), ["required variable not in the dataset: Sex", "in the dictionary only: Sex"]),
        (lambda d, w: (d.assign(extra="1"), w), ["not in the dictionary: extra"]),
        (lambda d, w: (d.assign(Age=""), w), ["blank column: Age"]),
        (lambda d, w: (d.assign(Subject_ID=["", "b"]), w), ["no subject: row 1"]),
        (lambda d, w: (pd.concat([d, d.iloc[:1]], ignore_index=True), w), ["duplicated row: 1", "duplicated row: 3"]),
        (lambda d, w: (pd.concat([d, d.iloc[:1] * 0], ignore_index=True), w), ["blank row: 3", "no subject: row 3"]),
        (lambda d, w: (d.set_axis([*d.columns[:-1], "Age"], axis=1), w), ["duplicated header: Age"]),
        (lambda d, w: (d, w.assign(Description=["", *w["Description"][1:]])), ["no description: Subject_ID"]),
        (lambda d, w: (d, w.assign(Title=["", *w["Title"][1:]])), ["no title: Subject_ID"]),
        (lambda d, w: (d, w.drop(columns="Comments")), ["dictionary has no column Comments"]),
        (lambda d, w: (d, w.assign(DataType="number")), ["unknown data type 'number': Sex"]),
        (lambda d, w: (d.rename(columns={"Sex": "a b"}), w.replace({"Sex": "a b"})), ["starts with a letter: a b"]),
        (lambda d, w: (d.rename(columns={"Sex": "x" * 61}), w.replace({"Sex": "x" * 61})), ["60 characters at most"]),
    ],
)
def test_every_breach_is_told(change, said):
    found = findings(*change(*pair()))
    assert all(any(words in line for line in found) for words in said), found


def test_names_of_variables_are_short_plain_and_apart():
    taken: set[str] = set()
    names = [variable_name(n, taken) for n in ("main_0-250_x", "main_0_250_x", "9 lives", "y" * 80, "y" * 81, "=1")]
    assert names[0] == "main_0_250_x" and names[2] == "v_9_lives" and names[5] == "v_1"
    assert len(set(names)) == 6 and max(map(len, names)) <= 60
