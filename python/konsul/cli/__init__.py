"""konsulctl: the command line. It speaks through the client and never loads the server."""
