"""What each animal was exposed to: its delivery from protocol and animals.csv, and what one compartment makes of it (exposure.csv).

All of it is a model. Half-lives are known from mice and labelled vesicles only, so everything is given for a range of them.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sevhisto.compare import kinetics
from sevhisto.compare.kinetics import Delivery
from sevhisto.compare.protocols import duration_h, mode
from sevhisto.config import ContrastSettings, ExposureSettings, ProtocolSettings, StudyConfig
from sevhisto.registry import join_flags
from sevhisto.schema import EXPOSURE

_NAN = float("nan")


@dataclass(frozen=True)
class Given:
    """What one animal got: the delivery in the protocol's unit, the planned dose, what the delivered one rests on, and flags."""

    delivery: Delivery
    planned: float
    source: str
    administrations: int
    flags: frozenset[str]


def given(protocol: ProtocolSettings, animal: pd.Series[float]) -> Given:
    """Return what an animal got.

    Parameters
    ----------
    protocol : ProtocolSettings
    animal : Series
        Its row of animals.csv; weight_g, treatment_start_h, delivered_dose, doses_given, infusion_h, delivered_volume_ul and patent are
        used where they are known. ``treatment_start_h`` moves the whole schedule.
    """

    def known(column: str) -> float:
        return float(animal.get(column, _NAN))

    planned = protocol.total_dose * (known("weight_g") / 1000 if protocol.per_kg and protocol.total_dose else 1.0)
    first = min(protocol.injections_h) if protocol.infusion is None else protocol.infusion.start_h
    shift = known("treatment_start_h") - first if math.isfinite(known("treatment_start_h")) else 0.0
    share, source, flags = _share(protocol, animal)
    dose = planned * share
    if math.isfinite(known("delivered_dose")):
        dose, source = known("delivered_dose"), "delivered_dose"
        flags -= {"dose_unknown", "delivery_unverified"}
    if protocol.total_dose == 0:
        dose, planned, flags = 0.0 if math.isnan(dose) else dose, 0.0, flags - {"dose_unknown", "delivery_unverified"}
    if math.isnan(dose):
        flags.add("dose_unknown")
    if protocol.infusion is not None:
        begin = protocol.infusion.start_h + shift
        ran = known("infusion_h") if math.isfinite(known("infusion_h")) else protocol.infusion.duration_h
        return Given(Delivery((), (), begin, begin + ran, dose), planned, source, 1, frozenset(flags))
    n = len(protocol.injections_h) if math.isnan(known("doses_given")) else int(known("doses_given"))
    times = tuple(t + shift for t in sorted(protocol.injections_h)[:n])
    begin = first + shift
    lasted = duration_h(protocol.model_copy(update={"injections_h": list(times)})) if n else 0.0
    delivery = Delivery(times, (dose / n,) * n if n else (), begin, begin + lasted)
    return Given(delivery, planned, source, n, frozenset(flags))


def _share(protocol: ProtocolSettings, animal: pd.Series[float]) -> tuple[float, str, set[str]]:
    """Return which share of the planned dose was delivered, from what that is known, and flags."""
    pump = protocol.infusion
    if pump is None:
        n, planned = float(animal.get("doses_given", _NAN)), len(protocol.injections_h)
        return (1.0, "protocol", set()) if math.isnan(n) else (n / planned, "doses_given", set())
    lost = str(animal.get("patent", "")).strip().casefold() in ("no", "n", "false", "0")
    flags = {"patency_lost"} if lost else set()
    volume, ran = float(animal.get("delivered_volume_ul", _NAN)), float(animal.get("infusion_h", _NAN))
    if math.isfinite(volume) and pump.volume_ul is not None:
        return volume / pump.volume_ul, "delivered_volume_ul", flags
    if math.isfinite(ran):
        return ran / pump.duration_h, "infusion_h", flags | {"delivery_unverified"}
    return (_NAN, "protocol", flags | {"dose_unknown"}) if lost else (1.0, "protocol", flags | {"delivery_unverified"})


def half_lives(settings: ExposureSettings) -> list[float]:
    """Return the half-lives that everything is told for (min): as set, shortest, longest."""
    return list(dict.fromkeys((settings.half_life_min, *settings.half_life_range_min)))


