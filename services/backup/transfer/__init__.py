"""Transfers: bytes out of archives, handed on chunk by chunk to whoever asks for them."""
