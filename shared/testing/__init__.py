"""Real servers for tests and for the demo, on loopback, in directories of their own, ended by their own pid."""
