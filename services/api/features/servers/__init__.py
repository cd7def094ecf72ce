"""The gateway's servers."""
