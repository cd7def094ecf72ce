"""argon2id beside the event loop: two at once, so that a hundred logins take neither all memory nor all processors."""

from __future__ import annotations

import asyncio

from shared.secrets.passwords import hash_password, verify_password


class PasswordWorker:
    """Hashes and verifies in threads."""

    def __init__(self, at_once: int = 2) -> None:
        """Take how many may be under way at once; each takes 19 MiB."""
        self._slots = asyncio.Semaphore(at_once)

    async def hash(self, password: str) -> str:
        """Return what is kept of a password."""
        async with self._slots:
            return await asyncio.to_thread(hash_password, password)

    async def verify(self, kept: str | None, password: str) -> bool:
        """Tell whether it is the password; for an unknown user it takes as long."""
        async with self._slots:
            return await asyncio.to_thread(verify_password, kept, password)
