"""Every table that sevhisto reads or writes, column by column."""

from __future__ import annotations

from sevhisto.columns import Table
from sevhisto.columns import number as _n
from sevhisto.columns import text as _t
from sevhisto.columns import whole as _w
from sevhisto.schema_compare import COMPARISONS as COMPARISONS
from sevhisto.schema_compare import COMPOSITE_TABLE as COMPOSITE_TABLE
from sevhisto.schema_compare import DESIGN as DESIGN
from sevhisto.schema_compare import EXPOSURE as EXPOSURE
from sevhisto.schema_compare import MEDIATION as MEDIATION
from sevhisto.schema_compare import MODELS as MODELS
from sevhisto.schema_compare import PLAN as PLAN
from sevhisto.schema_compare import RELATIONS as RELATIONS
from sevhisto.schema_compare import SENSITIVITY as SENSITIVITY
from sevhisto.schema_compare import SHAPES as SHAPES
from sevhisto.schema_compare import SPECIFICATIONS as SPECIFICATIONS
from sevhisto.schema_compare import SPREAD as SPREAD

# ---------------------------------------------------------------- sheets that people write (all cells are text until checked)

SLIDES = Table(
    "slides.csv",
    "piece of tissue on a slide",
    (
        _t("file", "image file under slides/; empty for a section that was lost"),
        _t("animal", "animal id, as in animals.csv"),
        _t("section", "section id, unique within animal and panel"),
        _t(
            "piece",
            "which piece of tissue on the slide, in slide order (rows from the top, each from the left), from 1; empty takes all tissue",
            False,
        ),
        _t("panel", "marker panel, as in study.toml"),
        _t("batch", "stain batch"),
        _t("role", "sample, unstained, no_primary, single_stain, uninjured or bridge"),
        _n("position_um", "place along the cord, growing caudally", "um"),
        _t("scene", "scene of a file that holds several, from 1", False),
        _n("um_per_px", "pixel size, where the file has none", "um", required=False),
        _t("flipped", "yes where the section lies mirrored on the slide", False),
        _t("marker", "role single_stain: the one marker that is stained, as in study.toml", False),
        _t("notes", "free text", False),
    ),
    key=("animal", "section", "panel"),
)

ANIMALS_SHEET = Table(
    "animals.csv (study)",
    "animal",
    (
        _t("animal", "animal id"),
        _t("protocol", "treatment protocol, as in study.toml"),
        _t("sex", "f or m", False),
        _n("weight_g", "body weight", "g", required=False),
        _t("species", "species", False),
        _t("strain", "strain", False),
        _t("age", "age", False),
        _t("injury_level", "spinal level, such as T10", False),
        _n("force_kdyn", "impact force as measured", "kdyn", required=False),
        _n("displacement_um", "cord displacement as measured", "um", required=False),
        _n("treatment_start_h", "first dose after injury", "h", required=False),
        _n("dpi", "days post injury at sacrifice", "d", required=False),
        _n("death_day", "day of death, where before sacrifice", "d", required=False),
        _n("delivered_volume_ul", "volume that the pump delivered: what was loaded less what was left", "ul", required=False),
        _n("delivered_dose", "dose that the animal got in all, in its protocol's unit, where it is known better", required=False),
        _n("doses_given", "how many of the planned injections were given, the first ones", required=False),
        _n("infusion_h", "how long the pump ran, where not as planned", "h", required=False),
        _t("patent", "no where the pump's catheter was found blocked or loose at the end", False),
        _t("block", "randomisation block", False),
        _t("cage", "cage", False),
        _t("excluded", "yes where the animal is left out", False),
        _t("exclusion_reason", "why", False),
    ),
    key=("animal",),
    open_ended=True,
)

MOTOR = Table(
    "motor.csv",
    "score",
    (
        _t("animal", "animal id"),
        _n("day", "days after injury", "d"),
        _n("score", "motor score"),
        _t("test", "BBB where not given", False),
        _t("side", "left or right", False),
        _t("rater", "who scored", False),
    ),
)

# ---------------------------------------------------------------- results

STATUS = Table(
    "status.csv",
    "section",
    (
        _t("animal", "animal (code until unblinding)"),
        _t("section", "section id"),
        _t("panel", "panel"),
        _t("file", "image file (code until unblinding)"),
        _t("status", "ok, flagged, failed or excluded"),
        _t("flags", "flags, joined by ;"),
        _t("reason", "why it failed; or reason code and note of its exclusion"),
        _n(
            "core_confidence",
            "how sure the program's lesion outline is, 0 to 1; empty where there is none, or it was drawn by a person or carried over",
            required=False,
        ),
        _t("verdict", "keep, review or exclude, as in sections.csv; empty where nothing was measured", False),
        _t("reasons", "why, joined by ;", False),
    ),
    key=("animal", "section", "panel"),
)

