"""Tables: what is asked of predictions from rows of columns. NumPy is not imported here: the parser reads `TASKS`."""

CLASSES, NUMBERS = TASKS = ("classes", "numbers")
