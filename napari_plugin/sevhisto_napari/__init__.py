"""The napari plugin of sevhisto: pure converters to layers, and what the viewer shows."""
