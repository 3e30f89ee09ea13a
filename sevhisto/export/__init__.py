"""A study for other programs: Prism, R, Excel, Parquet, ODC-SCI, AnnData, QuPath, ImageJ, OME-Zarr and OME-TIFF.

Every format is a function that writes into an empty folder; nothing here reads a file, but the table of the cells
piece by piece, or knows whether the key is open.
"""
