"""Models for other programs and libraries, without fastbp: one module for each kind of file or object."""
