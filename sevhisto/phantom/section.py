"""One synthetic section: anatomy, structure and optics put together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sevhisto.phantom import cells, optics
from sevhisto.phantom.geometry import Mask, build_anatomy
from sevhisto.phantom.spec import MARKERS, SectionSpec
from sevhisto.phantom.structure import Cells, Nuclei, Painter
from sevhisto.phantom.truth import SectionTruth
from sevhisto.types import DoubleArray, FloatArray


@dataclass
class PhantomSection:
    """A synthetic section: uint16 image (channels, height, width), and its truth."""

    spec: SectionSpec
    seed: int
    image: npt.NDArray[np.uint16]
    truth: SectionTruth


def make_section(spec: SectionSpec, seed: int, keep_truth_images: bool = True) -> PhantomSection:
    """Return a synthetic section with exact truth.

    Parameters
    ----------
    spec : what it shall look like
    seed : the same spec and seed give the same bytes; a component's random numbers do not depend on which markers are shown
    keep_truth_images : keep the noise-free image of every stain in ``truth.images``; else they are made again when asked for, and
        memory holds two float planes at a time (three with bleed-through)
    """
    anatomy = build_anatomy(spec, seed)
    painter = Painter(spec, anatomy, seed)
    layers, glow, nuclei, found, puncta = _paint(painter)
    truth = SectionTruth(spec, seed, anatomy, layers, nuclei, found, puncta, glow)
    if keep_truth_images:
        for marker in spec.markers:
            truth.images[marker] = truth.optical(marker)
    image = np.empty((len(spec.markers), *anatomy.frame.shape), np.uint16)
    af = optics.autofluorescence(spec, anatomy, glow, seed)
    for k, marker in enumerate(spec.markers):
        leak_of = spec.bleed_through.get(marker, {})
        leaks: list[tuple[float, FloatArray]] = [(share, truth.optical(source)) for source, share in leak_of.items()]
        plane = truth.optical(marker)
        light = optics.photons(spec, marker, plane.copy() if keep_truth_images else plane, af, leaks)
        image[k] = optics.camera(spec, light, marker, seed)
        del leaks, plane, light
    return PhantomSection(spec, seed, image, truth)


def _paint(painter: Painter) -> tuple[dict[str, Mask], Mask, Nuclei, Cells, DoubleArray]:
    """Return the layers of the spec's markers (and of bleed-through sources), the glow of CD68+ cells, and the objects."""
    spec = painter.spec
    wanted = {*spec.markers, *(s for b in spec.bleed_through.values() for s in b)}
    fibres = [m for m in spec.markers if MARKERS[m].kind == "fibres"] + sorted(
        m for m in wanted - set(spec.markers) if MARKERS[m].kind == "fibres"
    )
    layers = {m: painter.blank() for m in fibres}
    walls = painter.vessels({m: (layers[m], MARKERS[m].on_vessels, MARKERS[m].fibre_width_um) for m in fibres})
    for marker in fibres:
        painter.fibres(marker, layers[marker])
    cd68, glow = painter.blank(), painter.blank()
    found = cells.macrophages(painter, cd68, glow)
    cd206 = painter.blank()
    found = cells.cd206(painter, cd206, cd68, found, walls)
    layers |= {"CD68": cd68, "CD206": cd206}
    dapi = painter.blank()
    nuclei = painter.nuclei(dapi, found, walls)
    layers["DAPI"] = dapi
    if "GFAP" in wanted:
        layers["GFAP"] = painter.blank()
        cells.astrocytes(painter, layers["GFAP"])
    puncta = np.zeros((0, 2))
    if "sEV" in wanted:
        layers["sEV"] = painter.blank()
        puncta = cells.puncta(painter, layers["sEV"], found)
    if "AF" in wanted:
        layers["AF"] = painter.blank()
    return {m: p for m, p in layers.items() if m in wanted}, glow, nuclei, found, puncta
