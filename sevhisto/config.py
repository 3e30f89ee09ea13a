"""Every setting of study.toml, stated once: name with unit, default, bounds and one sentence."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from sevhisto.metrics import COMPOSITE, COMPOSITE_PANEL, METRIC_UNITS, MOTOR_METRICS, TISSUE, endpoint_name, fraction_of
from sevhisto.mistakes import problem_of
from sevhisto.registry import did_you_mean
from sevhisto.rules import Rule, check_rules, parse_rule
from sevhisto.settings import Settings as Settings
from sevhisto.settings import setting as _s
from sevhisto.treatment import ExposureSettings as ExposureSettings
from sevhisto.treatment import InfusionSettings as InfusionSettings
from sevhisto.treatment import ProtocolSettings as ProtocolSettings
from sevhisto.types import DISTANCE_STEP_UM, StudyError

Orientation = Literal["transverse", "sagittal", "horizontal"]
SlideRole = Literal["sample", "unstained", "no_primary", "single_stain", "uninjured", "bridge"]
SLIDE_ROLES: tuple[str, ...] = ("sample", "unstained", "no_primary", "single_stain", "uninjured", "bridge")
WITHOUT_LESION = ("unstained", "no_primary", "single_stain")
"""Roles of tissue in which no lesion is sought, since its landmark need not be stained."""
CLASS_ROLES = ("other", "ecm", "macrophage", "myelin", "vessel")
"""Roles that a class of a classifier can have: the others are needed before any pixel is classified."""
MarkerRole = Literal["nuclei", "landmark", "macrophage", "ecm", "vessel", "myelin", "tracer", "cell_body", "autofluorescence", "other"]
CELL_ROLES: tuple[str, ...] = ("nuclei", "cell_body", "landmark", "macrophage", "tracer", "other")
"""Roles whose cells are counted; matrix lies between cells, and autofluorescence is not a label."""


class StudySettings(Settings):
    """[study]: what was cut, and how."""

    name: str = Field(description="name of the study", min_length=1)
    slides_dir: str = _s("slides", "folder of the image files, relative to study.toml; '.' where they lie beside it")
    labels_dir: str = _s("labels", "folder of label images of nuclei, relative to study.toml; used where `segmenter` is `labels`")
    blind: bool = _s(True, "show animals and groups by code until `compare --unblind`")
    orientation: Orientation = _s("transverse", "plane of the sections; never mixed in one study")
    section_spacing_um: float = Field(
        description="distance between neighbouring analysed sections of one panel",
        gt=0,
        json_schema_extra={"unit": "um"},
    )
    section_thickness_um: float = _s(20.0, "thickness of a section; never used as spacing", "um", gt=0)
    sampling: str = _s("", "how sections were chosen, such as '1 in 10, random start'")
    shrinkage_linear_pct: float = _s(0.0, "linear shrinkage; recorded, not applied", "pct", ge=0, lt=60)


class ChannelSettings(Settings):
    """[[panels.X.channels]]: which channel of the file shows which marker."""

    channel: str | int = Field(description="name in the file, or number from 1; in brightfield the stain; of a classifier the class")
    marker: str = Field(description="marker, as in the tables", min_length=1)
    role: MarkerRole = Field(description="what the marker is for")
    source: Literal["file", "classifier"] = _s("file", "`classifier`: a class of the panel's classifier, its probability in per mille")
    aliases: list[str] = _s([], "other names of this channel in the files")
    antibody: str = _s("", "antibody")
    clone: str = _s("", "clone")
    dilution: str = _s("", "dilution")
    threshold: float | None = _s(None, "fixed threshold on corrected intensity: the hand-set rung of the ladder", "grey")
    cell_compartment: Literal["either", "ring", "nucleus"] = _s(
        "either", "where a cell positive for the marker shows it: around the nucleus, at its place (over or under it, too), or either"
    )


class PanelSettings(Settings):
    """[panels.X]: markers stained together."""

    kind: Literal["fluorescence", "brightfield"] = _s("fluorescence", "fluorescence channels, or stains in a colour image")
    stain: str = _s("", "brightfield stain: a name from the stain registry, such as hematoxylin_dab or picrosirius")
    stain_vectors: dict[str, tuple[float, float, float]] = _s(
        {},
        "optical density of a stain in red, green and blue, where it was measured: {collagen = [0.80, 0.59, 0.11]}; else it is estimated",
    )
    classifier: str = _s("", "trained pixel classifier, as `sevhisto train` named it: classifiers/<name>.npz beside study.toml")
    pairs: list[tuple[str, str]] = _s([], "marker pairs that get a joint tally, for colocalisation")
    phenotypes: dict[str, str] = _s(
        {},
        'kinds of cells by name and rule: {cd68_cd206 = "CD68 and CD206", cd68_only = "CD68 and not CD206"}; names with spaces in quotes',
    )
    channels: list[ChannelSettings] = Field(description="channel to marker, in the order of the tables", min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> PanelSettings:
        markers = [c.marker for c in self.channels]
        twice = sorted({m for m in markers if markers.count(m) > 1})
        if twice:
            raise ValueError(f"marker {twice[0]!r} stands twice; give each channel its own marker")
        for pair in self.pairs:
            for marker in pair:
                if marker not in markers:
                    raise ValueError(f"pairs names {marker!r}, which is no marker of this panel; {did_you_mean(marker, markers)}")
        for role in ("nuclei", "landmark", "vessel", "cell_body", "autofluorescence"):
            if sum(c.role == role for c in self.channels) > 1:
                raise ValueError(f"more than one channel has role {role!r}")
        if self.kind == "brightfield" and not self.stain:
            raise ValueError("a brightfield panel needs `stain`")
        if self.kind == "fluorescence" and self.stain_vectors:
            raise ValueError("stain_vectors are for brightfield panels")
        for name, vector in self.stain_vectors.items():
            if min(vector) < 0 or max(vector) <= 0 or not all(map(math.isfinite, vector)):
                raise ValueError(f"stain_vectors.{name} must be three optical densities, none negative and not all 0")
        return self

    @model_validator(mode="after")
    def _classes_fit(self) -> PanelSettings:
        last = self.channels[len(self.stained.channels) :]
        if bool(self.classifier) != any(c.source == "classifier" for c in self.channels):
            raise ValueError('`classifier` and channels with source = "classifier", one for each class to measure, need each other')
        if len(last) == len(self.channels) or any(c.source == "file" for c in last):
            raise ValueError('channels with source = "classifier" come after those of the file, of which one at least is needed')
        for channel in last:
            if channel.role not in CLASS_ROLES:
                raise ValueError(f"class {channel.channel!r} cannot have role {channel.role!r}; it can have {', '.join(CLASS_ROLES)}")
        if any(c in self.classifier for c in "/\\:") or self.classifier.startswith("."):
            raise ValueError("classifier is the name of a file in classifiers/, without folder and ending")
        return self

    @property
    def stained(self) -> PanelSettings:
        """The panel without what a classifier adds: what is in the files."""
        kept = [c for c in self.channels if c.source == "file"]
        return self if len(kept) == len(self.channels) else self.model_copy(update={"channels": kept, "classifier": ""})

    @property
    def classes(self) -> dict[str, str]:
        """Class of the classifier that each marker which is one shows."""
        return {c.marker: str(c.channel) for c in self.channels if c.source == "classifier"}

    @model_validator(mode="after")
    def _rules_known(self) -> PanelSettings:
        if self.phenotypes and self.marker_of_role("nuclei") is None:
            raise ValueError("phenotypes are kinds of cells, and the panel has no channel with role 'nuclei'")
        check_rules(self.phenotypes, self.markers, [c.marker for c in self.channels if c.role in CELL_ROLES], TISSUE)
        return self

    @property
    def markers(self) -> tuple[str, ...]:
        """Markers in table order."""
        return tuple(c.marker for c in self.channels)

    @property
    def rules(self) -> dict[str, Rule]:
        """The phenotypes, parsed, in the order of study.toml."""
        return {name: parse_rule(text) for name, text in self.phenotypes.items()}

    @property
    def rows(self) -> tuple[str, ...]:
        """What the tables have a row for: the markers, then the phenotypes."""
        return (*self.markers, *self.phenotypes)

    def marker_of_role(self, role: str) -> str | None:
        """Return the first marker with this role, or None."""
        return next((c.marker for c in self.channels if c.role == role), None)

    @property
    def cell_marker(self) -> str | None:
        """The marker in whose image cells are found: that of the nuclei, or without one that of the cell bodies."""
        return self.marker_of_role("nuclei") or self.marker_of_role("cell_body")


class ShadingSettings(Settings):
    """[batches.X.shading]: how evenly the camera saw this batch. Fluorescence only; without this section nothing is divided out."""

    flat: dict[str, str] = _s(
        {},
        "image of an evenly bright field per marker, relative to study.toml: {CD68 = 'flat/cy5.tif'}; whole numbers are grey levels over "
        "the dark level, other numbers the gain itself",
    )
    estimate: bool = _s(False, "for markers without such an image, estimate it from all slides of the batch")
    field_um: tuple[float, float] | None = _s(
        None, "width and height of a camera field as stitched (the stage's step); left out, every image is one field", "um"
    )
    origin_um: tuple[float, float] = _s((0.0, 0.0), "x and y in the image where a camera field starts", "um")
    dark: dict[str, float] = _s({}, "level without light per marker; left out, that of the glass of the batch's slides", "grey")

    @model_validator(mode="after")
    def _something(self) -> ShadingSettings:
        if not self.flat and not self.estimate:
            raise ValueError("give images in `flat`, or set `estimate` to true")
        if self.field_um is not None and not all(math.isfinite(v) and v > 0 for v in self.field_um):
            raise ValueError("field_um must be a width and a height above 0")
        return self


class BatchSettings(Settings):
    """[batches.X]: what is known of one staining day."""

    date: str = _s("", "staining date")
    bleed_through: dict[str, dict[str, float]] = _s(
        {}, "share of another marker's signal that leaks into a marker: {CD206 = {CD68 = 0.03}}"
    )
    shading: ShadingSettings | None = _s(None, "how evenly the camera saw")


class ZoneSettings(Settings):
    """[zones]: rings around the lesion core."""

    edges_um: list[float] = _s([0, 250, 500, 1000, 2000], "borders of the zones, from the core's edge outwards", "um", min_length=2)

    @model_validator(mode="after")
    def _on_bins(self) -> ZoneSettings:
        e = self.edges_um
        if e[0] != 0 or any(b <= a for a, b in itertools.pairwise(e)):
            raise ValueError("edges_um must start at 0 and grow")
        if any(v % DISTANCE_STEP_UM for v in e) or e[-1] > 3000:
            raise ValueError(f"edges_um must be multiples of {DISTANCE_STEP_UM} um, 3000 at most")
        return self

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Zone name to its range of signed distance, ``core`` first; ``all`` is every pixel of tissue."""
        rings = {f"{a:g}-{b:g}": (a, b) for a, b in zip(self.edges_um, self.edges_um[1:], strict=False)}
        return {"core": (-math.inf, 0.0), **rings, "all": (-math.inf, math.inf)}


