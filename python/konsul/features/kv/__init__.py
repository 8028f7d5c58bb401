"""The key-value store: bytes under keys, with compare-and-set, TTL, prefixes, batches and transactions."""
