"""The message bus: a port, JetStream behind it, and an in-memory twin that passes the same contract."""
