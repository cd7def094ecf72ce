"""The gateway's backups."""
