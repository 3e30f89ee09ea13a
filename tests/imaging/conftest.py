"""Synthetic sections as pixel sources, and one call from pixels to a record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from sevhisto.config import ChannelSettings, ImagingSettings, PanelSettings
from sevhisto.imaging.labels import LabelImage, survey
from sevhisto.imaging.overview import SlideOverview, marker_reader, slide_overview
from sevhisto.imaging.plan import plan_section
from sevhisto.imaging.reader import MarkerReader
from sevhisto.imaging.section import measure_section
from sevhisto.phantom import MARKERS, PhantomSection, SectionSpec, make_section
from sevhisto.types import AnyArray, Correction, SectionRecord

ROLES = {
    "nuclei": "nuclei",
    "glia": "landmark",
    "macrophage": "macrophage",
    "m2": "macrophage",
    "fibres": "ecm",
    "none": "autofluorescence",
}


@dataclass(frozen=True)
class ArraySource:
    """An image in memory, as a PixelSource."""

    image: AnyArray
    um_per_px: float

    @property
    def channels(self) -> tuple[str, ...]:
        return tuple(f"c{i}" for i in range(len(self.image)))

    @property
    def shape(self) -> tuple[int, int]:
        return self.image.shape[1], self.image.shape[2]

    def read(self, channels: Sequence[int], y0: int, y1: int, x0: int, x1: int) -> AnyArray:
        return self.image[list(channels), y0:y1, x0:x1]


def panel_of(markers: Sequence[str], pairs: Sequence[tuple[str, str]] = ()) -> PanelSettings:
    """A fluorescence panel with the roles that the synthetic markers have."""
    channels = [ChannelSettings(channel=i + 1, marker=m, role=ROLES[MARKERS[m].kind]) for i, m in enumerate(markers)]
    return PanelSettings(channels=channels, pairs=list(pairs))


def plain_correction(n: int, offset: float = 0.0) -> Correction:
    """One offset for all markers, nothing unmixed."""
    return Correction(np.full(n, offset), np.eye(n), ("no_primary",) * n)


def overview_of(source: ArraySource, reader: MarkerReader, settings: ImagingSettings) -> SlideOverview:
    """Block means, as Slide.overview gives them."""
    step = max(1, round(settings.overview_um / source.um_per_px))
    h, w = source.shape
    padded = np.pad(source.image.astype(np.float64), ((0, 0), (0, -h % step), (0, -w % step)), mode="edge")
    small = padded.reshape(len(source.image), padded.shape[1] // step, step, padded.shape[2] // step, step).mean((2, 4))
    return slide_overview(small.astype(np.float32), step, source.um_per_px * step, reader, settings)


@dataclass(frozen=True)
class Bench:
    """Everything that a test needs to go from pixels to a record."""

    section: Callable[..., PhantomSection]
    panel: Callable[..., PanelSettings]
    correction: Callable[..., Correction]
    source: type[ArraySource]

    def record(
        self,
        image: AnyArray,
        um: float,
        panel: PanelSettings,
        settings: ImagingSettings | None = None,
        correction: Correction | None = None,
        labels: LabelImage | None = None,
        **more: Any,
    ) -> SectionRecord:
        """Measure an image (channels, h, w) as one slide; its nuclei are those of `labels` where given."""
        settings = settings or ImagingSettings()
        source = ArraySource(image, um)
        reader = marker_reader(panel, range(len(image)), 65535)
        overview = overview_of(source, reader, settings)
        correction = correction or plain_correction(len(panel.channels), 154.0)  # camera offset and glass of the phantom
        plan = plan_section(overview, source.shape, panel, correction, settings, **{"piece": None, **more})
        along = bool(more.get("longitudinal"))
        nuclei = None if labels is None else survey(labels, plan.corner, plan.shape, um)
        return measure_section(source, plan, reader, panel, correction, settings, longitudinal=along, nuclei=nuclei)


@pytest.fixture(scope="session")
def bench() -> Bench:
    def section(seed: int, **changes: Any) -> PhantomSection:
        return make_section(SectionSpec(**changes), seed)

    return Bench(section, panel_of, plain_correction, ArraySource)
