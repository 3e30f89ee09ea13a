from __future__ import annotations

import math
from pathlib import Path

import pytest

from sevhisto.io.sheets import numbers, pending, read_sheet
from sevhisto.schema import ANIMALS_SHEET, MOTOR


def sheet(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "motor.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def told(tmp_path: Path, text: str | bytes, expected: str) -> str:
    _, problems = read_sheet(sheet(tmp_path, text), MOTOR)
    assert len(problems) == 1, problems
    assert expected in str(problems[0])
    return str(problems[0])


def test_ids_stay_text(tmp_path: Path) -> None:
    frame, problems = read_sheet(sheet(tmp_path, "animal,day,score\n1E5,1,0\n007,1,0\nNA,1,0\nnull,1,0\n"), MOTOR)
    assert not problems
    assert list(frame["animal"]) == ["1E5", "007", "NA", "null"]
    assert list(frame.index) == [2, 3, 4, 5]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_encodings_and_delimiters(tmp_path: Path, encoding: str, delimiter: str, newline: str) -> None:
    rows = [["animal", "day", "score", "rater"], ["Räte 1", "1", "2.5", "x"]]
    text = newline.join(delimiter.join(row) for row in rows) + newline
    frame, problems = read_sheet(sheet(tmp_path, text.encode(encoding)), MOTOR)
    assert not problems
    assert frame.loc[2].to_dict() == {"animal": "Räte 1", "day": "1", "score": "2.5", "rater": "x"}


def test_form_faults(tmp_path: Path) -> None:
    assert "row 2" in told(tmp_path, "animal,day,score\nRäte,1,2\n".encode("latin-1"), "neither UTF-8")
    told(tmp_path, b"PK\x03\x04rest", "Excel")
    told(tmp_path, "", "is empty")
    assert "row 3" in told(tmp_path, "animal,day,score\nR1,1,2\nR2,1,2,3\n", "has 4 fields, the header has 3")
    assert "row 2" in told(tmp_path, "animal,day,score\nR1,1,2,\n", "has 4 fields")
    assert "'day'" in told(tmp_path, "animal,score\nR1,1\n", "missing")
    assert "did you mean 'rater'" in told(tmp_path, "animal,day,score,ratr\nR1,1,2,x\n", "not a column")
    assert "column day" in told(tmp_path, "animal,day,score,day\nR1,1,2,3\n", "stands 2 times")
    told(tmp_path, "animal,day,score,\nR1,1,2,3\n", "has no name")
    assert "row 3" in told(tmp_path, 'animal,day,score\nR1,1,2\n"R2,1,2\nR3,1,2\n', "never closed")


def test_blank_rows_and_quoted_lines(tmp_path: Path) -> None:
    frame, problems = read_sheet(sheet(tmp_path, 'animal,day,score,rater\n\n,,,\nR1,1,2,"a\nb"\nR2,1,2,c\n'), MOTOR)
    assert not problems
    assert list(frame.index) == [4, 6]


def test_open_ended_sheet_keeps_the_labs_columns(tmp_path: Path) -> None:
    path = tmp_path / "animals.csv"
    path.write_text("animal,protocol,tag\nR1,a,blue\n")
    frame, problems = read_sheet(path, ANIMALS_SHEET)
    assert not problems and frame.loc[2, "tag"] == "blue"
    path.write_text("animal,protocol,DPI\nR1,a,3\n")
    assert "write 'dpi'" in str(read_sheet(path, ANIMALS_SHEET)[1][0])


def test_numbers(tmp_path: Path) -> None:
    text = "animal,day,score\nR1,1,\nR2,1e1,-2.5\nR3,?,.5\n"
    frame, problems = numbers(read_sheet(sheet(tmp_path, text), MOTOR)[0], MOTOR)
    assert not problems
    assert math.isnan(frame.loc[2, "score"]) and list(frame["score"][1:]) == [-2.5, 0.5]
    assert [p.where for p in pending(read_sheet(sheet(tmp_path, text), MOTOR)[0], "motor.csv")] == ["motor.csv, row 4, column day"]
    bad = 'animal,day,score\nR1,1,"2,5"\nR2,1,"1,500"\nR3,1,nan\nR4,1,inf\nR5,1,1_0\nR6,1,1e999\n'
    _, problems = numbers(read_sheet(sheet(tmp_path, bad), MOTOR)[0], MOTOR)
    assert [p.where for p in problems] == [f"motor.csv, row {n}, column score" for n in range(2, 8)]


def test_decimal_comma_with_semicolons(tmp_path: Path) -> None:
    frame, problems = numbers(read_sheet(sheet(tmp_path, "animal;day;score\nR1;1;2,5\nR2;1;0,325\nR3;1;1,500\n"), MOTOR)[0], MOTOR)
    assert list(frame["score"][:2]) == [2.5, 0.325]
    assert len(problems) == 1 and "two ways" in problems[0].what and math.isnan(frame["score"].iloc[2])
