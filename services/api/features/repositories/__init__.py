"""The gateway's repositories."""
