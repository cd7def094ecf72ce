"""The gateway's channels."""
