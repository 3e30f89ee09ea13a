"""The commands, one module each: they read options, call the pipeline and say what it found."""
