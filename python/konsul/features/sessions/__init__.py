"""Sessions: who holds locks on keys, for as long as it lives and its checks do not fail."""