def plateau(config: StudyConfig, half_life_h: float) -> float:
    """Return what the study's longest delivery tends to (dose units): its planned dose over its duration over k; the dose where none lasts.

    Levels are set relative to it. Doses per kg are taken for 0.25 kg; 0 where no protocol has a dose.
    """
    treated = [p for p in config.protocols.values() if p.total_dose > 0]
    if not treated:
        return 0.0
    longest = max(treated, key=duration_h)
    dose = longest.total_dose * (0.25 if longest.per_kg else 1.0)
    lasts = duration_h(longest)
    return dose if lasts == 0 else dose / lasts * half_life_h / math.log(2)


def exposure(animals: pd.DataFrame, groups: pd.Series[str], config: StudyConfig) -> pd.DataFrame:
    """Return `schema.EXPOSURE`: one row per animal that was given something, and half-life.

    Parameters
    ----------
    animals : DataFrame
        animals.csv, indexed by animal.
    groups : Series
        Animal to protocol.
    """
    rows, groups = [], groups[[not config.protocols[name].untreated for name in groups]]
    for (animal, person), name in zip(animals.loc[list(groups.index)].iterrows(), groups, strict=True):
        protocol = config.protocols[name]
        got = given(protocol, person)
        who = {"animal": animal, "protocol": name, "mode": mode(protocol), **_doses(protocol, got, person, config)}
        for minutes in half_lives(config.exposure):
            rows.append({**who, "half_life_min": minutes, **_profile(got.delivery, config, minutes / 60)})
    return EXPOSURE.conform(pd.DataFrame(rows, columns=EXPOSURE.names))


def _doses(protocol: ProtocolSettings, got: Given, person: pd.Series[float], config: StudyConfig) -> dict[str, object]:
    d, weight = got.delivery, float(person.get("weight_g", _NAN))
    delivered = 100 * d.dose / got.planned if got.planned else _NAN
    flags = set(got.flags)
    if math.isfinite(delivered) and abs(delivered - 100) > config.comparison.dose_tolerance_pct:
        flags.add("dose_off_plan")
    if d.end_h <= d.start_h and d.dose:
        flags.add("single_injection")
    other = _NAN
    if protocol.total_dose == 0:
        other = 0.0
    elif protocol.other_dose is not None:
        other = protocol.other_dose / protocol.total_dose * d.dose
    lost = config.exposure.pump_half_life_h
    active = kinetics.active_share(lost, d.end_h - d.start_h) if lost and mode(protocol) == "infusion" else 1.0
    return {
        "administrations": got.administrations,
        "start_h": d.start_h,
        "duration_h": d.end_h - d.start_h,
        "dose_unit": protocol.dose_unit,
        "dose": d.dose,
        "dose_source": got.source,
        "delivered_pct": delivered,
        "particles": d.dose if protocol.dose_unit == "particles" else other,
        "ug": d.dose if protocol.dose_unit == "ug" else other,
        "dose_per_kg": d.dose / weight * 1000,
        "active_pct": 100 * active,
        "flags": join_flags(flags),
    }


def _profile(delivery: Delivery, config: StudyConfig, half_life_h: float) -> dict[str, float]:
    top = plateau(config, half_life_h)
    level = config.exposure.level_share * top
    nothing = dict.fromkeys(("peak", "trough", "time_above_h", "auc", "residence_h", "uptake_h"), _NAN)
    if math.isnan(delivery.dose):
        return {**nothing, "level": level}
    s = kinetics.segments(delivery, half_life_h)
    return {
        "peak": kinetics.peak(s),
        "trough": kinetics.trough(s, delivery),
        "level": level,
        "time_above_h": kinetics.time_above(s, level) if level > 0 else 0.0,
        "auc": kinetics.area(s),
        "residence_h": kinetics.residence(s, delivery),
        "uptake_h": kinetics.uptake(s, config.exposure.half_uptake_share * top) if top > 0 else 0.0,
    }


