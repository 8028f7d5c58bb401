"""A rolling upgrade: which nodes, by which commands, in which order, and what must hold in between."""
