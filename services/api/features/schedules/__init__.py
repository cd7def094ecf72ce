"""The gateway's schedules."""
