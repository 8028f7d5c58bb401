"""Prepared queries: what to look for is kept in the cluster, under a name that clients and DNS ask for."""