LABELS = "labels"
"""Value of imaging.segmenter for nuclei, and of imaging.body_segmenter for cells, that were labelled elsewhere."""
TYPICAL_NUCLEUS_UM = 8.0
"""What a nucleus is taken for where its size is neither set nor estimated yet."""


LESION_CUES = ("landmark", "nuclei", "cavity")
"""Words of imaging.lesion_cues that are no markers."""


class ImagingSettings(Settings):
    """[imaging]: how pixels become records. A change here reads the slides again."""

    overview_um: float = _s(4.0, "pixel size of tissue, cavity and lesion masks", "um", ge=1, le=40)
    blur_um: float = _s(0.3, "sigma of the Gaussian before the tally; below a third of a pixel none is applied", "um", ge=0, le=20)
    min_section_mm2: float = _s(0.2, "smallest piece of tissue that counts as a section", "mm2", gt=0)
    min_lesion_mm2: float = _s(0.02, "smallest lesion core", "mm2", gt=0)
    min_cavity_um2: float = _s(2000.0, "smallest hole that counts as cavity", "um2", gt=0)
    lesion_smoothing_um: float = _s(20.0, "sigma of the smoothing of the landmark before the core is sought", "um", gt=0)
    lesion_cues: list[str] = _s(
        list(LESION_CUES),
        "what shows the lesion core: dark in the `landmark`, dense in `nuclei`, holds the `cavity`, dense in a marker given by its name "
        "(CD68); a marker that is measured too is then flagged `circular`",
    )
    contour_reach_um: float = _s(
        200.0,
        "a panel without landmark takes the outline of the animal's nearest section that has one, this far along the cord at most; 0: none",
        "um",
        ge=0,
        le=5000,
    )
    mask_faults: bool = _s(True, "leave out what is torn, folded, under a bubble, out of focus or without data; false only flags it")
    meninges_um: float = _s(0.0, "rim of the tissue to leave out", "um", ge=0, le=500)
    segmenter: str = _s(
        "watershed",
        "how nuclei are found: `watershed`, `labels` for label images made elsewhere, or a function of your own, `package.module:function`",
    )
    body_segmenter: str = _s(
        "cell_bodies",
        "how cells are found in a panel without nuclei, in the image of its marker with role `cell_body`: `cell_bodies`, `labels`, or a "
        "function of your own",
    )
    segmenter_model: str = _s("", "file or folder of the model that a function of your own gets, relative to study.toml; never fetched")
    nucleus_diameter_um: float | None = _s(None, "typical nucleus; left out, it is estimated from each section", "um", ge=2, le=60)
    ring_um: float = _s(2.0, "width of the ring around a nucleus in which its cytoplasm is measured", "um", gt=0, le=20)
    fibre_sigma_um: float = _s(1.5, "scale of the fibre gradients", "um", gt=0, le=20)
    vessel_reach_um: float = _s(
        5.0, "matrix this near to a positive pixel of the panel's `vessel` marker is bound to a vessel", "um", ge=0, le=30
    )
    local_background_um: float = _s(
        50.0, "radius of structure, for what stands over the local background: the specification curve only", "um", ge=10, le=500
    )
    puncta_diameter_um: float = _s(0.8, "typical spot of a tracer; pixels of more than half of it cannot show one", "um", ge=0.2, le=5)


