"""The rules of the Open Data Commons for spinal cord injury (ODC-SCI), as a checker of a dataset and its dictionary.

Rules by the ODC's own quality control app (odcDataChecker, read in 2026) and the pages "Data format", "Required variables" and "Data
dictionary" of fdilab.gitbook.io/open-data-commons. Equal columns are a warning there, not an error, and are not looked for here.
"""

from __future__ import annotations

import re

import pandas as pd

SUBJECT = "Subject_ID"
REQUIRED = {
    SUBJECT: ("Subject", "unique id of the animal"),
    "Species": ("Species", "species"),
    "Strain": ("Strain", "strain"),
    "Animal_origin": ("Animal origin", "where the animal came from"),
    "Age": ("Age", "age at injury, as the lab wrote it"),
    "Weight": ("Weight", "body weight (g), as the lab wrote it"),
    "Sex": ("Sex", "sex: f or m"),
    "Group": ("Group", "treatment group; none for an animal that was given no protocol"),
    "Laboratory": ("Laboratory", "laboratory that did the experiment"),
    "StudyLeader": ("Study leader", "person who led the study"),
    "Published": ("Published", "where the data were published before"),
    "Exclusion_in_origin_study": ("Exclusion in the original study", "Total exclusion, or what of the animal was left out; No exclusion"),
    "Exclusion_reason": ("Reason of exclusion", "why it was left out"),
    "Cause_of_Death": ("Cause of death", "cause of death, where it was not sacrifice as planned"),
    "Injury_type": ("Injury type", "kind of injury"),
    "Injury_device": ("Injury device", "device that made the injury"),
    "Injury_level": ("Injury level", "spinal level of the injury"),
    "Injury_details": ("Injury details", "impact force and displacement as measured"),
}
"""Variables that every dataset must have, with title and description."""
DICTIONARY = (
    *("VariableName", "Title", "Unit_of_Measure", "Description", "DataType"),
    *("PermittedValues", "MinimumValue", "MaximumValue", "Comments"),
)
"""Columns of a dictionary."""
DATA_TYPES = ("Numeric", "Categorical", "Ordinal", "Date", "Free Text")
MAX_NAME = 60
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.]*", re.ASCII)
_NOTHING = ("", "na", "nan")


def findings(dataset: pd.DataFrame, dictionary: pd.DataFrame) -> list[str]:
    """Return every breach of a rule, empty where there is none.

    Parameters
    ----------
    dataset, dictionary : as read from CSV with ``dtype=str, keep_default_na=False``
    """
    headers = [str(c) for c in dataset.columns]
    found = [f"blank header: column {i}" for i, h in enumerate(headers, 1) if not h.strip() or h.startswith("Unnamed:")]
    found += [f"duplicated header: {h}" for h in sorted({h for h in headers if headers.count(h) > 1})]
    blank = dataset.map(lambda cell: str(cell).strip().casefold() in _NOTHING)
    found += [f"blank row: {i}" for i in range(1, len(dataset) + 1) if blank.iloc[i - 1].all()]
    found += [f"blank column: {h}" for i, h in enumerate(headers) if blank.iloc[:, i].all()]
    found += [f"duplicated row: {i + 1}" for i in dataset.reset_index(drop=True).index[dataset.duplicated(keep=False).to_numpy()]]
    found += [f"required variable not in the dataset: {name}" for name in REQUIRED if name not in headers]
    if SUBJECT in headers:
        found += [f"no subject: row {i}" for i, cell in enumerate(dataset[SUBJECT], 1) if not str(cell).strip()]
    return found + _of_dictionary(headers, dictionary)


def _of_dictionary(headers: list[str], dictionary: pd.DataFrame) -> list[str]:
    lacking = [f"dictionary has no column {name}" for name in DICTIONARY if name not in dictionary.columns]
    if lacking:
        return lacking
    names = [str(n) for n in dictionary["VariableName"]]
    found = [f"not in the dictionary: {h}" for h in headers if h not in names]
    found += [f"in the dictionary only: {n}" for n in names if n not in headers]
    found += [f"twice in the dictionary: {n}" for n in sorted({n for n in names if names.count(n) > 1})]
    for row in dictionary.to_dict("records"):
        name = str(row["VariableName"])
        found += [f"no {what.lower()}: {name}" for what in ("Title", "Description") if not str(row[what]).strip()]
        if not _NAME.fullmatch(name):
            found.append(f"a name is letters, digits, _ and . and starts with a letter: {name}")
        if len(name) > MAX_NAME:
            found.append(f"a name has {MAX_NAME} characters at most: {name}")
        if row["DataType"] not in DATA_TYPES:
            found.append(f"unknown data type {row['DataType']!r}: {name}")
    return found
