"""How a network learns: `arguments` makes a plan of those of `MLP.fit`, `fitting` opens the rows, `loop` trains."""
