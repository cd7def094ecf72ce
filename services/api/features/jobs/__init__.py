"""The gateway's jobs."""
