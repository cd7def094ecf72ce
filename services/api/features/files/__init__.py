"""Files: what is inside backups."""
