"""The formats by name, and how each is opened; nothing heavy is loaded to know them."""

FORMATS = {
    "prism": "study.pzfx opens in GraphPad Prism 5 and later; column/, grouped/ and xy/ hold the same tables as CSV.",
    "r": "`Rscript contrasts.R` computes the contrasts again from values.csv and compares them with expected.csv.",
    "xlsx": "study.xlsx opens in Excel, LibreOffice and Numbers; the sheet Dictionary explains every column.",
    "parquet": "One .parquet per table: pandas.read_parquet, arrow::read_parquet, DuckDB. Units stand in the metadata of the columns.",
    "odc-sci": "dataset.csv and dictionary.csv go to odc-sci.org together.",
    "anndata": "cells_<panel>.h5ad opens with anndata.read_h5ad, and so in scanpy and squidpy.",
    "qupath": "Open the slide in QuPath and drag <slide>.geojson onto it; <slide>_cells.geojson holds the cells.",
    "imagej": "Open the slide in ImageJ or Fiji, then More, Open in the ROI manager.",
    "ome-zarr": "Opens in napari (napari-ome-zarr), QuPath 0.4 and later, Fiji (MoBIE) and vizarr.",
    "ome-tiff": "Opens in QuPath, Fiji (Bio-Formats) and napari.",
}
"""How each format is opened, in the order in which they are written."""
