"""Spinal cord histology, from slides to per-animal tables and an answer that can be defended."""

__version__ = "0.2.0"
