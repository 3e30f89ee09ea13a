"""Synthetic spinal cord sections, slides and studies with exact truth. Nothing in them is a biological result."""

from sevhisto.phantom.section import PhantomSection, make_section
from sevhisto.phantom.slide import write_slide
from sevhisto.phantom.spec import MARKERS, PANEL_A, PANEL_B, SectionSpec
from sevhisto.phantom.study import declared, make_study
from sevhisto.phantom.study_files import StudyTruth, load_truth
from sevhisto.phantom.study_spec import Arm, StudySpec
from sevhisto.phantom.truth import SectionTruth, positive_px, truth_histograms, truth_table, zone_labels, zone_names

__all__ = [
    "MARKERS",
    "PANEL_A",
    "PANEL_B",
    "Arm",
    "PhantomSection",
    "SectionSpec",
    "SectionTruth",
    "StudySpec",
    "StudyTruth",
    "declared",
    "load_truth",
    "make_section",
    "make_study",
    "positive_px",
    "truth_histograms",
    "truth_table",
    "write_slide",
    "zone_labels",
    "zone_names",
]
