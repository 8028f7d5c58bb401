"""The HTTP door: the application behind the front, its error shapes, and the front in plain Python."""
