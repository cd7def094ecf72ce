"""Settings: read once by the command line, passed down as values."""
