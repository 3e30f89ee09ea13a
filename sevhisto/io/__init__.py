"""Files, and no analysis: slide readers, the study's sheets, results on disk, drawn outlines, and the key of the blinding."""
