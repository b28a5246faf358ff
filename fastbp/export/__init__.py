"""Models as files that other programs run, without fastbp: one module for each kind of file."""
