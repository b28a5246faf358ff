"""Programs: the tables of operations that follow from shapes, and their run by the compiled pass."""