def segmenter_name(panel: PanelSettings, imaging: ImagingSettings) -> str:
    """Return what finds the cells of a panel: that of nuclei, or in a panel without them that of cell bodies."""
    return imaging.segmenter if panel.marker_of_role("nuclei") else imaging.body_segmenter


class ThresholdSettings(Settings):
    """[thresholds]: the ladder from controls. A change here reads no pixel."""

    ladder: list[Literal["no_primary", "unstained", "uninjured", "batch"]] = _s(
        ["no_primary", "unstained", "uninjured", "batch"],
        "rungs, best first; a marker's own `threshold` comes before all",
    )
    percentile: float = _s(99.5, "percentile of the no_primary or unstained tissue", "pct", gt=50, lt=100)
    false_puncta_per_mm2: float = _s(
        20.0, "spots per area of no_primary or unstained tissue that pass the threshold of a tracer's spots", "per_mm2", gt=0
    )
    dye_excess: float = _s(
        100.0,
        "dyes of matrix (masson, picrosirius): excess over the counterstain that is positive",
        "milli OD",
        gt=0,
        le=2000,
    )
    k_mad: float = _s(5.0, "uninjured and batch rungs: median + k x 1.4826 MAD", "", gt=0, le=50)
    per_image: bool = _s(
        False, "a threshold for each section, by Otsu, instead of the ladder: to compare with other work only; every output is flagged"
    )
    use_bridge: bool = _s(
        False, "one threshold for all batches, moved to each by the factor that `bridge` sections tell; intensities are divided by it"
    )


