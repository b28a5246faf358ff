"""How a network learns: what it is told, the plan that follows, and the loop that carries it out."""
