"""The methods section of a paper, filled from the run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from sevhisto.config import ProtocolSettings, StudyConfig
from sevhisto.report.exclusions import arrive_sentences
from sevhisto.report.figures import group_order
from sevhisto.report.inputs import ReportInputs
from sevhisto.report.prose import Statement, gap, listed, plain, said
from sevhisto.report.tables import plural
from sevhisto.report.words import endpoint_words

RUNGS = {
    "no_primary": "sections without primary antibody",
    "unstained": "unstained sections",
    "uninjured": "uninjured sections",
    "batch": "all sections of the batch",
    "fixed": "a fixed value",
    "per_image": "each image alone (Otsu)",
    "dye": "a fixed excess over the counterstain",
    "classifier": "a trained classifier",
}


@dataclass(frozen=True)
class PaperFacts:
    """What texts are filled from: what the report shows, the settings with groups as shown, and the animals sheet by shown name."""

    inputs: ReportInputs
    config: StudyConfig
    people: pd.DataFrame
    provenance: pd.DataFrame

    @property
    def opened(self) -> bool:
        """Whether groups carry their names."""
        return not self.inputs.blinded


def methods(facts: PaperFacts) -> Iterator[Statement]:
    """Yield the statements of the methods section; while groups are codes, without anything that tells them apart."""
    yield from _animals(facts)
    yield from _delivery(facts)
    yield from _tissue(facts)
    yield from _analysis(facts)
    yield from _thresholds(facts)
    yield from _statistics(facts)
    yield from _software(facts)


def _animals(facts: PaperFacts) -> Iterator[Statement]:
    h, people = "Animals and groups", facts.people
    kinds = listed([said(v, "species") for v in sorted(set(_column(people, "species")))])
    sexes = listed([f"{n} {_sex(s)}" for s, n in pd.Series(_column(people, "sex")).value_counts().sort_index().items()])
    yield Statement(
        h,
        f"The study comprised {plural(len(people), 'animal')} ({kinds}; strain {_one(people, 'strain')}; age {_one(people, 'age')}; "
        f"{sexes}; weight {_range(people, 'weight_g', 'g')}).",
        "animals.csv: species, strain, age, sex, weight_g",
    )
    counts = facts.inputs.groups.astype(str).value_counts()
    sizes = listed([f"{plain(g)} (n = {int(counts[g])})" for g in group_order(facts.inputs.groups)])
    yield Statement(
        h, f"Groups analysed were {sizes or gap('groups')}. The animal was the experimental unit.", "results/animals.csv; animals.csv"
    )
    block = "within blocks" if any(str(v).strip() for v in _column(people, "block")) else gap("how animals were allocated to groups")
    yield Statement(
        h, f"Animals were allocated {block}; {gap('method of randomisation, and how group sizes were decided')}.", "animals.csv: block"
    )
    yield Statement(
        h,
        f"The injury at {_one(people, 'injury_level')} had an impact force of {_range(people, 'force_kdyn', 'kdyn')} and a displacement of "
        f"{_range(people, 'displacement_um', 'µm')}; animals were killed {_range(people, 'dpi', 'days')} after it. "
        f"{gap('anaesthesia, impactor, analgesia, bladder care, ethical approval')}.",
        "animals.csv: injury_level, force_kdyn, displacement_um, dpi",
    )


def _column(people: pd.DataFrame, name: str) -> list[str]:
    return ["" if v != v else str(v) for v in people[name]] if name in people else [""] * len(people)


def _sex(sex: object) -> str:
    return {"f": "female", "m": "male"}.get(str(sex).casefold(), gap("sex"))


def _one(people: pd.DataFrame, name: str) -> str:
    return listed([said(v, name.replace("_", " ")) for v in sorted(set(_column(people, name)))]) or gap(name.replace("_", " "))


def _range(people: pd.DataFrame, name: str, unit: str) -> str:
    values = pd.to_numeric(people[name], errors="coerce").dropna() if name in people else pd.Series(dtype=float)
    if values.empty:
        return gap(name.rsplit("_", 1)[0] if name != "dpi" else "days post injury")
    low, high = f"{values.min():.4g}", f"{values.max():.4g}"
    return f"{low} {unit}" if low == high else f"{low} to {high} {unit}"


def _delivery(facts: PaperFacts) -> Iterator[Statement]:
    if not facts.opened:
        yield Statement("Delivery", "How the treatment was delivered is not told while groups are codes.", "results/key/")
        return
    for name, protocol in facts.config.protocols.items():
        yield Statement("Delivery", f"{plain(name)}: {_protocol(protocol)}.", f"study.toml: protocols.{name}")


def _protocol(p: ProtocolSettings) -> str:
    if p.untreated:
        return "nothing was given"
    dose = "no treatment" if not p.total_dose else f"{p.total_dose:.4g} {'µg' if p.dose_unit == 'ug' else p.dose_unit}"
    dose += " per kg" if p.per_kg and p.total_dose else ""
    pump = p.infusion
    if pump is None:
        times = listed([f"{t:g}" for t in p.injections_h])
        how = f"{plural(len(p.injections_h), 'injection')} at {times} h after injury"
    else:
        rate = gap("pump rate") if pump.rate_ul_h is None else f"{pump.rate_ul_h:g} µl/h"
        how = f"infusion from {pump.start_h:g} h after injury for {pump.duration_h:g} h at {rate}"
    dummy = ", double dummy" if p.double_dummy else ""
    return f"{dose} in all, {plain(p.route)}, in {said(p.vehicle, 'vehicle solution')}, as {how}{dummy}"


def _tissue(facts: PaperFacts) -> Iterator[Statement]:
    h, study, status = "Tissue, staining and imaging", facts.config.study, facts.inputs.status
    yield Statement(
        h,
        f"Cords were cut into {study.orientation} sections of {study.section_thickness_um:g} µm; analysed sections of one panel lay "
        f"{study.section_spacing_um:g} µm apart ({said(study.sampling, 'how sections were sampled')}). "
        f"{plural(len(status), 'section')} were listed.",
        "study.toml: study; results/status.csv",
    )
    for name, panel in facts.config.panels.items():
        stains = [
            f"{plain(c.marker)} ({said(c.antibody, f'antibody of {c.marker}')}, clone {said(c.clone, f'clone of {c.marker}')}, "
            f"{said(c.dilution, f'dilution of {c.marker}')})"
            for c in panel.stained.channels
            if c.role not in ("nuclei", "autofluorescence")
        ]
        yield Statement(h, f"Panel {plain(name)} ({panel.kind}): {listed(stains) or 'no antibody'}.", f"study.toml: panels.{name}.channels")
    yield Statement(h, f"{gap('microscope, objective, exposure, fixation, mounting')}.", "not in the study files")


def _analysis(facts: PaperFacts) -> Iterator[Statement]:
    h, imaging, zones = "Image analysis", facts.config.imaging, facts.config.zones
    drawn = facts.provenance["outline_from"].value_counts()
    told = [f"{int(drawn[k])} {w}" for k, w in _OUTLINES.items() if k in drawn.index]
    blind = (
        "Images were analysed under codes; the key was opened after outlines, exclusions and thresholds had been hashed"
        if facts.inputs.blind
        else "Image analysis was not blind to the groups"
    )
    when = f" ({facts.inputs.opened})" if facts.inputs.blind and facts.inputs.opened else ""
    yield Statement(h, f"{blind}{when}.", "results/key/unblinded.json; results/run.json: frozen")
    yield Statement(
        h,
        f"Tissue and lesion were outlined at {imaging.overview_um:g} µm per pixel; all areas and intensities were measured at full "
        f"resolution. Outlines of the lesion core were {listed(told) or 'not found'}.",
        "study.toml: imaging; results/provenance.csv: outline_from",
    )
    rings = ", ".join(name for name in zones.ranges if name not in ("core", "all"))
    yield Statement(
        h,
        f"Zones were the core, rings at {rings} µm from its border, and all tissue. A zone's area leaves out cavity and masked "
        "areas; values per animal are ratios of sums over its sections.",
        "study.toml: zones.edges_um",
    )
    yield Statement(
        h,
        f"Cells were found by {plain(imaging.segmenter)}; a cell counted as positive where its nucleus or a ring of {imaging.ring_um:g} µm "
        "around it was.",
        "study.toml: imaging.segmenter, imaging.ring_um",
    )


_OUTLINES = {"drawn": "drawn by a person", "carried": "carried over from a neighbouring section", "program": "drawn by the program alone"}


def _thresholds(facts: PaperFacts) -> Iterator[Statement]:
    rows = facts.inputs.thresholds
    if rows is None or rows.empty:
        return
    counts = rows["source"].value_counts()
    told = listed([f"{int(n)} from {RUNGS.get(str(s), plain(s))}" for s, n in counts.items()])
    t = facts.config.thresholds
    yield Statement(
        "Image analysis",
        f"Thresholds were set per marker and stain batch: {told}; percentile {t.percentile:g} of tissue without the stain, else median "
        f"plus {t.k_mad:g} x 1.4826 MAD.",
        "results/thresholds.csv: source; study.toml: thresholds.percentile, thresholds.k_mad",
    )


def _statistics(facts: PaperFacts) -> Iterator[Statement]:
    h, inputs = "Outcomes and statistics", facts.inputs
    ends = facts.config.endpoints
    primary = listed([endpoint_words(e).axis for e in ends.primary]) or gap("primary outcome")
    yield Statement(h, f"Primary outcomes: {primary}.", "study.toml: endpoints.primary")
    if inputs.comparisons is not None and len(inputs.comparisons):
        methods_used = listed([plain(m) for m in sorted({str(m).split(" (")[0] for m in inputs.comparisons["method"]})])
        yield Statement(
            h,
            f"Groups were compared by differences of means: {methods_used}. p values were adjusted by Holm over the contrasts of a primary "
            "outcome and by Benjamini-Hochberg over the secondary ones.",
            "results/comparisons.csv: method, p_adjusted",
        )
    if inputs.specifications is not None and len(inputs.specifications):
        tried = listed([plain(c) for c in dict.fromkeys(inputs.specifications["choice"]) if c != "as analysed"])
        yield Statement(h, f"Every result was made again under other choices: {tried}.", "results/specifications.csv: choice")
    yield Statement(
        h,
        "In figures every animal is drawn; error bars are 95 % intervals. Figures and legends stand in [results.md](results.md#figures).",
        "results/paper/",
    )
    if inputs.excluded is not None:
        left = " ".join(arrive_sentences(inputs.excluded, inputs.status, inputs.n_listed, inputs.opened, inputs.blind))
        yield Statement(h, left, "results/exclusions.csv; results/status.csv")


def _software(facts: PaperFacts) -> Iterator[Statement]:
    program = facts.inputs.run.get("program", {})
    if not program:
        return
    others = listed([f"{plain(k)} {plain(v)}" for k, v in program.items() if k != "sevhisto"])
    yield Statement(
        "Software",
        f"Measured with sevhisto {plain(program.get('sevhisto', '?'))} ({others}); settings with the hash "
        f"{str(facts.inputs.run.get('settings_sha256', ''))[:12]}.",
        "results/run.json: program, settings_sha256",
    )
