"""Registries: what can be extended by one registered function, and every flag that a row can carry."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from sevhisto.types import Problem, SevhistoError

T = TypeVar("T")
_SHOWN = 30


def did_you_mean(name: str, known: list[str]) -> str:
    """Return a remedy that names the nearest known spelling, or the known ones where they are few."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    shown = sorted(known, key=lambda k: (bool(name) and name not in k, k))[:_SHOWN]
    more = f" and {len(known) - len(shown)} more" if len(known) > len(shown) else ""
    return f"known: {', '.join(shown) or 'none'}{more}"


class Registry(Generic[T]):
    """Named functions of one kind; adding one is the way to extend sevhisto."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorate a function to make it known by `name`; a name can be taken once."""

        def add(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"{self.kind} {name!r} is registered already")
            self._entries[name] = entry
            return entry

        return add

    def __getitem__(self, name: str) -> T:
        if name not in self._entries:
            raise SevhistoError(Problem(self.kind, f"unknown {name!r}", did_you_mean(name, list(self._entries))))
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)


@dataclass(frozen=True)
class Flag:
    """Something a reader of a row must know; `level` is ``"section"``, ``"animal"`` or ``"result"``."""

    name: str
    level: str
    meaning: str


_FLAGS = [
    Flag("no_lesion", "section", "no lesion core was found; the section counts in zone 'all' only"),
    Flag(
        "no_landmark",
        "section",
        "the panel has no landmark channel, and no outline was drawn or could be carried over: no border distance; draw the lesion in "
        "corrections/",
    ),
    Flag("contour_unreviewed", "section", "the lesion outline was drawn by the program and nobody has confirmed it"),
    Flag("contour_drawn", "section", "the lesion outline was drawn by a person"),
    Flag("contour_accepted", "section", "the program's lesion outline, or that there is none, was looked at and accepted by a person"),
    Flag(
        "contour_carried",
        "section",
        "the panel has no landmark: outline, or no lesion, was taken over from the nearest section that shows one",
    ),
    Flag("contour_not_carried", "section", "the nearest section with a landmark could not be laid over this one: draw the outline"),
    Flag(
        "contour_uncertain",
        "section",
        "core_confidence is under 0.5, or the section it was carried from fits badly or is uncertain itself: look at the outline first",
    ),
    Flag(
        "circular",
        "section",
        "the marker had a part in drawing the lesion outline (imaging.lesion_cues): what it shows there follows from that",
    ),
    Flag("trained_on", "section", "the classifier learned from outlines on this very slide: its error here is smaller than elsewhere"),
    Flag(
        "classifier_untested",
        "section",
        "not every class of the classifier was drawn on two slides: its error on a slide that it has not seen is not known",
    ),
    Flag("coarse_masks", "section", "the section is too large to be outlined at imaging.overview_um: its outlines are coarser"),
    Flag("touches_edge", "section", "the tissue touches the edge of the image: part of the section may be missing"),
    Flag(
        "whole_field",
        "section",
        "the image shows no glass around the tissue: all of it was measured as tissue, and cavities could not be told from it",
    ),
    Flag("axis_uncertain", "section", "the section is hardly longer than wide: the direction of its fibres against its axis is not known"),
    Flag("saturated", "section", "more than 0.1 % of a channel's tissue pixels are at the top of the range, or at a plateau below it"),
    Flag("missing_data", "section", "a field of the scan has no data (one value with straight sides, in any channel): left out"),
    Flag("torn", "section", "a gap from outside, or a long crack inside: it counts as neither tissue nor cavity"),
    Flag("cavity_open", "section", "a cavity reaches the outer border: it may be a tear"),
    Flag("folded", "section", "a strip is bright in every channel alike, as tissue lying two or three times: left out"),
    Flag("bubble", "section", "a circle across which the light of every channel changes alike, as under a bubble of air: left out"),
    Flag("out_of_focus", "section", "nuclei are blurred until neighbours merge: that part was left out, unless it is the whole section"),
    Flag("seams", "section", "brightness steps, or the image is shifted, along straight lines, as between badly joined camera fields"),
    Flag("clipped", "section", "more than 1 % of a channel's tissue pixels are at 0: its background was cut off"),
    Flag("exposure_differs", "section", "this channel's tissue is 1.5 times brighter or darker than in the batch: look at its exposure"),
    Flag("unstained", "section", "almost none of this stain's area is there, which like sections of the batch have"),
    Flag("constant_channel", "section", "a channel holds one value only over the tissue"),
    Flag(
        "shading_not_estimated",
        "section",
        "shading was to be estimated, but the batch shows too few camera fields of tissue, or tissue too alike in them: nothing was done",
    ),
    Flag("shading_uncertain", "section", "the gain of the camera field was estimated with a standard error of 2 % or more"),
    Flag("shading_strong", "section", "one place of the camera field is over 1.5 times as bright as another: look at the microscope"),
    Flag("offset_assumed_zero", "section", "no control told the background of this batch: nothing was subtracted"),
    Flag("offset_from_samples", "section", "no control told the background of this batch: glass of its samples did"),
    Flag(
        "autofluorescence_not_subtracted",
        "section",
        "the panel has an autofluorescence channel, but no unstained or no_primary tissue of the batch told its share in the others",
    ),
    Flag(
        "autofluorescence_beyond_controls",
        "section",
        "the autofluorescence channel is bright in over 4 times as much of the tissue as in the control: its share was not measured there",
    ),
    Flag("no_cells", "section", "no nucleus was found"),
    Flag("cells_not_labelled", "section", "a control without a label image, where cells are labelled elsewhere: they were not counted"),
    Flag("no_nuclear_channel", "section", "the panel has no channel with role nuclei or cell_body: cells were not counted"),
    Flag("cells_by_bodies", "section", "the panel has no nuclear channel: cells are the bodies seen in its marker with role cell_body"),
    Flag("puncta_unresolved", "section", "a pixel is more than half of imaging.puncta_diameter_um: spots of the tracer were not counted"),
    Flag("projected", "section", "the slide has a Z stack; its maximum projection was measured"),
    Flag(
        "pieces_joined", "section", "the slide holds several pieces of tissue and slides.csv names none: all were measured as one section"
    ),
    Flag("no_tissue", "section", "no tissue was found: all areas are 0"),
    Flag("excluded", "section", "a person left the section out: exclusions.jsonl says who, when and why"),
    Flag("edited_by_hand", "section", "a person excluded part of the section"),
    Flag(
        "exclusion_unsigned",
        "section",
        "an area was drawn to be left out, and the journal has neither reason nor name for it: sevhisto exclude --areas",
    ),
    Flag("stain_vectors_assumed", "section", "colour deconvolution used the published vector of at least one stain, not this batch's own"),
    Flag(
        "threshold_fallback",
        "section",
        "no control of the batch could give the threshold; a lower rung of the ladder did",
    ),
    Flag("threshold_fixed", "section", "the threshold was set by hand, in study.toml or thresholds.jsonl"),
    Flag(
        "threshold_per_image",
        "section",
        "each section made its own threshold (Otsu), as study.toml asks: a fainter stain becomes a larger area; compare no groups by it",
    ),
    Flag("bridge_applied", "section", "thresholds and intensities were moved to the average batch by what bridge sections tell"),
    Flag("bridges_disagree", "section", "bridge sections of the batch differ by more than 1.25 times from what they tell together"),
    Flag("control_above_samples", "section", "a control is brighter than the samples that it controls: thresholds.csv says which"),
    Flag("controls_contradict", "section", "unstained tissue is brighter than no_primary tissue: thresholds.csv says which"),
    Flag("control_saturated", "section", "a control of the batch is saturated: thresholds.csv says which"),
    Flag(
        "no_threshold",
        "section",
        "neither control nor sample of the batch could give a threshold: positive area, or the number of puncta, is not known",
    ),
    Flag("few_sections", "animal", "fewer than 5 sections: the volume is uncertain"),
    Flag("too_few_sections", "animal", "fewer than 3 sections: no volume is given"),
    Flag("sections_uneven", "animal", "the measured sections are not equally spaced: the volume has no coefficient of error"),
    Flag("sections_missing", "animal", "sections failed or were lost; areas between neighbours were interpolated"),
    Flag(
        "sections_flagged",
        "animal",
        "at least one section carries a flag other than contour_unreviewed, contour_accepted, contour_carried, contour_drawn or no_lesion",
    ),
    Flag("no_sections", "animal", "no section lies in this half of the cord: nothing to measure"),
    Flag("not_tallied", "animal", "the records hold no joint, fibre or autofluorescence tally for this"),
    Flag("uninjured", "animal", "an uninjured control animal"),
    Flag("epicentre_tie", "animal", "two sections share the largest smoothed lesion area; the most rostral was taken"),
    Flag("not_drawn", "animal", "nobody drew white matter on the epicentre section"),
    Flag("empty_denominator", "animal", "not measurable: the denominator is zero"),
    Flag("no_signal", "animal", "no positive area in the zone; a ratio to it is not defined"),
    Flag("not_reached", "animal", "the criterion was not reached before the last visit (right-censored)"),
    Flag("already_reached", "animal", "the criterion was met at the first visit already (left-censored)"),
    Flag("missing_visits", "animal", "motor scores are missing on some days; the curve was interpolated between visits"),
    Flag("ceiling", "animal", "the last visit has the top score of the scale: more recovery could not be seen"),
    Flag("died", "animal", "the animal died before the last visit"),
    Flag("dose_unknown", "animal", "the delivered dose is not known: no body weight, or a blocked pump without delivered volume"),
    Flag("delivery_unverified", "animal", "neither delivered volume nor dose was measured: the pump is taken to have delivered as planned"),
    Flag("patency_lost", "animal", "the pump's catheter was blocked or loose at the end"),
    Flag("dose_off_plan", "animal", "the delivered dose is off the protocol's by more than the tolerance"),
    Flag("single_injection", "animal", "one injection has no trough"),
    Flag("not_unblinded", "result", "groups are shown by code"),
    Flag("unblinded_study", "result", "the study was run with blind = false: people could see the groups"),
    Flag("changed_after_unblinding", "result", "an outline, exclusion or threshold changed after the key was opened"),
    Flag("exploratory", "result", "not a planned contrast or model: for ideas, not for conclusions"),
    Flag("cannot_reach_0.05", "result", "with so few animals no result could reach p < 0.05: absence of evidence only"),
    Flag("too_few_animals", "result", "fewer than 2 animals in a group, or 3 degrees of freedom in a model: no interval"),
    Flag("no_variation", "result", "all values are equal: no test is possible"),
    Flag("no_spread", "result", "the groups differ but no value differs within a group: no interval can be given"),
    Flag("no_covariates", "result", "no measure of severity was known or affordable: the adjusted model was not made"),
    Flag("no_dye_control", "result", "no group got the dye without vesicles: what the tracer shows may be dye that left them"),
    Flag("batch_confounded", "result", "a stain batch holds animals of one group only"),
    Flag("block_confounded", "result", "the groups do not meet in any randomisation block: estimate and interval do without blocks"),
    Flag("missing_animals", "result", "animals of the group have no value for this endpoint"),
    Flag("censored_values", "result", "some onset days are later than the last visit; the last visit stands in for them"),
    Flag("ceiling_effect", "result", "animals have the top score of the scale: a difference above it cannot be seen"),
    Flag("day1_imbalance", "result", "the sides differed on day 1 already, before the treatment could work: see the day-1 score"),
    Flag("pooled_across_groups", "result", "group differences alone can create this association"),
    Flag(
        "scales_disagree",
        "result",
        "the ratio of geometric means points the other way than the difference of means: single animals decide which side is higher",
    ),
    Flag("ratio_undefined", "result", "a value is zero or negative: no ratio can be given"),
    Flag("few_for_mediation", "result", "fewer than 60 animals: mediation of the size that is usual is missed more often than found"),
    Flag("singular_fit", "result", "animals do not differ in level or change beyond chance: df are animals less groups"),
    Flag("not_converged", "result", "the model found no finite estimate, often since scores separate the groups; its permutation p stands"),
    Flag("dose_unmatched", "result", "the groups did not get the same dose: a difference may be one of dose"),
    Flag("duration_confounded", "result", "the groups differ in mode and in duration of delivery: neither can be told from the other"),
    Flag("surgery_confounded", "result", "no vehicle group was given in the same way: an effect may be one of surgery, pump or injections"),
    Flag("route_or_vehicle_differs", "result", "the groups were treated by different routes or in different vehicles"),
    Flag("dpi_mixed", "result", "animals were killed at different days: they are not compared"),
]
FAULT_FLAGS = ("missing_data", "torn", "cavity_open", "folded", "bubble", "out_of_focus", "seams", "clipped", "saturated")
"""Flags for which a person should look at the section; the batch adds exposure_differs and unstained."""
FLAGS: dict[str, Flag] = {f.name: f for f in _FLAGS}
STAMPS = ("unblinded_study", "changed_after_unblinding")
"""Flags of the whole study, which stand on everything that is written."""

EXCLUSION_REASONS: dict[str, str] = {
    "died": "the animal died, or was put down, before the end",
    "injury_off_target": "the injury is not the intended one: force, displacement, level or side",
    "surgery_failed": "a complication of surgery or of the pump",
    "dose_not_delivered": "the treatment was not delivered as planned",
    "wrong_region": "the section or slide is not of the intended place, animal or panel",
    "tissue_damaged": "torn, folded, lost or badly fixed tissue",
    "staining_failed": "no stain, uneven stain or precipitate",
    "imaging_failed": "out of focus, saturated, bubbles or missing fields",
    "protocol_deviation": "another criterion that was fixed before the study",
    "other": "none of these; the note says why",
}
"""Reason codes of exclusions, and what they mean."""


def join_flags(flags: set[str] | list[str]) -> str:
    """Return flags as ``a;b`` in registry order, for a table cell; KeyError for a flag that nobody registered."""
    unknown = set(flags) - set(FLAGS)
    if unknown:
        raise KeyError(f"unregistered flags: {sorted(unknown)}")
    return ";".join(name for name in FLAGS if name in set(flags))


def split_flags(cell: str) -> set[str]:
    """Return the flags of a table cell."""
    return {f for f in str(cell).split(";") if f}
