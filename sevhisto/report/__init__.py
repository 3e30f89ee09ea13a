"""Figures, overlays and the one HTML report: tables and records in, text and pictures out; nothing is measured or tested here."""

from sevhisto.report.html import OverlayItem, ReportInputs, render_report
from sevhisto.report.overlay import batch_contrast, overlay, overlay_image

__all__ = ["OverlayItem", "ReportInputs", "batch_contrast", "overlay", "overlay_image", "render_report"]
