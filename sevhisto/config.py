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
from sevhisto.panels import CELL_ROLES as CELL_ROLES
from sevhisto.panels import CLASS_ROLES as CLASS_ROLES
from sevhisto.panels import BatchSettings as BatchSettings
from sevhisto.panels import ChannelSettings as ChannelSettings
from sevhisto.panels import MarkerRole as MarkerRole
from sevhisto.panels import PanelSettings as PanelSettings
from sevhisto.panels import ShadingSettings as ShadingSettings
from sevhisto.registry import did_you_mean
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
        le=100_000,
        json_schema_extra={"unit": "um"},
    )
    section_thickness_um: float = _s(20.0, "thickness of a section; never used as spacing", "um", gt=0, le=1000)
    sampling: str = _s("", "how sections were chosen, such as '1 in 10, random start'")
    shrinkage_linear_pct: float = _s(0.0, "linear shrinkage; recorded, not applied", "pct", ge=0, lt=60)


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
    min_section_mm2: float = _s(0.2, "smallest piece of tissue that counts as a section", "mm2", gt=0, le=10_000)
    min_lesion_mm2: float = _s(0.02, "smallest lesion core", "mm2", gt=0, le=1000)
    min_cavity_um2: float = _s(2000.0, "smallest hole that counts as cavity", "um2", gt=0, le=10_000_000)
    lesion_smoothing_um: float = _s(20.0, "sigma of the smoothing of the landmark before the core is sought", "um", gt=0, le=500)
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
        20.0, "spots per area of no_primary or unstained tissue that pass the threshold of a tracer's spots", "per_mm2", gt=0, le=1_000_000
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
    maximum: float = _s(21.0, "top of the scale", "score", gt=0, le=1000)
    criterion: float = _s(9.0, "score whose first day counts as onset of recovery", "score", gt=0)
    early_until_day: float = _s(14.0, "end of the early area under the curve", "d", gt=0, le=3650)
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
    seed: int = _s(1, "seed of the permutations", "", ge=0, le=2**63 - 1)
    dose_tolerance_pct: float = _s(5.0, "difference of total dose up to which groups count as dose-matched", "pct", ge=0, le=100)


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
            for panel, of_panel in batch.thresholds.items():
                if panel not in self.panels:
                    raise ValueError(f"batches.{name}.thresholds names panel {panel!r}; {did_you_mean(panel, list(self.panels))}")
                known = self.panels[panel].markers
                for marker in (m for m in of_panel if m not in known):
                    raise ValueError(f"batches.{name}.thresholds.{panel} names {marker!r}; {did_you_mean(marker, list(known))}")
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
