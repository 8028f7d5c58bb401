"""Rate limits: how much each address, API key and user may ask, and who is let through or kept out."""
