"""Real servers and real services for tests; every child is recorded and ended by its own pid."""
