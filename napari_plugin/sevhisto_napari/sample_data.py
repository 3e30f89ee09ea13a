"""The sample image: a synthetic section, so that the viewer can be tried without a slide."""

from __future__ import annotations

from sevhisto.phantom import SectionSpec, make_section
from sevhisto_napari.layers import LayerData, image_layers, outline_layer

SAMPLE_SEED = 7


def spinal_cord_section() -> list[LayerData]:
    """Return a synthetic transverse section, one layer per marker, and the true outline of its lesion core."""
    section = make_section(SectionSpec(), SAMPLE_SEED, keep_truth_images=False)
    um_per_px = section.spec.um_per_px
    layers = image_layers(section.image, section.spec.markers, um_per_px)
    core = section.truth.core_outline
    if core is not None:
        layers.append(outline_layer([core], um_per_px, "lesion core (true)"))
    return layers
