"""The gateway's alerts."""
