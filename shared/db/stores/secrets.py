"""Sealed values by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from shared.db.tables.base import or_ignore
from shared.db.tables.kernel import Secret
from shared.domain.messages.installation import SECRET_CORRUPT, SECRET_MISSING, SECRET_MISSING_FLEET
from shared.errors import NotFound, Permanent
from shared.secrets.envelope import Envelope

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncSession

    from shared.secrets.envelope import KeyRing

MASTER_PROBE = "master:probe"
"""Sealed when the database was empty: who cannot open it has another master key."""
_PROBE = "this database's master key opens this"
FLEET_KEY = "fleet:ssh_key"
FLEET_PUBLIC_KEY = "fleet:ssh_public_key"


def server_password(server_id: uuid.UUID) -> str:
    """Return the name under which a server's first password is kept until it was used."""
    return f"server:{server_id.hex}:password"


def server_passwords() -> str:
    """Return the pattern (LIKE) of the names of all servers' first passwords."""
    return "server:%:password"


def repository_passphrase(repository_id: uuid.UUID) -> str:
    """Return the name under which a repository's passphrase is kept."""
    return f"repository:{repository_id.hex}:passphrase"


def repository_key(repository_id: uuid.UUID) -> str:
    """Return the name under which a repository's key is kept, as `borg key export` writes it."""
    return f"repository:{repository_id.hex}:key"


def import_passphrase(job_id: uuid.UUID) -> str:
    """Return the name under which an import's passphrase waits for its job."""
    return f"import:{job_id.hex}:passphrase"


def import_key(job_id: uuid.UUID) -> str:
    """Return the name under which an import's key file waits for its job."""
    return f"import:{job_id.hex}:key"


def imports() -> str:
    """Return the pattern (LIKE) of the names of all that waits for an import."""
    return "import:%"


def channel_url(channel_id: uuid.UUID) -> str:
    """Return the name under which a notification channel's URL is kept."""
    return f"channel:{channel_id.hex}:url"


def channel_key(channel_id: uuid.UUID) -> str:
    """Return the name under which the key that signs for a webhook is kept."""
    return f"channel:{channel_id.hex}:key"


class Secrets:
    """Sealing and opening, bound to the row's name."""

    def __init__(self, session: AsyncSession, key_ring: KeyRing) -> None:
        """Bind to a session and the master keys."""
        self._session = session
        self._ring = key_ring

    async def put(self, name: str, value: str) -> None:
        """Seal and keep a value under a name, replacing an older one."""
        box = self._ring.seal(value, bound_to=_place(name))
        row = Secret(name=name, key_id=box.key_id, wrapped_key=box.wrapped_key, sealed=box.sealed)
        await self._session.merge(row)

    async def ensure(self, name: str, make: Callable[[], str]) -> str:
        """Return a value, made when it is first needed; of two that make it at once, one is kept and both get that."""
        if (found := await self.find(name)) is not None:
            return found
        await self._put_first(name, make())
        return await self.get(name)

    async def _put_first(self, name: str, value: str) -> None:
        """Keep a value unless there is one."""
        box = self._ring.seal(value, bound_to=_place(name))
        values = {"name": name, "key_id": box.key_id, "wrapped_key": box.wrapped_key, "sealed": box.sealed}
        await self._session.execute(or_ignore(insert(Secret)).values(values))

    async def find(self, name: str) -> str | None:
        """Open a value, or return None where there is none."""
        row = await self._session.get(Secret, name)
        if row is None:
            return None
        return self._ring.open(Envelope(row.key_id, row.wrapped_key, row.sealed), bound_to=_place(name))

    async def get(self, name: str) -> str:
        """Open a value; NotFound where there is none."""
        value = await self.find(name)
        if value is None:
            of_fleet = name in (FLEET_KEY, FLEET_PUBLIC_KEY)
            raise NotFound(SECRET_MISSING_FLEET(name=name) if of_fleet else SECRET_MISSING(name=name))
        return value

    async def are_none(self) -> bool:
        """Tell whether nothing was ever sealed here: only then a new master key does no harm."""
        return await self._session.scalar(select(Secret.name).limit(1)) is None

    async def unopened(self) -> list[str]:
        """Return the ids of the master keys that sealed something here and are not at hand."""
        ids = await self._session.scalars(select(Secret.key_id).distinct().order_by(Secret.key_id))
        return [key_id for key_id in ids if key_id not in self._ring.ids]

    async def keys_at_hand(self) -> tuple[str, ...]:
        """Return the ids of our master keys, the one that seals first."""
        return self._ring.ids

    async def leave_probe(self) -> None:
        """Seal the probe where there is none."""
        await self._put_first(MASTER_PROBE, _PROBE)

    async def prove(self) -> None:
        """Open the probe; Permanent if it does not open."""
        if await self.get(MASTER_PROBE) != _PROBE:
            raise Permanent(SECRET_CORRUPT())
        row = await self._session.get_one(Secret, MASTER_PROBE)
        if row.key_id != self._ring.current:  # the keys were rotated: from now on others need the new one too
            await self.put(MASTER_PROBE, _PROBE)

    async def delete(self, name: str) -> None:
        """Forget a value."""
        await self._session.execute(delete(Secret).where(Secret.name == name))


def _place(name: str) -> str:
    return f"secrets.sealed:{name}"
