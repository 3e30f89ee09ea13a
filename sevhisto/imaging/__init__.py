"""Pixels to records: tissue, lesion, background, tally, cells and fibres. Pure functions on arrays."""
