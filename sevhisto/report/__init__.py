"""Figures, overlays and the one HTML report: tables and records in, text and pictures out; nothing is measured or tested here."""

from typing import TYPE_CHECKING

from sevhisto.lazy import attributes

if TYPE_CHECKING:
    from sevhisto.report.gallery import SectionCard
    from sevhisto.report.html import render_report
    from sevhisto.report.inputs import ReportInputs
    from sevhisto.report.overlay import batch_contrast, overlay_image, tissue_histograms

__all__ = ["ReportInputs", "SectionCard", "batch_contrast", "overlay_image", "render_report", "tissue_histograms"]

__getattr__ = attributes(  # words need no figures, whose library takes half a second to import
    __name__,
    {
        "SectionCard": "gallery",
        "render_report": "html",
        "ReportInputs": "inputs",
        **dict.fromkeys(("batch_contrast", "overlay_image", "tissue_histograms"), "overlay"),
    },
)
