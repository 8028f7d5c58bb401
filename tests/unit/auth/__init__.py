"""Who calls: tokens, keys, passwords, what is remembered."""