SECTIONS = Table(
    "sections.csv",
    "section x zone x marker",
    (
        _t("animal", "animal (code until unblinding)"),
        _t("section", "section id"),
        _t("panel", "panel"),
        _t("batch", "stain batch"),
        _n("position_um", "place along the cord, growing caudally", "um"),
        _t("zone", "zone around the lesion"),
        _t("marker", "marker, or phenotype (a rule of study.toml over markers)"),
        _n("zone_um2", "tissue examined in the zone, without cavity and masked area", "um2", True),
        _n("cavity_um2", "cavity in the zone", "um2", True),
        _n("masked_um2", "excluded or damaged area in the zone", "um2", True),
        _n("positive_um2", "area at or above the threshold", "um2", True),
        _n("signal_sum", "corrected intensity summed over the examined area", "grey um2", True),
        _n("background", "offset subtracted for the batch", "grey"),
        _n("threshold", "threshold applied to corrected intensity", "grey"),
        _t("threshold_source", "rung of the ladder that gave the threshold; or fixed, classifier, dye, per_image, none; rule (phenotype)"),
        _n("n_cells", "nucleated cells positive for the marker; all nuclei for the nuclear marker", "", True),
        _t("flags", "flags, joined by ;"),
        _n("n_cells_low", "macrophage markers: cells that are surely positive, in four fifths of their ring", "", True, required=False),
        _n(
            "n_cells_high",
            "macrophage markers: nuclei that may be positive (a fifth of the ring, or the nucleus); two where an object is as large as two",
            "",
            True,
            required=False,
        ),
        _n("n_cells_cd68", "of these, cells that are CD68-positive too", "", True, required=False),
        _n(
            "signal_in_cd68",
            "signal above zero that lies in CD68-positive pixels (joint tally)",
            "grey um2",
            True,
            required=False,
        ),
        _n("signal_joint", "signal above zero in the joint tally", "grey um2", True, required=False),
        _n(
            "scrambled_in_cd68",
            "signal_in_cd68, where CD68 is taken from another block of the section at the same distance (every eighth row)",
            "grey um2",
            True,
            required=False,
        ),
        _n("scrambled_signal", "signal above zero of the pixels paired so", "grey um2", True, required=False),
        _n("cd68_joint_um2", "CD68-positive area in the joint tally", "um2", True, required=False),
        _n("fibre_xx", "structure-tensor sum of fx2 over positive area; x along the section's long axis", "", True, required=False),
        _n("fibre_yy", "structure-tensor sum of fy2 over positive area; y across that axis", "", True, required=False),
        _n("fibre_xy", "structure-tensor sum of fx fy over positive area", "", True, required=False),
        _n("fibre_nn", "structure-tensor sum of fn2 in sections with a core; n across its border", "", True, required=False),
        _n("fibre_tt", "structure-tensor sum of ft2 in sections with a core; t along its border", "", True, required=False),
        _n("fibre_nt", "structure-tensor sum of fn ft in sections with a core", "", True, required=False),
        _n("fibre_um2", "area at or above the threshold after smoothing with imaging.fibre_sigma_um", "um2", True, required=False),
        _n("fibre_outline_um", "length of the outline of that area", "um", True, required=False),
        _n("positive_free_um2", "positive area that is not bound to a vessel", "um2", True, required=False),
        _n("n_puncta", "spots of a tracer whose contrast is at or above puncta_threshold", "", True, required=False),
        _n("puncta_threshold", "threshold on the contrast of spots; empty where no control gives one", "grey", required=False),
        *(
            _n(f"{group}_{part}", doc.format(f"CD68+ {sign} cells"), "", True, required=False)
            for group, sign in (("cd206_pos", "CD206+"), ("cd206_neg", "CD206-"))
            for part, doc in (
                ("cells", "tracer: {}"),
                ("puncta", "spots of the tracer in nucleus and ring of {}"),
                ("expected", "the same for spots as dense as in the whole zone: random placement; {}"),
            )
        ),
        _n(
            "white_matter_um2",
            "spared white matter that a person drew, outside core, cavity and masked area; zone all only, empty where none was drawn",
            "um2",
            True,
            required=False,
        ),
        _n(
            "autofluorescent_um2",
            "area that is at or above the threshold before autofluorescence is subtracted and not after, net (from every fourth row)",
            "um2",
            True,
            required=False,
        ),
        _n(
            "positive_local_um2",
            "area at or above local_threshold once the local background is taken away (from every fourth row): for sensitivity only",
            "um2",
            True,
            required=False,
        ),
        _n("local_threshold", "threshold on the intensity over the local background, by the same ladder", "grey", required=False),
        _n("cell_threshold", "intensity in its compartment from which a cell is positive", "grey", required=False),
        _n("focus", "fine detail in the section, to compare for one marker and scanner only", required=False),
        _n(
            "core_confidence",
            "how sure the program's lesion outline is, 0 to 1; empty where there is none, or it was drawn by a person or carried over",
            required=False,
        ),
        _t("verdict", "keep, review or exclude: advice on the whole section; nothing is left out because of it", False),
        _t("reasons", "why, joined by ;", False),
        _t("threshold_controls", "animal/section of the controls behind the threshold; of a whole batch their number", False),
    ),
    key=("animal", "section", "panel", "zone", "marker"),
)

