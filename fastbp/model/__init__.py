"""What a network is: its parts, what can be computed from them, and its file."""
