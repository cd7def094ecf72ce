"""The schema, transactions and the outbox: the database is the truth."""
