"""The gateway's system."""
