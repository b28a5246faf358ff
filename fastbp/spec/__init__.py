"""What a network is made of, in names and numbers: activations, losses, the layout of its parameters."""
