"""Every setting, from a TOML file, the environment (`BORGFLEET_`, `__` nests) and secret files.

No instance exists at import time: `borgfleet/__main__.py` builds one and passes it down.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    PositiveInt,
    SecretStr,
    StringConstraints,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from sqlalchemy.engine import make_url
from typing_extensions import override

from shared.domain.names import Host, Node, PoolPath, User
from shared.secret_files import read_secret_text


def _split(given: object) -> object:
    """Take a list as text with commas between, as an environment variable has it."""
    return tuple(part.strip() for part in given.split(",") if part.strip()) if isinstance(given, str) else given


def _without_user(url: str) -> str:
    return re.sub(r"//[^@/]*@", "//***@", url)


# Bounded: a reckoning with infinity, or with years that no calendar has, fails in the middle of some run.
Seconds = Annotated[float, Field(gt=0, le=366 * 86_400)]
Days = Annotated[float, Field(gt=0, le=36_600)]
Slots = Annotated[int, Field(ge=1, le=10_000)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
NatsUrl = Annotated[str, StringConstraints(pattern=r"^(nats|tls)://[^,\s]+$")]


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Certificates(_Group):
    """TLS of one connection; without an authority of its own the system's are trusted."""

    ca_file: Path | None = Field(default=None, description="The authority that signed the server's certificate (PEM).")
    cert_file: Path | None = Field(default=None, description="Our own certificate, where the server asks for one.")
    key_file: Path | None = Field(default=None, description="The private key of `cert_file`.")

    @model_validator(mode="after")
    def _are_a_pair(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file are given together or not at all")
        return self


class DatabaseSettings(_Certificates):
    """Where the truth is kept; an empty URL means SQLite in the data directory."""

    url: SecretStr = SecretStr("")
    password_file: Path | None = Field(default=None, description="A file that holds the database password.")
    pool_size: Slots | None = Field(
        default=None,
        description="The most connections of one process to MariaDB; default: as many as its services can use at once.",
    )
    statement_seconds: Seconds = Field(default=10.0, description="Bound of one unit of work.")
    tls: bool = Field(default=False, description="Refuse a connection without TLS; `ca_file` implies it.")
    failover: bool = Field(
        default=False, description="The URL's host is a name that follows the primary: connections live 5 minutes."
    )

    @property
    def encrypted(self) -> bool:
        """Whether a connection without TLS is refused."""
        return self.tls or self.ca_file is not None or self.cert_file is not None


class NatsSettings(_Certificates):
    """The message bus."""

    url: NatsUrl = "nats://127.0.0.1:4222"
    urls: Annotated[tuple[NatsUrl, ...], NoDecode, BeforeValidator(_split)] = Field(
        default=(), description="The servers of a cluster, with commas between; takes the place of `url`."
    )
    nkey_seed_file: Path | None = None
    token_file: Path | None = Field(default=None, description="A file that holds the token nats-server asks for.")
    monitor_url: str = Field(
        default="", description="nats-server's own HTTP port, to check sync_always; empty: unchecked."
    )
    monitor_urls: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = Field(
        default=(), description="The same for each server of a cluster; takes the place of `monitor_url`."
    )
    require_sync_always: bool = True
    replicas: int = Field(
        default=1,
        ge=1,
        le=5,
        description="On how many servers of a cluster each stream is kept: 1, 3 or 5. `borgfleet migrate` changes it.",
    )

    @property
    def servers(self) -> tuple[str, ...]:
        """Where to connect: to any of these."""
        return self.urls or (self.url,)

    @property
    def monitors(self) -> tuple[str, ...]:
        """Whom to ask how it keeps messages."""
        return self.monitor_urls or ((self.monitor_url,) if self.monitor_url else ())

    @property
    def encrypted(self) -> bool:
        """Whether a connection without TLS is refused."""
        return self.servers[0].startswith("tls:")

    @model_validator(mode="after")
    def _says_tls_once(self) -> Self:
        if len({url.startswith("tls:") for url in self.servers}) > 1:
            raise ValueError("either all NATS URLs begin with tls:// or none does")
        if (self.ca_file or self.cert_file) and not self.encrypted:
            raise ValueError(
                "certificates are given: write the NATS URL as tls://, so that nothing is sent in the clear"
            )
        return self


class ApiSettings(_Group):
    """The gateway."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    admin_token_file: Path | None = Field(default=None, description="Use this first token instead of a generated one.")
    public_url: str = Field(
        default="",
        max_length=500,
        pattern=r"^(https?://[^\s/?#]+)?$",
        description="Where people reach the web UI, as https://backup.example.org; the one origin of its requests.",
    )
    trusted_proxies: list[str] = Field(
        default=[],
        description="Addresses or networks of proxies before the gateway: X-Forwarded-* of others is not believed.",
    )
    session_idle_hours: float = Field(
        default=12.0, gt=0, le=24 * 36_600, description="A session unused for so long ends."
    )
    session_days: Days = Field(default=14.0, description="A session ends after so long, used or not.")
    second_factor: Literal["off", "admins", "all"] = Field(
        default="off", description="Who has to have a second factor; who has none yet may only set it up."
    )


class WorkerSettings(_Group):
    """How long the message kernel waits, in seconds."""

    ack_wait: float = Field(
        default=30.0, gt=0, le=3600.0, description="After the last heartbeat, a message is delivered again."
    )
    cancel_poll: Seconds = Field(default=1.0, description="How soon a running job hears that it is cancelled.")
    reap_every: Seconds = 2.0
    lost_after: Seconds = Field(default=30.0, description="A queued job whose message is gone this long is sent anew.")
    max_failures: Count = 5
    grace: Seconds = Field(default=60.0, description="Shutdown: how long running work may take to stop in order.")

    @property
    def lease(self) -> float:
        """Shorter than `ack_wait`, so that a redelivered message always finds a dead worker's job free."""
        return self.ack_wait * 5 / 6


class BackupSettings(_Group):
    """What a backup node has: its name, its borg, its storage endpoint."""

    node: Node = "node1"
    concurrency: Slots = 4
    borg: str = Field(default="borg", description="The borg (>= 1.4.5) of this node.")
    endpoint_user: User = "root"
    endpoint_host: Host = "127.0.0.1"
    endpoint_port: PositiveInt = Field(default=8022, le=65535)
    endpoint_listen: str = Field(
        default="127.0.0.1", description="Where `borgfleet up` lets its own storage sshd listen."
    )
    endpoint_listen_port: PositiveInt | None = Field(
        default=None, le=65535, description="Its port there, where servers reach it at another; default: the same."
    )
    endpoint_host_key_file: Path | None = Field(default=None, description="The storage sshd's public host key.")
    catalogue_dir: Path | None = Field(
        default=None,
        description="Where the names of the files inside backups are kept; default: below the data directory. "
        "A local disk: a storage pool would show them beside what is encrypted.",
    )
    catalogue_every: float = Field(
        default=60.0,
        ge=0,
        le=366 * 86_400,
        description="How often to see whether a catalogue lacks a backup; 0: never by itself.",
    )
    import_roots: Annotated[tuple[PoolPath, ...], NoDecode, BeforeValidator(_split)] = Field(
        default=(),
        description="Directories outside of storage pools from which repositories of plain borg may be imported, with "
        "commas between; default: none.",
    )
    silence_seconds: Seconds = Field(default=900.0, description="borg silent for this long is taken for dead.")

    @property
    def listening_port(self) -> int:
        """The port at which our own storage sshd listens."""
        return self.endpoint_listen_port or self.endpoint_port


class SelfBackupSettings(_Group):
    """The backups of Borgfleet itself: database, settings and host keys."""

    every_hours: float = Field(default=24.0, ge=0, le=8784, description="How often; 0: never by itself.")
    pool: str = Field(
        default="", max_length=63, description="The name of the storage pool that holds them; default: the oldest."
    )
    keep: Count = Field(default=30, description="How many of them are kept.")


class SshSettings(_Group):
    """How servers are reached; seconds."""

    connect_timeout: Seconds = 10.0
    login_timeout: Seconds = 10.0
    keepalive_interval: Seconds = 5.0
    keepalive_count_max: Count = 2


class StatsSettings(_Group):
    """How servers' statistics are collected; seconds."""

    every: float = Field(
        default=600.0, ge=0, le=366 * 86_400, description="How often all servers are looked at; 0: never by itself."
    )
    concurrency: Slots = Field(default=128, description="Servers looked at at once.")
    answer_seconds: Seconds = Field(default=20.0, description="How long a server may take to answer.")
    kept_connections: Slots = Field(default=1000, description="SSH connections kept open between sweeps.")
    idle_seconds: Seconds = Field(default=1500.0, description="A connection unused for this long is closed.")
    keepalive_interval: Seconds = 60.0


class NotifySettings(_Group):
    """Where notifications may go."""

    allowed_networks: tuple[IPvAnyNetwork, ...] = Field(
        default=(), description="Private networks that channels may reach, as `10.0.0.0/8`; public ones always."
    )

    def networks(self) -> tuple[str, ...]:
        """Return them as text."""
        return tuple(str(network) for network in self.allowed_networks)


class KeepSettings(_Group):
    """How many days of what is over are kept; archives have their retention."""

    jobs_days: Days = Field(default=90.0, description="Ended jobs, with their logs.")
    alerts_days: Days = Field(default=365.0, description="Resolved alerts, with their history.")
    audit_days: Days | None = Field(
        default=None, description="The audit log, by whole seals, whose stubs stay; by default for ever."
    )
    notifications_days: Days = 90.0
    dead_letters_days: Days = 30.0
    passwords_days: Days = Field(default=1.0, description="A server's first password that set-up did not use up.")
    missed_runs_days: Days = 365.0
    sent_events_days: Days = Field(default=1 / 24, description="Rows of the outbox that were published.")
    samples_days: Days = Field(default=2.0, description="Statistics of servers as they were collected.")
    five_minutes_days: Days = Field(default=14.0, description="The same, by five minutes.")
    hours_days: Days = Field(default=730.0, description="The same, by hours.")


class HealthSettings(_Group):
    """Where `/livez`, `/readyz` and `/metrics` are served."""

    host: str = "127.0.0.1"
    port: int = Field(
        default=9090, ge=0, le=65535, description="0 takes a free port; each service of `borgfleet run` has its own."
    )


class LogSettings(_Group):
    """How the log looks."""

    level: str = "info"
    json_lines: bool = False


class Settings(BaseSettings):
    """All settings of one process."""

    model_config = SettingsConfigDict(
        env_prefix="BORGFLEET_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        nested_model_default_partial_update=True,
    )

    data_dir: Path = Path("/var/lib/borgfleet")
    master_key_file: Path | None = Field(default=None, description="Default: `master.key` in the data directory.")
    database: DatabaseSettings = DatabaseSettings()
    nats: NatsSettings = NatsSettings()
    api: ApiSettings = ApiSettings()
    worker: WorkerSettings = WorkerSettings()
    backup: BackupSettings = BackupSettings()
    self_backup: SelfBackupSettings = SelfBackupSettings()
    ssh: SshSettings = SshSettings()
    stats: StatsSettings = StatsSettings()
    notify: NotifySettings = NotifySettings()
    keep: KeepSettings = KeepSettings()
    health: HealthSettings = HealthSettings()
    log: LogSettings = LogSettings()

    @classmethod
    @override
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments win over the environment, which wins over the TOML file that BORGFLEET_CONFIG names."""
        toml = os.environ.get("BORGFLEET_CONFIG", "/etc/borgfleet/borgfleet.toml")
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=Path(toml))

    @property
    def master_key_path(self) -> Path:
        """The file that holds the master key."""
        return self.master_key_file or self.data_dir / "master.key"

    @property
    def state_dir(self) -> Path:
        """This backup node's own state: grants, borg's base directory, authorized_keys."""
        return self.data_dir / "node"

    @property
    def catalogue_dir(self) -> Path:
        """Where this backup node keeps its catalogues."""
        return self.backup.catalogue_dir or self.state_dir / "catalogue"

    def database_url(self) -> str:
        """Return the URL for SQLAlchemy, the password file's content filled in."""
        if not self.database.url.get_secret_value():
            return f"sqlite+aiosqlite:///{self.data_dir / 'borgfleet.db'}"
        url = make_url(self.database.url.get_secret_value())
        if self.database.password_file is not None:
            url = url.set(password=read_secret_text(self.database.password_file, "database password file"))
        return url.render_as_string(hide_password=False)

    def redacted(self) -> dict[str, Any]:
        """Return all settings as plain values for people to read, secrets hidden."""
        shown = self.model_dump(mode="json", exclude={"database": {"url"}})
        shown["nats"]["url"] = _without_user(self.nats.url)
        shown["nats"]["urls"] = [_without_user(url) for url in self.nats.urls]
        return shown | {"database_url": self._shown_url()}

    def _shown_url(self) -> str:
        return make_url(self.database_url()).render_as_string(hide_password=True)
