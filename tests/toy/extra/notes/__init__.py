"""Notes: short texts by their authors, which readers may like."""
