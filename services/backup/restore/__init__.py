"""Restoring: what was chosen of an archive goes back to a server, is verified, and only then placed."""
