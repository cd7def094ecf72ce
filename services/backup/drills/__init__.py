"""Restore tests: files of backups are read as a restore would, compared, and thrown away."""
