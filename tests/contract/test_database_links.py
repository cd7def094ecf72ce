"""A database over TLS, and one that can only be read after a fail-over: nothing in the clear, nobody stays behind."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import event, text

from shared.bus.memory import MemoryBus
from shared.db.engines import Link
from shared.db.session import Database
from shared.errors import Transient
from shared.runtime import health as health_module
from shared.runtime.health import Health
from shared.secrets.envelope import KeyRing
from shared.tls import Certificates
from tests.harness.authority import Authority, Pair
from tests.harness.databases import PatientDatabase
from tests.harness.mariadb import MariaServer
from tests.harness.patience import WAIT


@pytest.fixture(scope="module")
def place(scratch: Path) -> Path:
    """A directory of each time: tests of this module may come to one process in two parts, others between them."""
    return Path(tempfile.mkdtemp(prefix="tls-", dir=scratch))


@pytest.fixture(scope="module")
def authority(place: Path) -> Authority:
    return Authority(place / "ca")


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.issue("maria", address="127.0.0.1")


@pytest.fixture(scope="module")
def server(place: Path, authority: Authority, pair: Pair) -> Iterator[MariaServer]:
    server = MariaServer(
        place / "maria", f"--ssl-ca={authority.file}", f"--ssl-cert={pair.cert}", f"--ssl-key={pair.key}"
    ).start()
    # Who is root may write whatever `read_only` says; services are not.
    server.sql("CREATE USER app@'%' REQUIRE SSL; CREATE USER known@'%' REQUIRE X509; GRANT ALL ON *.* TO known@'%'")
    server.sql("GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ON *.* TO app@'%'")
    yield server
    server.stop()


def opened(url: str, user: str, link: Link) -> Database:
    made = url.replace("root@", f"{user}@")
    return PatientDatabase(made, key_ring=KeyRing([]), retry_for=0, link=link)


async def cipher(db: Database) -> str:
    async with db.read() as session:
        return str((await session.execute(text("SHOW STATUS LIKE 'Ssl_cipher'"))).one()[1])


async def test_the_database_is_spoken_to_over_tls_with_our_own_certificate(
    server: MariaServer, authority: Authority
) -> None:
    own = authority.issue("service")
    db = opened(server.database(), "known", Link(Certificates(authority.file, own.cert, own.key)))
    try:
        assert await cipher(db)
    finally:
        await db.close()


async def test_a_server_of_another_authority_or_name_is_not_spoken_to(
    server: MariaServer, authority: Authority, tmp_path: Path
) -> None:
    foreign = Authority(tmp_path / "foreign")
    url = server.database()
    for made, trusted in ((url, foreign), (url.replace("127.0.0.1", "localhost"), authority)):
        db = opened(made, "app", Link(Certificates(trusted.file)))
        with pytest.raises(Transient) as caught:
            await cipher(db)
        assert caught.value.code == "database_tls", caught.value.message
        await db.close()


async def test_a_server_without_tls_is_not_told_the_password(maria: MariaServer, authority: Authority) -> None:
    off = maria.sql("SHOW VARIABLES LIKE 'have_ssl'")
    assert "YES" not in off, off
    db = opened(maria.database(), "root", Link(Certificates(authority.file)))
    with pytest.raises(Transient) as caught:
        await cipher(db)
    assert caught.value.code == "database_tls", caught.value.message
    await db.close()


@pytest.fixture
async def db(server: MariaServer, authority: Authority) -> AsyncIterator[Database]:
    url = await asyncio.to_thread(server.database)
    made = opened(url, "app", Link(Certificates(authority.file), failover=True))
    async with made.transaction() as tx:
        await tx.session.execute(text("CREATE TABLE t (n INT) ENGINE=InnoDB"))
    yield made
    server.sql("SET GLOBAL read_only=0")
    await made.close()


async def write(db: Database) -> int:
    """Write a row, and return by which connection."""
    async with db.transaction() as tx:
        await tx.session.execute(text("INSERT INTO t VALUES (1)"))
        return int((await tx.session.execute(text("SELECT CONNECTION_ID()"))).scalar_one())


async def test_a_demoted_primary_is_left_at_the_first_refused_write(db: Database, server: MariaServer) -> None:
    before = await write(db)
    assert await write(db) == before
    server.sql("SET GLOBAL read_only=1")
    with pytest.raises(Transient) as caught:
        await write(db)
    assert caught.value.code == "database_read_only"
    server.sql("SET GLOBAL read_only=0")  # the name leads to a primary again
    assert await write(db) != before


async def test_a_service_on_a_server_that_can_only_be_read_is_not_ready(
    db: Database, server: MariaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_module, "_PROBE_SECONDS", WAIT)
    bus = MemoryBus()
    health = Health(db, bus, CollectorRegistry())
    assert await health.problems() == {}
    server.sql("SET GLOBAL read_only=1")
    assert "can only be read" in (await health.problems())["database"]
    server.sql("SET GLOBAL read_only=0")
    assert await health.problems() == {}


async def test_many_at_once_open_no_connection_again(maria: MariaServer) -> None:
    db = PatientDatabase(maria.database(), key_ring=KeyRing([]), pool_size=4)
    connected: list[object] = []
    event.listen(db.engine.sync_engine, "connect", lambda connection, _record: connected.append(connection))
    for _ in range(10):
        await asyncio.gather(*(db.run(lambda tx: tx.session.execute(text("SELECT SLEEP(0.01)"))) for _ in range(16)))
    await db.close()
    assert len(connected) == 4


@pytest.mark.parametrize(("failover", "seconds"), [(True, 300), (False, 1800)])
async def test_connections_leave_in_time_where_the_name_may_move(*, failover: bool, seconds: int) -> None:
    db = Database("mariadb+aiomysql://u@localhost/d", key_ring=KeyRing([]), link=Link(failover=failover))
    assert db.engine.pool._recycle == seconds
    await db.close()