FERGUSON = [0.0, 1.0, 2.0, 2.0, 2.0, *(float(b - 2) for b in range(5, 14)), *[12.0] * 8]
"""BBB with scores 2 to 4, and 14 and above, pooled (Ferguson et al. 2004, 643 rats): equal steps where moderate injuries lie."""


class MotorSettings(Settings):
    """[motor]: how recovery is summarised per animal."""

    test: str = _s("BBB", "test that is analysed")
    maximum: float = _s(21.0, "top of the scale", "score", gt=0)
    criterion: float = _s(9.0, "score whose first day counts as onset of recovery", "score", gt=0)
    early_until_day: float = _s(14.0, "end of the early area under the curve", "d", gt=0)
    pooled: list[float] = _s(
        [], "score on a scale of equal steps for each score from 0 to `maximum`; empty: Ferguson 2004 for BBB, no pooled scale for others"
    )
    day1_imbalance_sd: float = _s(0.8, "difference of day-1 scores, in SD, above which motor results are flagged", gt=0)

    @model_validator(mode="after")
    def _pooled_whole(self) -> MotorSettings:
        if self.pooled and (len(self.pooled) != self.maximum + 1 or any(b < a for a, b in itertools.pairwise(self.pooled))):
            raise ValueError(f"pooled needs {self.maximum + 1:g} numbers that do not fall, one for each score from 0 to {self.maximum:g}")
        return self

    @property
    def pooled_scale(self) -> list[float]:
        """The pooled score of each score from 0 up; empty where there is no such scale."""
        return self.pooled or (FERGUSON if self.test == "BBB" and self.maximum == len(FERGUSON) - 1 else [])


