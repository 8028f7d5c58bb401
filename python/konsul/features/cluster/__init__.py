"""Being several: how nodes form a cluster, who is in it, who leads it, and what the leader does by itself."""
