"""How X is read: from memory; or in blocks, from files, objects with slicing and iterators of chunks.

`opening.open_rows` takes the arguments of a fit and decides which; what it returns gives training the rows of an epoch,
stage by stage. Each of these words has one meaning:

piece
    Rows that lie side by side in a source: read, and moved by the shuffle, as a whole.
block
    As many rows as one of two buffers holds: a thread fills one with pieces while training uses the other.
stage
    Consecutive rows of an epoch, in its order, as compiled code takes them: one call, or several, run through it.

A *chunk* is what a user's iterator yields, (X, y) or (X, y, sample_weight), or what a file such as HDF5's stores as a
unit.
"""
