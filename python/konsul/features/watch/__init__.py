"""Changes told as they happen, on connections that stay open."""
