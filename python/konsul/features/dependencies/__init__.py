"""Which service needs which: declared, kept free of cycles, and shown with the health of both ends."""
