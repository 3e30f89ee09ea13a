"""Tables that say what the numbers rest on: inputs of each section, exclusions, agreement of readings, differences between runs."""

from __future__ import annotations

from sevhisto.columns import Table
from sevhisto.columns import number as _n
from sevhisto.columns import text as _t
from sevhisto.columns import whole as _w

PROVENANCE = Table(
    "provenance.csv",
    "section",
    (
        _t("animal", "animal (code until unblinding)"),
        _t("section", "section id"),
        _t("panel", "panel"),
        _t("batch", "stain batch"),
        _t("role", "role of the section"),
        _n("position_um", "place along the cord, growing caudally", "um"),
        _t("file", "image file (code until unblinding)"),
        _t("excluded", "reason code, where the section is left out"),
        _t("listed_sha256", "hash of piece, scene, pixel size, side and role in slides.csv"),
        _t("slide_sha256", "hash of the image file"),
        _t("drawn_sha256", "hash of the file of drawn outlines; empty without one"),
        _t("labels_sha256", "hash of the label image; empty without one"),
        _t("settings_sha256", "hash of all settings that its pixels are read with"),
        _t("background_sha256", "hash of the correction of its panel and batch"),
        _t("outline_sha256", "hash of its maps of lesion core and masked area, and of its white matter"),
        _t("outline_from", "drawn, carried, program, or accepted (by a person, as the program drew it); empty where there is none"),
        _t("record_sha256", "start of the hash of its record"),
    ),
    key=("animal", "section", "panel"),
)

EXCLUSIONS = Table(
    "exclusions.csv",
    "exclusion that holds now",
    (
        _t("level", "animal, panel, section or area"),
        _t("animal", "animal (code until unblinding)"),
        _t("section", "section id; empty for all"),
        _t("panel", "panel; empty for all"),
        _t("reason", "reason code; empty where none was given"),
        _t("note", "in words"),
        _t("who", "who decided; empty where the journal does not say"),
        _t("when", "when (UTC); empty where the journal does not say"),
        _n("area_um2", "tissue of a drawn area; areas may overlap", "um2"),
        _t("source", "journal, animals.csv, outline, or outline and journal"),
    ),
)

ODC_SCI_EXCLUSIONS = Table(
    "odc_sci_exclusions.csv",
    "animal",
    (
        _t("Subject_ID", "animal (code until unblinding)"),
        _t("Exclusion_in_origin_study", "Total exclusion, or what of the animal was left out; empty where nothing was"),
        _t("Exclusion_reason", "why"),
    ),
    key=("Subject_ID",),
)

EXCLUSION_BALANCE = Table(
    "exclusion_balance.csv",
    "group",
    (
        _t("group", "protocol"),
        _w("n_animals", "animals of the group"),
        _w("n_animals_excluded", "of these, left out altogether"),
        _w("n_sections", "sections listed in slides.csv"),
        _w("n_sections_excluded", "of these, left out, those of animals that are left out among them"),
        _w("n_sections_failed", "of these, not measurable"),
        _w("n_areas", "areas drawn to be left out"),
        _n("areas_um2", "their tissue", "um2"),
        _t("reasons", "reason codes, and how often each was given"),
    ),
    key=("group",),
)

COUNTS = Table(
    "counts (sevhisto agreement)",
    "section x kind that a person counted",
    (
        _t("animal", "animal, by name or code"),
        _t("section", "section id"),
        _n("count", "how many"),
        _t("panel", "panel", False),
        _t("kind", "what was counted", False),
    ),
)

AGREEMENT = Table(
    "agreement.csv",
    "section x kind x pair of readings",
    (
        _t("animal", "animal (code until unblinding)"),
        _t("section", "section id"),
        _t("panel", "panel"),
        _t("kind", "lesion, excluded or white_matter outlines; objects of label images or masks; else the kind of what was counted"),
        _t("reading_a", "first reading"),
        _t("reading_b", "second reading"),
        _n("area_um2_a", "area in the first; empty where it was not read", "um2"),
        _n("area_um2_b", "area in the second", "um2"),
        _n("dice", "twice the common area over the sum of both; empty where both are 0"),
        _n("border_p95_um", "95 % of either border lie at most this far from the other", "um"),
        _n("count_a", "objects in the first"),
        _n("count_b", "objects in the second"),
        _n("n_matched", "pairs of objects that share at least half of their union"),
        _n("f1", "twice the matched over all objects of both"),
        _t("reason", "why there is no comparison"),
    ),
    key=("animal", "section", "panel", "kind", "reading_a", "reading_b"),
)

_ICC = "intraclass correlation of one reading"
AGREEMENT_SUMMARY = Table(
    "agreement_summary.csv",
    "kind x measure x pair of readings (and all of more than two)",
    (
        _t("kind", "as in agreement.csv"),
        _t("measure", "area_um2 or count"),
        _t("readings", "what is compared"),
        _w("n", "sections that all of them have"),
        _w("n_animals", "animals of these sections"),
        *(
            _n(f"{name}{end}", f"{doc}{more}")
            for name, doc in (
                ("icc_1", f"{_ICC}, readers not told apart: ICC(1)"),
                ("icc_a1", f"{_ICC}, absolute agreement: ICC(A,1), ICC(2,1)"),
                ("icc_c1", f"{_ICC}, consistency: ICC(C,1), ICC(3,1)"),
                ("bias", "mean of first minus second, in the measure's unit"),
                ("limit_low", "lower limit of agreement: bias - 1.96 SD"),
                ("limit_high", "upper limit of agreement: bias + 1.96 SD"),
            )
            for end, more in (("", ""), ("_from", "; start of the 95 % interval"), ("_to", "; end of the 95 % interval"))
        ),
        _n("cv_pct", "coefficient of variation within pairs, root mean square", "pct"),
        _n("mean_dice", "mean Dice of the sections"),
        _n("mean_border_p95_um", "mean of border_p95_um", "um"),
        _n("mean_f1", "mean F1 of the sections"),
    ),
    key=("kind", "measure", "readings"),
)

STAGES = ("inputs", "settings", "version", "exclusions", "background", "outlines", "thresholds", "sections", "animals", "results")
"""Stages at which two runs can differ; the first four are what was put in."""

DIFFERENCES = Table(
    "differences.csv (sevhisto diff --csv)",
    "value that differs between two runs",
    (
        _t("stage", f"where it differs: {', '.join(STAGES)}"),
        _t("animal", "animal; empty where it is not of one"),
        _t("section", "section id"),
        _t("panel", "panel"),
        _t("batch", "stain batch"),
        _t("zone", "zone"),
        _t("marker", "marker"),
        _t("what", "file, setting, package, column or metric"),
        _t("old", "in the first run; of files the start of their hash"),
        _t("new", "in the second run"),
        _n("change_pct", "change against the first", "pct"),
        _t("cause", "what moved it, joined by ;"),
    ),
)

EVIDENCE: tuple[Table, ...] = (
    PROVENANCE,
    EXCLUSIONS,
    EXCLUSION_BALANCE,
    ODC_SCI_EXCLUSIONS,
    COUNTS,
    AGREEMENT,
    AGREEMENT_SUMMARY,
    DIFFERENCES,
)
