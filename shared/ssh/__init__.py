"""SSH: a port, asyncssh behind it, and a scripted twin for unit tests."""
