"""TLS to message bus and database: certificates from files, and the name of the host always checked."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from shared.domain.messages.installation import CERTIFICATE_UNUSABLE
from shared.errors import Permanent
from shared.secret_files import read_secret


@dataclass(frozen=True, slots=True)
class Certificates:
    """The authority to trust (none: the system's), and what we show for ourselves where we are asked to."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Return a client's context, the files read now; Permanent if they hold no certificate, key or authority."""
        try:
            made = ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise _unusable(self.ca_file, error) from error
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        self.renew(made)
        return made

    def renew(self, context: ssl.SSLContext) -> None:
        """Read our own certificate and the authority again into a context in use: the next connection has them."""
        try:
            if self.ca_file:
                context.load_verify_locations(self.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise _unusable(self.ca_file, error) from error
        if self.cert_file is None or self.key_file is None:
            return
        read_secret(self.key_file, "private key")
        try:
            context.load_cert_chain(self.cert_file, self.key_file, password=_no_passphrase)
        except (OSError, ssl.SSLError) as error:
            raise _unusable(self.cert_file, error) from error


def _no_passphrase() -> str:
    """Refuse a key that asks for one: OpenSSL would ask on the terminal, and wait."""
    return ""


def _unusable(path: Path | None, error: Exception) -> Permanent:
    return Permanent(CERTIFICATE_UNUSABLE(path=path, error=error))
