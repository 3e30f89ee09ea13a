"""A synthetic study as it is asked for: arms, contrasts, animals, slides."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from sevhisto.config import SlideRole
from sevhisto.phantom.motor import MotorModel
from sevhisto.phantom.spec import PANEL_A, PANEL_B, SectionSpec
from sevhisto.types import Problem, SevhistoError

PANELS: Mapping[str, tuple[str, ...]] = {"A": PANEL_A, "B": PANEL_B}
ECM = ("fibronectin", "collagen_I")
BLEED_THROUGH: Mapping[str, Mapping[str, float]] = {"CD206": {"CD68": 0.03}, "collagen_I": {"fibronectin": 0.02}}


@dataclass(frozen=True)
class Arm:
    """What a protocol does: ratio of the ECM coverage and of the CD206 share to vehicle, BBB plateau shift (points), ratio of tau."""

    ecm_ratio: float = 1.0
    cd206_ratio: float = 1.0
    plateau_shift: float = 0.0
    tau_ratio: float = 1.0


ARMS: Mapping[str, Arm] = {
    "vehicle": Arm(),
    "daily_3d": Arm(0.85, 1.1, 1.0, 0.95),
    "infusion_3d": Arm(0.75, 1.2, 1.75, 0.85),
    "infusion_6d": Arm(0.60, 1.3, 2.5, 0.75),
}
CONTRASTS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "mode": (("infusion_3d",), ("daily_3d",)),
    "duration": (("infusion_6d",), ("infusion_3d",)),
    "any_sev": (("daily_3d", "infusion_3d", "infusion_6d"), ("vehicle",)),
}


@dataclass(frozen=True)
class StudySpec:
    """A synthetic study; every number is a simulator's choice.

    Attributes
    ----------
    cv_between : coefficient of variation between animals of the ECM factor (lognormal; its geometric mean is the arm's ratio)
    icc : share of the variance of log ECM between sections that lies between animals
    lesion_cv : of the lesion size; lesion_sd_um : of its Gaussian profile along the cord
    null : no arm differs from vehicle
    section : settings of every section (markers, role, lesion, coverage and rotation are set by the study)
    """

    seed: int = 1
    name: str = "synthetic demo"
    n_per_arm: int = 6
    n_sections: int = 5
    um_per_px: float = 1.5
    section_spacing_um: float = 400.0
    cv_between: float = 0.25
    icc: float = 0.5
    lesion_cv: float = 0.15
    lesion_sd_um: float = 450.0
    n_batches: int = 2
    null: bool = False
    arms: Mapping[str, Arm] = field(default_factory=lambda: dict(ARMS))
    motor: MotorModel = field(default_factory=MotorModel)
    section: SectionSpec = field(default_factory=lambda: SectionSpec(cord_um=(1100.0, 850.0), margin_um=40.0))

    def __post_init__(self) -> None:
        if set(self.arms) != set(ARMS):
            raise SevhistoError(Problem("phantom study", f"arms {sorted(self.arms)}", f"give effects for {', '.join(ARMS)}"))
        if min(self.n_per_arm, self.n_sections, self.n_batches) < 1 or not 0 < self.icc <= 1:
            raise SevhistoError(Problem("phantom study", "n_per_arm, n_sections, n_batches must be 1 or more, icc in 0..1", "correct them"))

    def arm(self, name: str) -> Arm:
        """Return an arm's effects: none in a null study."""
        return Arm() if self.null else self.arms[name]

    @property
    def log_sd(self) -> float:
        """SD of the animals' log ECM factor."""
        return math.sqrt(math.log1p(self.cv_between**2))


@dataclass(frozen=True)
class Animal:
    """One rat and what was drawn for it."""

    name: str
    protocol: str
    batch: str
    ecm_factor: float
    cd206_share: float
    lesion_factor: float
    plateau: float
    tau_days: float
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Piece:
    """One section on a slide."""

    animal: str
    section: str
    role: SlideRole
    position_um: int
    spec: SectionSpec
    seed: int


@dataclass(frozen=True)
class SlidePlan:
    """One slide file."""

    file: str
    panel: str
    batch: str
    pieces: tuple[Piece, ...]
