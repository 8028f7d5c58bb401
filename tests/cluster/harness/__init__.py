"""A cluster of real processes on this machine: started, watched, hurt, healed, read after its end."""
