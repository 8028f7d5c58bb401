"""A large catalog: how it fills, what it costs, how fast it answers while everybody is alive."""