class EndpointSettings(Settings):
    """[endpoints]: columns of animals_wide.csv, or motor endpoints such as BBB_auc_score_days."""

    primary: list[str] = _s([], "at most two; Holm over the contrasts of each")
    secondary: list[str] = _s([], "Benjamini-Hochberg over all of them; empty means every fraction and the volumes in core and all")

    @model_validator(mode="after")
    def _few_and_once(self) -> EndpointSettings:
        both = [*self.primary, *self.secondary]
        twice = sorted({name for name in both if both.count(name) > 1})
        if len(self.primary) > 2:
            raise ValueError(f"{len(self.primary)} primary endpoints; at most two can be: move the others to secondary")
        if twice:
            raise ValueError(f"{twice[0]!r} stands twice; name it once, as primary or as secondary")
        return self


class ContrastSettings(Settings):
    """[[contrasts]]: mean of groups a minus mean of groups b."""

    name: str = Field(description="short name", min_length=1)
    a: list[str] = Field(description="protocols", min_length=1)
    b: list[str] = Field(description="protocols", min_length=1)
    planned: bool = _s(True, "false marks it exploratory")

    @model_validator(mode="after")
    def _apart(self) -> ContrastSettings:
        both = set(self.a) & set(self.b)
        if both:
            raise ValueError(f"{sorted(both)[0]!r} stands on both sides")
        return self


class ComparisonSettings(Settings):
    """[comparison]: intervals and permutations."""

    permutations: int = _s(10000, "Monte-Carlo permutations where all cannot be counted", "", ge=999, le=1_000_000)
    seed: int = _s(1, "seed of the permutations", "", ge=0)
    dose_tolerance_pct: float = _s(5.0, "difference of total dose up to which groups count as dose-matched", "pct", ge=0)


