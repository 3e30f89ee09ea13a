"""What the treatment protocols allow to conclude: default contrasts, dose matching, and what a design confounds."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from sevhisto.config import ContrastSettings, ProtocolSettings, StudyConfig
from sevhisto.types import Problem

_SAME_DURATION = 0.10  # share by which durations may differ and still count as equal


def mode(protocol: ProtocolSettings) -> str:
    """Return ``"infusion"`` or ``"injection"``."""
    return "injection" if protocol.infusion is None else "infusion"


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

    An infusion against injections of another duration confounds the two and is marked exploratory. Only protocols in `present` take
    part (all where None).
    """
    here = set(config.protocols if present is None else present)
    treated = {n: p for n, p in config.protocols.items() if p.total_dose > 0 and n in here}
    vehicles = [n for n, p in config.protocols.items() if p.total_dose == 0 and n in here]
    infusions = sorted((n for n, p in treated.items() if mode(p) == "infusion"), key=lambda n: duration_h(treated[n]))
    injections = sorted((n for n, p in treated.items() if mode(p) == "injection"), key=lambda n: duration_h(treated[n]))
    by_mode = list(itertools.product(infusions, injections))
    found = [_pair(a, b) for a, b in by_mode if _equal_duration(treated[a], treated[b])]
    for names in (infusions, injections):
        found += [_pair(b, a) for a, b in itertools.pairwise(names) if not _equal_duration(treated[a], treated[b])]
    if treated and vehicles:
        found.append(ContrastSettings(name="treated-vehicle", a=list(treated), b=vehicles))
    found += [_pair(a, b, planned=False) for a, b in by_mode if not _equal_duration(treated[a], treated[b])]
    return found


def _pair(a: str, b: str, planned: bool = True) -> ContrastSettings:
    return ContrastSettings(name=f"{a}-{b}", a=[a], b=[b], planned=planned)


def study_contrasts(config: StudyConfig, present: Iterable[str] | None = None) -> list[ContrastSettings]:
    """Return the declared contrasts, or the default ones where none are declared."""
    return list(config.contrasts) or default_contrasts(config, present)


def dose_problems(config: StudyConfig) -> list[Problem]:
    """Return a warning for every pair of treated groups whose total dose differs by unit, or by more than the tolerance.

    The difference is relative to the larger dose. These are warnings: a study may compare doses on purpose.
    """
    found = []
    tolerance = config.comparison.dose_tolerance_pct
    treated = {n: p for n, p in config.protocols.items() if p.total_dose > 0}
    for (a, pa), (b, pb) in itertools.combinations(treated.items(), 2):
        doses = f"{a} {pa.total_dose:g} {pa.dose_unit}, {b} {pb.total_dose:g} {pb.dose_unit}"
        if pa.dose_unit != pb.dose_unit:
            what, remedy = f"doses cannot be compared: {doses}", "give both in particles or both in ug"
        elif abs(pa.total_dose - pb.total_dose) * 100 > tolerance * max(pa.total_dose, pb.total_dose):
            what = f"total doses differ by more than {tolerance:g} %: {doses}"
            remedy = "a difference between these groups may be one of dose; correct the doses or say so"
        else:
            continue
        found.append(Problem("study.toml: protocols", what, remedy))
    return found


def design_notes(config: StudyConfig) -> list[str]:
    """Return plain sentences on what the design confounds: mode with duration, and treatment with surgery or pump."""
    protocols = config.protocols
    treated = {n: p for n, p in protocols.items() if p.total_dose > 0}
    vehicles = {(mode(p), p.route) for p in protocols.values() if p.total_dose == 0}
    notes = []
    for c in study_contrasts(config):
        pairs = [(protocols[x], protocols[y]) for x in c.a for y in c.b if x in treated and y in treated]
        if any(mode(x) != mode(y) and not _equal_duration(x, y) for x, y in pairs):
            notes.append(f"Contrast {c.name} confounds the mode of delivery with its duration: exploratory only.")
        if any(x.route != y.route for x, y in pairs):
            notes.append(f"Contrast {c.name} compares groups that were treated by different routes.")
    needed: dict[tuple[str, str], list[str]] = {}
    for name, p in treated.items():
        needed.setdefault((mode(p), p.route), []).append(name)
    for (how, route), names in needed.items():
        if (how, route) not in vehicles:
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
