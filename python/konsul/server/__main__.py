"""`python -m konsul.server`."""

from konsul.server.main import main

main()
