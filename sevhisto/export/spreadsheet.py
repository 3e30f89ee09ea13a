"""Excel: one workbook, a sheet per table, with a dictionary of every column and flag."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from sevhisto.export.dictionary import WIDE, dictionary
from sevhisto.export.given import Given, formats
from sevhisto.export.needed import needed
from sevhisto.export.text import printable
from sevhisto.registry import FLAGS

LEFT_OUT = ("provenance.csv", "records.csv", "odc_sci_exclusions.csv", "specifications.csv", "mediation_sensitivity.csv")
"""Tables that are for programs: too long for a person, or hashes."""
MAX_ROWS, MAX_CELL = 1_048_576, 32_767
WIDTH = (8, 48)
_PLAIN = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False, "constant_memory": True}


@formats.register("xlsx")
def xlsx(given: Given, folder: Path) -> list[str]:
    """Write study.xlsx: About, the tables that a person reads, Dictionary and Flags; headers stay in view, text is never a formula."""
    writer = needed("xlsxwriter")
    notes: list[str] = []
    with writer.Workbook(str(folder / "study.xlsx"), _PLAIN) as book:
        book.set_properties({"created": datetime.fromisoformat(given.made["finished"]).replace(tzinfo=None)})  # not the time of writing
        head = book.add_format({"bold": True, "bottom": 1, "valign": "top"})
        about = book.add_worksheet("About")
        about.set_column(0, 0, 110)
        for i, line in enumerate([*given.notes(), "Every column is explained on the sheet Dictionary, every flag on Flags."]):
            about.write_string(i, 0, printable(line))
        for name, frame in _readable(given).items():
            cut = frame.iloc[: MAX_ROWS - 1]
            if len(cut) < len(frame):
                notes.append(f"{name}: rows after {MAX_ROWS - 1:,} do not fit on a sheet; see the Parquet export")
            _sheet(book.add_worksheet(sheet_name(name)), cut, head, frozen=_frozen(cut))
    return notes


def _readable(given: Given) -> dict[str, pd.DataFrame]:
    found = {WIDE: given.wide.assign(group=given.group_of(given.wide["animal"]))}
    found[WIDE] = found[WIDE][["animal", "group", *given.wide.columns[1:]]]
    found |= {name: given.tables[name][1] for name in given.tables if name not in LEFT_OUT}
    flags = pd.DataFrame([(f.name, f.level, f.meaning) for f in FLAGS.values()], columns=["flag", "of", "meaning"])
    return {**found, "dictionary": dictionary(given, LEFT_OUT), "flags": flags}


def sheet_name(table: str) -> str:
    """Return the name of a table's sheet: ``Animals wide`` for animals_wide.csv; 31 characters at most, none that Excel refuses."""
    plain = re.sub(r"[\[\]:*?/\\]", " ", table.rpartition(".")[0] or table).replace("_", " ")
    return (plain[:1].upper() + plain[1:])[:31]


def _frozen(frame: pd.DataFrame) -> int:
    """Return how many columns stay in view: those of the leading text, three at most."""
    texts = [not pd.api.types.is_numeric_dtype(frame.iloc[:, i]) for i in range(frame.shape[1])]
    return min(3, texts.index(False) if False in texts else 1)


def _sheet(sheet: Any, frame: pd.DataFrame, head: Any, frozen: int) -> None:
    columns = [frame.iloc[:, i].tolist() for i in range(frame.shape[1])]
    sheet.freeze_panes(1, frozen)
    for i, name in enumerate(frame.columns):
        sheet.set_column(i, i, _width(str(name), columns[i]))
        sheet.write_string(0, i, printable(name), head)
    for row, values in enumerate(zip(*columns, strict=True), 1):
        for i, value in enumerate(values):
            if isinstance(value, bool):
                sheet.write_boolean(row, i, value)
            elif isinstance(value, (int, float)):
                if value == value:
                    sheet.write_number(row, i, value)
            elif value:
                sheet.write_string(row, i, printable(value)[:MAX_CELL])
    if len(frame.columns):
        sheet.autofilter(0, 0, len(frame), len(frame.columns) - 1)


def _width(name: str, values: Sequence[Any]) -> int:
    longest = max((len(str(v)) for v in values[:200] if isinstance(v, str)), default=0)
    return int(min(max(len(name) + 3, longest + 1, WIDTH[0]), WIDTH[1]))
