"""Rolls samples up and removes what is too old."""
