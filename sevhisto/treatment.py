"""The settings of study.toml on how a treatment was delivered, and on the model of what it exposed an animal to."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from sevhisto.settings import Settings
from sevhisto.settings import setting as _s


class InfusionSettings(Settings):
    """[protocols.X.infusion]: a continuous delivery."""

    start_h: float = Field(description="start after injury", ge=0, le=100_000, json_schema_extra={"unit": "h"})
    duration_h: float = Field(description="how long the pump delivered", gt=0, le=100_000, json_schema_extra={"unit": "h"})
    rate_ul_h: float | None = _s(None, "pump rate", "ul/h", gt=0)
    loaded_volume_ul: float | None = _s(None, "volume put into the pump; what stays in it is not delivered", "ul", gt=0)

    @property
    def volume_ul(self) -> float | None:
        """Volume that the pump delivers as planned; None where the rate is not known."""
        return None if self.rate_ul_h is None else self.rate_ul_h * self.duration_h


class ProtocolSettings(Settings):
    """[protocols.X]: how a treatment was delivered; an empty table for a group that was given nothing (injury only, sham)."""

    route: str = _s("", "route, such as intravenous")
    vehicle: str = _s("", "the solution that carries the treatment")
    total_dose: float = _s(0.0, "dose delivered in total; 0 for a vehicle group", ge=0, le=1e18)
    dose_unit: Literal["particles", "ug"] = _s("particles", "unit of the dose")
    other_dose: float | None = _s(None, "the same dose in the other of the two units, where it is known", ge=0)
    per_kg: bool = _s(False, "doses are per kg of body weight; animals.csv then needs weight_g")
    double_dummy: bool = _s(False, "the group also got the vehicle in the other mode: pump and injections for every animal")
    dye_only: bool = _s(False, "the group got the tracer's dye without vesicles: the control that a claim of uptake needs")
    injections_h: list[float] = _s([], "times of the injections after injury", "h")
    infusion: InfusionSettings | None = _s(None, "continuous delivery")

    @property
    def untreated(self) -> bool:
        """Whether the group was given nothing, not even a vehicle."""
        return self.infusion is None and not self.injections_h

    @property
    def is_vehicle(self) -> bool:
        """Whether the group was given the vehicle alone."""
        return self.total_dose == 0 and not self.untreated

    @model_validator(mode="after")
    def _one_mode(self) -> ProtocolSettings:
        if not self.model_fields_set:
            return self
        missing = [name for name in ("route", "total_dose", "dose_unit") if name not in self.model_fields_set]
        if missing or not self.route:
            told = ", ".join(missing or ["route"])
            raise ValueError(f"{told}: missing; leave the whole table empty only where the group was given nothing")
        if bool(self.injections_h) == (self.infusion is not None):
            raise ValueError("give either injections_h or infusion")
        if any(t < 0 or not math.isfinite(t) for t in self.injections_h):
            raise ValueError("injections_h must be hours after injury, 0 or more")
        pump = self.infusion
        if pump and pump.loaded_volume_ul and pump.volume_ul and pump.volume_ul > pump.loaded_volume_ul:
            told = f"{pump.rate_ul_h:g} ul/h for {pump.duration_h:g} h are {pump.volume_ul:g} ul, more than loaded_volume_ul"
            raise ValueError(f"infusion: {told}; correct one of the three")
        return self


class ExposureSettings(Settings):
    """[exposure]: the model behind exposure.csv. None of its numbers is known for vesicles in an injured rat: vary them."""

    half_life_min: float = _s(7.0, "half-life of vesicles in blood", "min", gt=0)
    half_life_range_min: tuple[float, float] = _s((2.0, 792.0), "shortest and longest half-life that is thought possible", "min")
    level_share: float = _s(0.5, "level of `time_above_h`, as a share of the plateau of the study's longest delivery", "", gt=0, le=1000)
    half_uptake_share: float = _s(1.0, "amount at which saturable uptake runs at half speed, as a share of the same plateau", "", gt=0)
    pump_half_life_h: float | None = _s(None, "time in which vesicles in a pump lose half of their activity; none: they keep it", "h", gt=0)

    @model_validator(mode="after")
    def _around(self) -> ExposureSettings:
        low, high = self.half_life_range_min
        if not 0 < low <= self.half_life_min <= high < math.inf:
            raise ValueError("half_life_range_min must be two numbers above 0, with half_life_min between them")
        return self
