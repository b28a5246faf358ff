"""From shapes to a table of operations, and the table carried out by the compiled pass."""
