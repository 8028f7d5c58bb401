"""Real server processes as one cluster, and what a real fleet does to them."""
