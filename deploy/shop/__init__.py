"""A small web shop of six services, found and kept healthy through Konsul: an example that runs."""
