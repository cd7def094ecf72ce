"""Backs Borgfleet itself up: its database, settings and host keys, into a repository of its own."""
