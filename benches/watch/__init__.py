"""Ten thousand watchers on one node: how soon, how many, at what cost, and with one that never reads."""
