"""A network: its parts, what is computed from them, and its file."""
