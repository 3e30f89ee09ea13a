"""What animals.csv says of each animal's treatment, against the protocols of study.toml. Tables in, problems out."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from sevhisto.config import ProtocolSettings, StudyConfig
from sevhisto.io.crosscheck import yes_no
from sevhisto.io.sheets import PENDING
from sevhisto.types import Problem

OF_INFUSIONS = ("delivered_volume_ul", "infusion_h")
_NOT_NEGATIVE = (*OF_INFUSIONS, "delivered_dose", "doses_given", "treatment_start_h", "weight_g", "death_day")


def delivery_problems(text: pd.DataFrame, typed: pd.DataFrame, config: StudyConfig | None) -> list[Problem]:
    """Return what cannot be: negative amounts, more injections than planned, more volume than loaded, a dose per kg without a weight.

    Parameters
    ----------
    text, typed : animals.csv as text, and with its numbers as float64 (NaN where empty)
    """
    found = []
    for row, (_, animal), (_, cells) in zip(text.index, typed.iterrows(), text.iterrows(), strict=True):
        protocol = config.protocols.get(str(cells["protocol"])) if config is not None else None
        for column, what, remedy in _wrong(animal, cells, protocol):
            found.append(Problem(f"animals.csv, row {row}, column {column}", what, remedy))
    return found


def _wrong(animal: pd.Series, cells: pd.Series, protocol: ProtocolSettings | None) -> Iterator[tuple[str, str, str]]:
    values = {c: float(animal[c]) for c in _NOT_NEGATIVE if c in animal.index and math.isfinite(animal[c])}
    for column, value in values.items():
        if value < 0 or (column in ("weight_g", "infusion_h") and value == 0):
            yield column, f"{value:g} cannot be", "correct it, or leave it empty where it is not known"
    patent = str(cells.get("patent", ""))
    if patent != PENDING and yes_no(patent) is None:
        yield "patent", f"{patent!r} is neither yes nor no", "write no where the catheter was blocked, or leave it empty"
    if protocol is None:
        return
    planned, pump = len(protocol.injections_h), protocol.infusion
    given = values.get("doses_given")
    if given is not None and (pump is not None or given > planned or given != int(given)):
        yield "doses_given", f"{given:g} of {planned} planned injections", "give the number of those that were given, from the first on"
    for column in OF_INFUSIONS:
        if pump is None and column in values and protocol.total_dose:
            yield column, "stands for an animal that was injected", "leave it empty, or correct the protocol"
    volume = values.get("delivered_volume_ul")
    if pump is not None and volume is not None and pump.loaded_volume_ul is not None and volume > pump.loaded_volume_ul:
        yield "delivered_volume_ul", f"{volume:g} ul is more than the {pump.loaded_volume_ul:g} ul loaded", "correct one of them"
    if protocol.per_kg and protocol.total_dose and "weight_g" not in values and "delivered_dose" not in values:
        yield "weight_g", "is empty, but the protocol's dose is per kg", "give the body weight at the first dose"
