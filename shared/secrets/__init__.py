"""Secrets at rest: envelope encryption under a master key that lives outside the database."""
