"""The settings of study.toml on what was stained together, on its channels, and on each staining day."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from sevhisto.metrics import TISSUE
from sevhisto.registry import did_you_mean
from sevhisto.rules import Rule, check_rules, parse_rule
from sevhisto.settings import Settings
from sevhisto.settings import setting as _s

CLASS_ROLES = ("other", "ecm", "macrophage", "myelin", "vessel")
"""Roles that a class of a classifier can have: the others are needed before any pixel is classified."""


MarkerRole = Literal["nuclei", "landmark", "macrophage", "ecm", "vessel", "myelin", "tracer", "cell_body", "autofluorescence", "other"]


CELL_ROLES: tuple[str, ...] = ("nuclei", "cell_body", "landmark", "macrophage", "tracer", "other")
"""Roles whose cells are counted; matrix lies between cells, and autofluorescence is not a label."""


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
    thresholds: dict[str, dict[str, float]] = _s(
        {},
        "thresholds set by hand for this batch, panel by panel: {main = {CD68 = 120}}; they come before all others. Those that were set in "
        "the viewer or by `sevhisto threshold` (thresholds.jsonl) come before these",
        "grey",
    )
