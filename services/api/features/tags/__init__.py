"""The gateway's tags."""
