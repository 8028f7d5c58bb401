"""What a feature gets for free, shown on one that exists only here."""
