"""Figures, overlays and the one HTML report: tables and records in, text and pictures out; nothing is measured or tested here."""

from sevhisto.report.gallery import SectionCard
from sevhisto.report.html import render_report
from sevhisto.report.inputs import ReportInputs
from sevhisto.report.overlay import batch_contrast, overlay, overlay_image, tissue_histograms

__all__ = ["ReportInputs", "SectionCard", "batch_contrast", "overlay", "overlay_image", "render_report", "tissue_histograms"]
