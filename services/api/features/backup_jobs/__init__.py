"""The gateway's backup jobs."""
