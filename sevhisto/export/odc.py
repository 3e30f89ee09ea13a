"""ODC-SCI: one row per animal, with a dictionary that says what every variable is."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from sevhisto.export.given import Given, formats
from sevhisto.export.odc_rules import DICTIONARY, MAX_NAME, REQUIRED, SUBJECT, findings
from sevhisto.export.text import number_text, write_csv
from sevhisto.types import Problem, SevhistoError

UNKNOWN = "not reported"
"""What stands where the study does not say."""
_GIVEN_BY: dict[str, Callable[[pd.Series[Any]], str]] = {
    "Species": lambda r: _said(r, "species"),
    "Strain": lambda r: _said(r, "strain"),
    "Animal_origin": lambda r: _said(r, "animal_origin", "origin"),
    "Age": lambda r: _said(r, "age"),
    "Weight": lambda r: _said(r, "weight_g"),
    "Sex": lambda r: _said(r, "sex"),
    "Laboratory": lambda r: _said(r, "laboratory"),
    "StudyLeader": lambda r: _said(r, "study_leader", "studyleader"),
    "Published": lambda r: _said(r, "published"),
    "Cause_of_Death": lambda r: _said(r, "cause_of_death"),
    "Injury_type": lambda r: _said(r, "injury_type"),
    "Injury_device": lambda r: _said(r, "injury_device"),
    "Injury_level": lambda r: _said(r, "injury_level"),
    "Injury_details": lambda r: _details(r),
}
"""What of animals.csv (the lab's own columns included, in any case) fills a required variable."""


@formats.register("odc-sci")
def odc_sci(given: Given, folder: Path) -> list[str]:
    """Write dataset.csv and dictionary.csv, held against the rules of the ODC-SCI first.

    Raises
    ------
    SevhistoError
        A rule is broken.
    """
    data, words = dataset(given)
    listed = dictionary(data, words)
    paths = {folder / "dataset.csv": data, folder / "dictionary.csv": listed}
    for path, frame in paths.items():
        write_csv(path, frame)
    wrong = findings(*(pd.read_csv(path, dtype=str, keep_default_na=False) for path in paths))
    if wrong:
        raise SevhistoError(
            [Problem("export --to odc-sci", line, "correct it in animals.csv, or name panel or marker else") for line in wrong]
        )
    gaps = [name for name in REQUIRED if (data[name] == UNKNOWN).all()]
    told = ", ".join(gaps)
    return [f"not known, and written as {UNKNOWN!r}: {told}; columns of these names in animals.csv are taken over"] if gaps else []


def dataset(given: Given) -> tuple[pd.DataFrame, dict[str, tuple[str, str, str]]]:
    """Return one row per animal of animals.csv, and of each variable title, unit and description.

    The ODC's variables come first, then survival, scores by day and every endpoint that has a value.
    """
    people = given.people.rename(columns=str.casefold)
    left_out = given.exclusions.set_index(SUBJECT)
    rows = []
    for animal, person in people.iterrows():
        facts = {name: said(person) for name, said in _GIVEN_BY.items()}
        facts |= {SUBJECT: str(animal), "Group": str(given.groups.get(animal, "")) or "none"}
        for column, empty in (("Exclusion_in_origin_study", "No exclusion"), ("Exclusion_reason", "not applicable")):
            facts[column] = str(left_out[column].get(animal, "")) or empty
        rows.append({name: facts[name] for name in REQUIRED})
    data = pd.DataFrame(rows, columns=list(REQUIRED))
    words = {name: (title, "g" if name == "Weight" else "", doc) for name, (title, doc) in REQUIRED.items()}
    measured, told = _measured(given, data[SUBJECT])
    return pd.concat([data, measured], axis=1), words | told


def _measured(given: Given, animals: pd.Series[str]) -> tuple[pd.DataFrame, dict[str, tuple[str, str, str]]]:
    """Return days of survival, scores by day, and endpoints, under names that the ODC takes."""
    test = given.config.motor.test
    found: list[tuple[str, str, str, str, Any]] = []
    if "dpi" in given.people and given.people["dpi"].notna().any():
        found.append(("Survival_dpi", "Survival", "d", "days from injury to sacrifice", given.people["dpi"]))
    if len(given.motor):
        scores = given.motor.pivot_table(index="animal", columns="day", values="score", aggfunc="mean")
        for day in scores:
            title = f"{test} on day {number_text(float(str(day)))}"
            found.append((title.replace(" on day ", "_day_"), title, "score", "motor score, mean of sides and raters", scores[day]))
    wide = given.wide.set_index("animal")
    for name in wide:
        title, unit = given.titles.get(str(name), (str(name), ""))
        role = given.roles.get(str(name))
        doc = f"{title}; made by sevhisto {given.made['version']}" + (f"; {role} endpoint" if role else "")
        found.append((str(name), title, unit, doc, wide[name]))
    columns, words, taken = {}, {}, set(REQUIRED)
    for name, title, unit, doc, values in found:
        column = values.reindex(animals.to_numpy()).reset_index(drop=True).astype("float64")
        if column.notna().any():
            short = variable_name(name, taken)
            columns[short], words[short] = column, (title, unit, doc)
    return pd.DataFrame(columns, index=range(len(animals))), words


def variable_name(name: str, taken: set[str]) -> str:
    """Return a name of letters, digits and ``_``, at most 60 characters, starting with a letter, and add it to those taken."""
    plain = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_") or "variable"
    plain = plain if plain[0].isalpha() else f"v_{plain}"
    if len(plain) > MAX_NAME or plain in taken:
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        plain = f"{plain[: MAX_NAME - 9]}_{digest}"
    taken.add(plain)
    return plain


def dictionary(data: pd.DataFrame, words: dict[str, tuple[str, str, str]]) -> pd.DataFrame:
    """Return the dictionary of a dataset; categories and ranges as they occur in it."""
    rows = []
    for name in data.columns:
        title, unit, doc = words[name]
        known = data[name] if pd.api.types.is_float_dtype(data[name]) else data[name][data[name] != UNKNOWN]
        values = pd.to_numeric(known, errors="coerce").dropna()
        numeric = name != SUBJECT and len(known) > 0 and len(values) == known.notna().sum()
        kinds = sorted(set(data[name])) if not numeric else []
        free = name in (SUBJECT, "Exclusion_reason", "Exclusion_in_origin_study", "Injury_details") or len(kinds) > 20
        kind = "Numeric" if numeric else "Free Text" if free else "Categorical"
        permitted = ", ".join(kinds) if kind == "Categorical" else ""
        low, high = (number_text(float(values.min())), number_text(float(values.max()))) if numeric else ("", "")
        rows.append((name, title, unit, doc, kind, permitted, low, high, ""))
    return pd.DataFrame(rows, columns=list(DICTIONARY))


def _said(row: pd.Series[Any], *names: str) -> str:
    for name in names:
        value = row.get(name, "")
        text = number_text(value) if isinstance(value, float) else str(value).strip()
        if text:
            return text
    return UNKNOWN


def _details(row: pd.Series[Any]) -> str:
    force, displacement = _said(row, "force_kdyn"), _said(row, "displacement_um")
    told = [f"force {force} kdyn" if force != UNKNOWN else "", f"displacement {displacement} um" if displacement != UNKNOWN else ""]
    return "; ".join(t for t in told if t) or UNKNOWN
