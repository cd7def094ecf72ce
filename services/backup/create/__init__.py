"""One run: hooks, sources, borg, and what it leaves on record."""
