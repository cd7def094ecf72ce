"""The message kernel: the database is the truth, JetStream is the transport."""
