"""Connections to MariaDB over TLS or none: the driver goes on in the clear where the server offers no TLS."""

from __future__ import annotations

import ssl
from functools import partial
from typing import TYPE_CHECKING, Any

from aiomysql.connection import Connection
from pymysql.constants import CLIENT
from pymysql.err import OperationalError
from typing_extensions import override

if TYPE_CHECKING:
    from shared.tls import Certificates

_NO_TLS = 2026
"""The number that MySQL's own clients give to what goes wrong with TLS."""


def creator(certificates: Certificates) -> Any:
    """Return what opens one connection for SQLAlchemy; certificates are read for each: new ones are used."""
    return partial(_connect, certificates)


async def _connect(certificates: Certificates, **options: Any) -> Any:
    connection = _Encrypted(**options, ssl=certificates.context())
    await connection._connect()  # noqa: SLF001 - what aiomysql.connect does  # pyright: ignore[reportPrivateUsage]
    return connection


class _Encrypted(Connection):
    """A connection that ends before the password is sent, unless it is encrypted and the server is who it must be."""

    @override
    async def _request_authentication(self) -> None:
        if not self.server_capabilities & CLIENT.SSL:
            raise OperationalError(_NO_TLS, "the server offers no TLS")
        try:
            await super()._request_authentication()
        except ssl.SSLError as error:
            raise OperationalError(_NO_TLS, str(error)) from error