class StudyConfig(Settings):
    """The whole of study.toml."""

    study: StudySettings
    panels: dict[str, PanelSettings] = Field(min_length=1)
    batches: dict[str, BatchSettings] = Field(default_factory=dict)
    protocols: dict[str, ProtocolSettings] = Field(default_factory=dict)
    zones: ZoneSettings = ZoneSettings()
    imaging: ImagingSettings = ImagingSettings()
    thresholds: ThresholdSettings = ThresholdSettings()
    motor: MotorSettings = MotorSettings()
    exposure: ExposureSettings = ExposureSettings()
    endpoints: EndpointSettings = EndpointSettings()
    contrasts: list[ContrastSettings] = Field(default_factory=list)
    comparison: ComparisonSettings = ComparisonSettings()

    @model_validator(mode="after")
    def _names_known(self) -> StudyConfig:
        for contrast in self.contrasts:
            for name in (*contrast.a, *contrast.b):
                if name not in self.protocols:
                    raise ValueError(f"contrast {contrast.name!r} names protocol {name!r}; {did_you_mean(name, list(self.protocols))}")
        markers = [m for p in self.panels.values() for m in p.stained.markers]
        for name, batch in self.batches.items():
            leaks, shading = batch.bleed_through, batch.shading
            named = [("bleed_through", m) for into, sources in leaks.items() for m in (into, *sources)]
            named += [] if shading is None else [("shading", m) for m in (*shading.flat, *shading.dark)]
            for setting, marker in named:
                if marker not in markers:
                    raise ValueError(f"batches.{name}.{setting} names {marker!r}; {did_you_mean(marker, markers)}")
        return self

    @model_validator(mode="after")
    def _cues_known(self) -> StudyConfig:
        roles = {c.marker: c.role for p in self.panels.values() for c in p.stained.channels}
        named = [c for c in self.imaging.lesion_cues if c not in LESION_CUES]
        for cue in named:
            if cue not in roles:
                raise ValueError(f"imaging.lesion_cues names {cue!r}; {did_you_mean(cue, [*LESION_CUES, *roles])}")
            if roles[cue] in LESION_CUES:
                raise ValueError(f"imaging.lesion_cues names {cue!r}, which is the {roles[cue]}: write {roles[cue]!r}")
        if not named and "landmark" not in self.imaging.lesion_cues:
            raise ValueError("imaging.lesion_cues: nuclei and cavity alone draw no border; add landmark, or a marker")
        return self

    @model_validator(mode="after")
    def _endpoints_known(self) -> StudyConfig:
        wanted = [*self.endpoints.primary, *self.endpoints.secondary]
        known = self.endpoint_names() if wanted else []
        wrong = [f"{name!r} ({did_you_mean(name, known)})" for name in wanted if name not in known]
        if wrong:
            raise ValueError(f"endpoints names what this study cannot give: {', '.join(wrong)}")
        return self

    def labelled(self, panel: str) -> bool:
        """Return whether the nuclei of a panel are taken from label images made elsewhere."""
        settings = self.panels[panel]
        return settings.cell_marker is not None and segmenter_name(settings, self.imaging) == LABELS

    def endpoint_names(self) -> list[str]:
        """Return every column that animals_wide.csv can have under these settings."""
        zones = [z + half for z in self.zones.ranges for half in ("", "_rostral", "_caudal")]
        metrics = [m for m in METRIC_UNITS if m not in (*MOTOR_METRICS, "index")]
        names = []
        for panel, settings in self.panels.items():
            shares = [*metrics, *(fraction_of(m) for m in settings.markers)]
            for zone, marker in itertools.product(zones, (*settings.rows, TISSUE)):
                own = dict.fromkeys(shares) if marker in settings.phenotypes else metrics
                names += [endpoint_name(panel, zone, marker, metric) for metric in own]
        matrix = dict.fromkeys(c.marker for p in self.panels.values() for c in p.channels if c.role == "ecm")
        names += [endpoint_name(COMPOSITE_PANEL, "core", marker, "index") for marker in (*matrix, COMPOSITE)]
        return names + [endpoint_name(self.motor.test, "", "", metric) for metric in MOTOR_METRICS]


def parse_config(data: dict[str, Any], where: str = "study.toml") -> StudyConfig:
    """Return the typed settings; StudyError holds every mistake, with its place and a remedy."""
    try:
        return StudyConfig.model_validate(data)
    except ValidationError as error:
        raise StudyError([problem_of(e, StudyConfig, where) for e in error.errors()]) from None


def settings_hash(*parts: Any) -> str:
    """Return the sha256 (hex) of settings and JSON-able values: equal settings, equal hash."""
    plain = [p.model_dump(mode="json") if isinstance(p, BaseModel) else p for p in parts]
    return hashlib.sha256(json.dumps(plain, sort_keys=True, allow_nan=False).encode()).hexdigest()
