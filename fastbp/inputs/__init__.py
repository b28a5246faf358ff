"""How X is read: from memory, by slices or chunks, block by block."""
