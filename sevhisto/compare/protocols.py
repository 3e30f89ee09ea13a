"""What the treatment protocols allow to conclude: default contrasts, dose matching, and what a design confounds."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from sevhisto.config import ContrastSettings, ProtocolSettings, StudyConfig
from sevhisto.types import Problem, StudyError

_SAME_DURATION = 0.10  # share by which durations may differ and still count as equal


def mode(protocol: ProtocolSettings) -> str:
    """Return ``"infusion"``, ``"injection"`` or ``"none"``."""
    return "none" if protocol.untreated else "injection" if protocol.infusion is None else "infusion"


def duration_h(protocol: ProtocolSettings) -> float:
    """Return how long a delivery lasts (h): of the pump, or injections times their mean interval (three daily ones: 72); 0 for one."""
    if protocol.infusion is not None:
        return protocol.infusion.duration_h
    times = sorted(protocol.injections_h)
    return (times[-1] - times[0]) * len(times) / (len(times) - 1) if len(times) > 1 else 0.0


def _equal_duration(a: ProtocolSettings, b: ProtocolSettings) -> bool:
    return abs(duration_h(a) - duration_h(b)) <= _SAME_DURATION * max(duration_h(a), duration_h(b))


def default_contrasts(config: StudyConfig, present: Iterable[str] | None = None) -> list[ContrastSettings]:
    """Return the contrasts of a delivery study: mode at equal duration, duration within a mode, any treatment against vehicle.

    An infusion against injections of another duration confounds the two and is marked exploratory. Where no group was given anything, each
    is held against the first. Only protocols in `present` take part (all where None).
    """
    here = set(config.protocols if present is None else present)
    treated = {n: p for n, p in config.protocols.items() if p.total_dose > 0 and n in here}
    vehicles = [n for n, p in config.protocols.items() if p.is_vehicle and n in here]
    infusions = sorted((n for n, p in treated.items() if mode(p) == "infusion"), key=lambda n: duration_h(treated[n]))
    injections = sorted((n for n, p in treated.items() if mode(p) == "injection"), key=lambda n: duration_h(treated[n]))
    by_mode = list(itertools.product(infusions, injections))
    found = [_pair(a, b) for a, b in by_mode if _equal_duration(treated[a], treated[b])]
    for names in (infusions, injections):
        found += [_pair(b, a) for a, b in itertools.pairwise(names) if not _equal_duration(treated[a], treated[b])]
    if treated and vehicles:
        found.append(ContrastSettings(name="treated-vehicle", a=list(treated), b=vehicles))
    if not treated and not vehicles:
        first, *others = [n for n in config.protocols if n in here] or [""]
        found += [_pair(other, first) for other in others]
    found += [_pair(a, b, planned=False) for a, b in by_mode if not _equal_duration(treated[a], treated[b])]
    return found


def _pair(a: str, b: str, planned: bool = True) -> ContrastSettings:
    return ContrastSettings(name=f"{a}-{b}", a=[a], b=[b], planned=planned)


def study_contrasts(config: StudyConfig, present: Iterable[str] | None = None) -> list[ContrastSettings]:
    """Return the declared contrasts, or the default ones where none are declared."""
    return list(config.contrasts) or default_contrasts(config, present)


def planned_contrasts(config: StudyConfig, present: Iterable[str]) -> list[ContrastSettings]:
    """Return the contrasts as `study_contrasts`, none of a single group; StudyError where there is none of several, or two share a name."""
    here = set(present)
    plan = study_contrasts(config, here)
    names = [c.name for c in plan]
    if len(set(names)) < len(names):
        twice = sorted({n for n in names if names.count(n) > 1})
        raise StudyError(Problem("study.toml: contrasts", f"two contrasts are called {twice[0]!r}", "give each its own name"))
    if not plan and len(here) > 1:
        remedy = "declare [[contrasts]], or protocols with a vehicle (total_dose = 0) or with different deliveries"
        raise StudyError(Problem("study.toml: contrasts", "none are declared and the groups suggest none", remedy))
    return plan


def dose_problems(config: StudyConfig) -> list[Problem]:
    """Return a warning for every pair of treated groups whose total dose differs by unit, or by more than the tolerance.

    The difference is relative to the larger dose; where both units are known (``other_dose``), both must match. These are warnings: a
    study may compare doses on purpose.
    """
    treated = {n: p for n, p in config.protocols.items() if p.total_dose > 0}
    pairs = ((_dose_difference(a, b, config), a, b) for a, b in itertools.combinations(treated, 2))
    return [Problem("study.toml: protocols", *told) for told, _, _ in pairs if told]


def _dose_difference(a: str, b: str, config: StudyConfig) -> tuple[str, str] | None:
    pa, pb = config.protocols[a], config.protocols[b]
    tolerance = config.comparison.dose_tolerance_pct
    doses = [(_dose(pa, unit), _dose(pb, unit), unit) for unit in ("particles", "ug")]
    both = [(x, y, unit) for x, y, unit in doses if x is not None and y is not None]
    if not both or pa.per_kg != pb.per_kg:
        told = f"{a} {_dose_words(pa)}, {b} {_dose_words(pb)}"
        return f"doses cannot be compared: {told}", "give both in particles or both in ug (other_dose), and both per kg or neither"
    for x, y, unit in both:
        if abs(x - y) * 100 > tolerance * max(x, y):
            told = f"{a} {x:g} {unit}, {b} {y:g} {unit}"
            what = f"total doses differ by more than {tolerance:g} %: {told}"
            return what, "a difference between these groups may be one of dose; correct the doses or say so"
    return None


def _dose(protocol: ProtocolSettings, unit: str) -> float | None:
    return protocol.total_dose if protocol.dose_unit == unit else protocol.other_dose


def _dose_words(protocol: ProtocolSettings) -> str:
    return f"{protocol.total_dose:g} {protocol.dose_unit}{' per kg' if protocol.per_kg else ''}"


def contrast_flags(config: StudyConfig, c: ContrastSettings) -> set[str]:
    """Return what the protocols confound in one contrast, as flags of results."""
    flags = set()
    protocols = config.protocols
    treated = [[n for n in side if protocols[n].total_dose > 0] for side in (c.a, c.b)]
    pairs = list(itertools.product(*treated))
    if any(_dose_difference(a, b, config) for a, b in pairs):
        flags.add("dose_unmatched")
    for a, b in ((protocols[x], protocols[y]) for x, y in pairs):
        if mode(a) != mode(b) and not _equal_duration(a, b):
            flags.add("duration_confounded")
        if a.route != b.route or a.vehicle != b.vehicle:
            flags.add("route_or_vehicle_differs")
    # mode against mode, or treated against vehicle: surgery, pump and injections differ too unless vehicles were given both ways
    modes_differ = any(set(_modes(protocols[a])) != set(_modes(protocols[b])) for a, b in pairs)
    across = modes_differ or bool(treated[0]) != bool(treated[1])
    if across and unmatched_vehicles(config, [*treated[0], *treated[1]]):
        flags.add("surgery_confounded")
    return flags


def unmatched_vehicles(config: StudyConfig, treated: Iterable[str]) -> dict[tuple[str, str], list[str]]:
    """Return the ways of giving (mode, route) of these treated groups that no vehicle group had, with the groups that had them."""
    vehicles = {(m, p.route) for p in config.protocols.values() if p.is_vehicle for m in _modes(p)}
    needed: dict[tuple[str, str], list[str]] = {}
    for name in treated:
        for how in _modes(config.protocols[name]):
            needed.setdefault((how, config.protocols[name].route), []).append(name)
    return {key: names for key, names in needed.items() if key not in vehicles}


def _modes(protocol: ProtocolSettings) -> tuple[str, ...]:
    return ("infusion", "injection") if protocol.double_dummy else (mode(protocol),)


def design_notes(config: StudyConfig) -> list[str]:
    """Return plain sentences on what the design confounds: mode with duration, and treatment with surgery or pump."""
    protocols = config.protocols
    treated = {n: p for n, p in protocols.items() if p.total_dose > 0}
    notes = []
    if protocols and all(p.untreated for p in protocols.values()):
        notes.append("No group was given anything: nothing is said of doses, exposure or the way of delivery.")
    if len(protocols) == 1:
        notes.append("There is one group: nothing is compared between groups.")
    for c in study_contrasts(config):
        pairs = [(protocols[x], protocols[y]) for x in c.a for y in c.b if x in treated and y in treated]
        if any(mode(x) != mode(y) and not _equal_duration(x, y) for x, y in pairs):
            notes.append(f"Contrast {c.name} confounds the mode of delivery with its duration: exploratory only.")
        if any(x.route != y.route for x, y in pairs):
            notes.append(f"Contrast {c.name} compares groups that were treated by different routes.")
        if any(x.vehicle != y.vehicle for x, y in pairs):
            notes.append(f"Contrast {c.name} compares groups that were treated in different vehicles.")
    for (how, route), names in unmatched_vehicles(config, treated).items():
        notes.append(
            f"No vehicle group was given by {route} {how}: effects of {', '.join(names)} are confounded with "
            f"{'surgery and pump' if how == 'infusion' else 'the injections themselves'}."
        )
    return notes + dye_notes(config)


def dye_notes(config: StudyConfig) -> list[str]:
    """Return a sentence where a tracer is measured and no group got its dye without vesicles."""
    if not config.protocols or dye_groups(config) or not any(tracers(config, panel) for panel in config.panels):
        return []
    return ["No group got the tracer's dye without vesicles (dye_only): spots may be dye that left them, not uptake."]


def tracers(config: StudyConfig, panel: str) -> set[str]:
    """Return the tracers of a panel; none of a name that is no panel."""
    return {c.marker for c in config.panels[panel].channels if c.role == "tracer"} if panel in config.panels else set()


def dye_groups(config: StudyConfig) -> set[str]:
    """Return the protocols whose animals got the dye without vesicles."""
    return {name for name, p in config.protocols.items() if p.dye_only}
