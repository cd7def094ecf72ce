"""Reads that several services need."""
