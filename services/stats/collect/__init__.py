"""Asks servers for their figures and records them."""
