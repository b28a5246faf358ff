"""Tables: what is asked of predictions from rows of columns."""