CELLS = Table(
    "cells.parquet",
    "cell",
    (
        _t("animal", "animal (code until unblinding)"),
        _t("section", "section id"),
        _t("panel", "panel"),
        _w("cell", "number of the cell in its section, from 1"),
        _n("y_um", "centroid from the top of the section", "um"),
        _n("x_um", "centroid from the left of the section", "um"),
        _n("distance_um", "signed distance to the lesion border; empty without a lesion", "um"),
        _n("area_um2", "area of the nucleus", "um2"),
    ),
    key=("animal", "section", "panel", "cell"),
    open_ended=True,
)

PROFILES = Table(
    "profiles.csv",
    "animal x panel x marker x axis x bin",
    (
        _t("animal", "animal (code until unblinding)"),
        _t("panel", "panel"),
        _t("marker", "marker"),
        _t("axis", "border (distance from the lesion border) or cord (place relative to the epicentre)"),
        _n("position_um", "lower edge of the distance bin, or place of the section", "um"),
        _n("zone_um2", "tissue examined", "um2", True),
        _n("positive_um2", "area at or above the threshold", "um2", True),
        _n("signal_sum", "corrected intensity summed", "grey um2", True),
        _t("flags", "no_lesion where the middle of the sections stands in for the epicentre (axis cord); threshold_per_image", False),
    ),
    key=("animal", "panel", "marker", "axis", "position_um"),
)

THRESHOLDS = Table(
    "thresholds.csv",
    "panel x batch x marker",
    (
        _t("panel", "panel"),
        _t("batch", "stain batch"),
        _t("marker", "marker"),
        _n("threshold", "threshold applied to corrected intensity, an edge of the intensity bins", "grey"),
        _t("source", "rung of the ladder that gave it"),
        _n("raw", "the value before it was moved to the nearest bin edge", "grey"),
        _w("n_controls", "sections pooled for it"),
        _t("flags", "flags, joined by ;"),
        _n("puncta_threshold", "threshold on the contrast of a tracer's spots, from controls", "grey", required=False),
        _n("cell_threshold", "from which a cell is positive: the threshold, or half of the median positive pixel", "grey", required=False),
        _n("local_threshold", "threshold on the intensity over the local background, by the same ladder", "grey", required=False),
        _t("controls", "animal/section of each section pooled", False),
        _t("doubts", "what is doubtful about the controls", False),
        _n("bridge_factor", "brightness of the batch over the average batch, told by bridge sections", required=False),
        _n("bridge_low", "95 % interval of bridge_factor; empty where no bridge section is left to tell it", required=False),
        _n("bridge_high", "95 % interval of bridge_factor", required=False),
        _t("bridge_sections", "animal/section of the bridge sections of the batch", False),
    ),
    key=("panel", "batch", "marker"),
)

RECORDS = Table(
    "records.csv",
    "section",
    (
        _t("animal", "animal (code until unblinding)"),
        _t("section", "section id"),
        _t("panel", "panel"),
        _t("batch", "stain batch"),
        _t("role", "role of the section"),
        _n("position_um", "place along the cord, growing caudally", "um"),
        _t("record", "file in records/; empty for a section that failed"),
    ),
    key=("animal", "section", "panel"),
)

ANIMALS = Table(
    "animals.csv",
    "animal x panel x zone x marker x metric",
    (
        _t("animal", "animal (code until unblinding)"),
        _t("panel", "panel; the test for motor scores"),
        _t("zone", "zone"),
        _t("marker", "marker"),
        _t("metric", "what was measured"),
        _n("value", "the value; empty where not measurable"),
        _t("unit", "unit of the value"),
        _w("n_sections", "sections behind the value"),
        _w("n_expected", "sections listed in slides.csv"),
        _t("flags", "flags, joined by ;"),
    ),
    key=("animal", "panel", "zone", "marker", "metric"),
)


AS_ANALYSED = "as analysed"
"""The choice of a specification that changes nothing."""
NOT_MADE = "not made"
"""Verdict of a specification that gives the endpoint no value at all, where the study as analysed has some."""


TABLES: tuple[Table, ...] = (
    SLIDES,
    ANIMALS_SHEET,
    MOTOR,
    STATUS,
    SECTIONS,
    THRESHOLDS,
    RECORDS,
    CELLS,
    PROFILES,
    ANIMALS,
    COMPARISONS,
    SPECIFICATIONS,
    RELATIONS,
    EXPOSURE,
    MODELS,
    SHAPES,
    MEDIATION,
    SENSITIVITY,
    COMPOSITE_TABLE,
    DESIGN,
    PLAN,
)
