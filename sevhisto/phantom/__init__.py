"""Synthetic spinal cord sections, slides and studies with exact truth. Nothing in them is a biological result."""

from sevhisto.phantom.section import PhantomSection, make_section
from sevhisto.phantom.spec import MARKERS, PANEL_A, PANEL_B, SectionSpec
from sevhisto.phantom.truth import SectionTruth, positive_px, truth_histograms, truth_table, zone_labels, zone_names

__all__ = [
    "MARKERS",
    "PANEL_A",
    "PANEL_B",
    "PhantomSection",
    "SectionSpec",
    "SectionTruth",
    "make_section",
    "positive_px",
    "truth_histograms",
    "truth_table",
    "zone_labels",
    "zone_names",
]
