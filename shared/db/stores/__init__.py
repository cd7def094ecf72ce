"""Writes that several services need: each function works within the caller's transaction."""