def profiles(config: StudyConfig, n: int = 400) -> pd.DataFrame:
    """Return the amount in circulation over time of every protocol with a dose, as planned: protocol, half_life_min, hour, amount."""
    parts = []
    treated = {name: p for name, p in config.protocols.items() if p.total_dose > 0}
    deliveries = {name: given(p, pd.Series({"weight_g": 250.0})).delivery for name, p in treated.items()}
    end = 1.15 * max([1.0, *(d.end_h for d in deliveries.values())])
    for name, delivery in deliveries.items():
        # just before and at each injection, so that the jumps are upright
        jumps = np.repeat(np.array(delivery.times_h), 2) - np.tile([1e-6, 0.0], len(delivery.times_h))
        hours = np.unique(np.concatenate([np.linspace(0, end, n), jumps]))
        for minutes in half_lives(config.exposure):
            amount = kinetics.segments(delivery, minutes / 60).at(hours)
            parts.append(pd.DataFrame({"protocol": name, "half_life_min": minutes, "hour": hours, "amount": amount}))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["protocol", "half_life_min", "hour", "amount"])


def dose_differences(table: pd.DataFrame, config: StudyConfig, groups: Collection[str]) -> list[str]:
    """Return in which ways groups that were given a dose differ in what they got, one sentence each; none where they match.

    Parameters
    ----------
    table : DataFrame
        As `exposure` returns it.
    groups : the protocols to compare with each other
    """
    once = table.drop_duplicates("animal")
    once = once[once["protocol"].isin([g for g in groups if config.protocols[g].total_dose > 0])]
    means = once.groupby("protocol", sort=False)[["particles", "ug"]].mean()
    said = []
    for unit in ("particles", "ug"):
        known = means[unit].dropna()
        if len(known) < 2:
            continue
        low, high = known.idxmin(), known.idxmax()
        apart = 100 * float(1 - known.min() / known.max()) if known.max() > 0 else 0.0
        if apart > config.comparison.dose_tolerance_pct:
            told = f"{low} got {known.min():.3g} and {high} {known.max():.3g} {unit} on average, {apart:.1f} % apart"
            said.append(f"Delivered doses are not matched: {told}; a difference between them may be one of dose.")
    if len(means) > 1 and not (means["particles"].notna().all() or means["ug"].notna().all()):
        said.append("Delivered doses cannot be matched in one unit: give other_dose, or doses in the same unit.")
    return said


def unmatched_contrasts(table: pd.DataFrame, config: StudyConfig, contrasts: Collection[ContrastSettings]) -> set[str]:
    """Return the names of the contrasts whose treated groups did not get the same dose."""
    found = set()
    for c in contrasts:
        both_treated = all(any(config.protocols[g].total_dose > 0 for g in side) for side in (c.a, c.b))
        if both_treated and dose_differences(table, config, [*c.a, *c.b]):
            found.add(c.name)
    return found


def exposure_notes(table: pd.DataFrame, config: StudyConfig) -> list[str]:
    """Return what the exposures allow to conclude: matched or not, what AUC can and cannot explain, and which animals are off plan."""
    treated = [g for g in dict.fromkeys(table["protocol"]) if config.protocols[g].total_dose > 0]
    said = dose_differences(table, config, treated)
    main = table[(table["half_life_min"] == config.exposure.half_life_min) & table["protocol"].isin(treated)]
    if len(treated) > 1:
        if said:
            said.append("Exposure by AUC differs as the doses do, and by nothing else: it does not depend on the schedule.")
        else:
            said.append(
                "Doses are matched, so AUC is the same for every schedule and cannot explain a difference between them; "
                f"peak, time above a level and saturable uptake can: {_spread(main)}"
            )
    for flag, what in (("patency_lost", "a blocked or loose catheter"), ("dose_unknown", "an unknown dose")):
        hit = [str(a) for a, f in zip(main["animal"], main["flags"], strict=True) if flag in f.split(";")]
        if hit:
            said.append(f"Animals with {what}: {', '.join(hit)}.")
    return said


def _spread(main: pd.DataFrame) -> str:
    means = main.groupby("protocol", sort=False)[["peak", "time_above_h", "uptake_h"]].mean()
    told = "{} peak {:.3g}, {:.3g} h above the level, {:.3g} h of uptake"
    parts = [told.format(g, *(float(v) for v in r)) for g, r in zip(means.index, means.to_numpy(), strict=True)]
    return f"{'; '.join(parts)} (half-life {main['half_life_min'].iloc[0]:g} min)."
