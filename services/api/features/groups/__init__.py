"""The gateway's groups of servers."""
