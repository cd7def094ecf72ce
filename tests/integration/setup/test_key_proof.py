"""Set-up on real sshds that take the password and refuse the key: never ready, never without a way back in."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from services.setup.handlers import setup_server
from shared.bus.memory import MemoryBus
from shared.config.settings import SshSettings
from shared.db.session import Database
from shared.db.stores.requests import request_setup
from shared.db.stores.secrets import FLEET_KEY, FLEET_PUBLIC_KEY, server_password
from shared.db.tables import Job, Server
from shared.errors import AppError
from shared.events.server import ServerSetup
from shared.events.streams import STREAMS
from shared.runtime.context import Context
from shared.ssh.asyncssh import AsyncSsh, new_key_pair
from shared.testing.sshd import PrivateSshd, login_user
from tests.harness.databases import open_database
from tests.harness.patience import WAIT
from tests.harness.user_sshd import PASSWORD, UID, USER, UserSshd

PRIVATE, PUBLIC = new_key_pair("fleet")
KEY = " ".join(PUBLIC.split()[:2])
PATIENT = SshSettings(connect_timeout=WAIT, login_timeout=WAIT)


@pytest.fixture
async def db(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    async with open_database(request, tmp_path) as made:
        yield made


async def set_up(db: Database, sshd: PrivateSshd, user: str, password: str | None) -> tuple[Server, AppError | None]:
    """Run a whole set-up of a new server; return its row afterwards, and what went wrong."""

    async def add(tx: Any) -> tuple[Server, Job]:
        server = Server(name="web1", host=sshd.address, port=sshd.port, username=user, facts={},
                        approved_fingerprint=sshd.fingerprint())  # fmt: skip
        tx.session.add(server)
        await tx.session.flush()
        for name, value in ((FLEET_KEY, PRIVATE), (FLEET_PUBLIC_KEY, PUBLIC)):
            await tx.secrets.put(name, value)
        if password is not None:
            await tx.secrets.put(server_password(server.id), password)
        return server, await request_setup(tx, server)

    server, job = await db.run(add)
    bus = MemoryBus()
    await bus.ensure_streams(STREAMS)
    error: AppError | None = None
    try:
        ctx = Context(db, bus, key="k", lease_seconds=10 * WAIT)
        await setup_server(ServerSetup(job_id=job.id), ctx, ssh=AsyncSsh(PATIENT), password_days=1)
    except AppError as caught:
        error = caught
    await bus.close()
    async with db.read() as session:
        return await session.get_one(Server, server.id), error


async def kept_password(db: Database, server: Server) -> str | None:
    return await db.run(lambda tx: tx.secrets.find(server_password(server.id)))


async def test_a_user_with_sudo_is_ready_by_key_and_the_password_is_forgotten(
    db: Database, open_directory: Path
) -> None:
    sshd = UserSshd(open_directory)
    sshd.prepare()
    sshd.keys.write_text(f"# {KEY} switched off last year\n")
    os.chown(sshd.keys, UID, UID)
    sshd.start()
    try:
        server, error = await set_up(db, sshd, USER, PASSWORD)
    finally:
        sshd.stop()
    assert error is None
    assert (server.state, server.facts["privilege"]) == ("ready", "sudo")
    assert await kept_password(db, server) is None
    assert sshd.keys.read_text().splitlines()[1] == PUBLIC


def writable_home(sshd: UserSshd) -> None:
    sshd.account.chmod(0o775)


def writable_keys(sshd: UserSshd) -> None:
    sshd.keys.touch(0o666)
    sshd.keys.chmod(0o666)
    os.chown(sshd.keys, UID, UID)


def another_ones_directory(sshd: UserSshd) -> None:
    os.chown(sshd.account, UID + 1, UID)
    sshd.account.chmod(0o755)


def keys_with(before: str) -> Callable[[UserSshd], None]:
    def prepared(sshd: UserSshd) -> None:
        sshd.keys.write_text(f"{before} {PUBLIC}\n")
        os.chown(sshd.keys, UID, UID)

    return prepared


def nothing(_sshd: UserSshd) -> None:
    pass


REFUSING: dict[str, tuple[tuple[str, ...], Callable[[UserSshd], None], str]] = {
    "keys elsewhere": (("AuthorizedKeysFile /etc/ssh/keys/%u",), nothing, "AuthorizedKeysFile /etc/ssh/keys/%u"),
    "no keys at all": (("PubkeyAuthentication no",), nothing, "PubkeyAuthentication no"),
    "keys and a password": (("AuthenticationMethods publickey,password password",), nothing, "AuthenticationMethods"),
    "RSA alone": (("PubkeyAcceptedAlgorithms rsa-sha2-512",), nothing, "without ssh-ed25519"),
    "for this user alone": (
        (f"Match User {USER}\nPubkeyAuthentication no\nMatch all",),
        nothing,
        "PubkeyAuthentication no",
    ),
    "home writable by its group": ((), writable_home, "bft-admin can be written by others"),
    "file writable by all": ((), writable_keys, "authorized_keys can be written by others"),
    "home of another user": ((), another_ones_directory, f"bft-admin belongs to user {UID + 1}"),
    "key for one address": ((), keys_with('from="192.0.2.1"'), 'from="192.0.2.1"'),
}


@pytest.mark.parametrize("name", REFUSING)
async def test_a_server_that_refuses_the_key_is_not_ready_keeps_its_password_and_says_why(
    db: Database, open_directory: Path, name: str
) -> None:
    options, prepare, said = REFUSING[name]
    sshd = UserSshd(open_directory, *options)
    sshd.prepare()
    prepare(sshd)
    sshd.start()
    try:
        server, error = await set_up(db, sshd, USER, PASSWORD)
    finally:
        sshd.stop()
    assert error is not None
    assert error.code == "key_not_accepted", (error.code, error.message)
    assert said in error.message
    assert "the password is kept until " in error.remedy
    assert PASSWORD not in f"{error.message} {error.remedy}"
    assert (server.state, server.ready_at) == ("new", None)
    assert await kept_password(db, server) == PASSWORD


async def test_a_key_that_may_run_one_command_alone_is_no_way_in_for_backups(
    db: Database, open_directory: Path
) -> None:
    sshd = UserSshd(open_directory)
    sshd.prepare()
    keys_with('command="echo only this"')(sshd)
    sshd.start()
    try:
        server, error = await set_up(db, sshd, USER, PASSWORD)
    finally:
        sshd.stop()
    assert error is not None
    assert error.code == "no_shell", (error.code, error.message)
    assert "only this" in error.message
    assert server.ready_at is None
    assert await kept_password(db, server) == PASSWORD


def rules(sshd: UserSshd, text: str, mode: int = 0o440) -> None:
    file = sshd.directory / "sudoers.d/bft"
    file.write_text(text or f"{USER} ALL=(root) NOPASSWD: ALL\n")
    file.chmod(mode)


SUDOERS: dict[str, tuple[str, int, str, str]] = {
    "a terminal is demanded": (
        f"Defaults:{USER} requiretty\n{USER} ALL=(root) NOPASSWD: ALL\n", 0o440, "must have a tty", "!requiretty"
    ),
    "a file of rules that all can write": ("", 0o666, "is world writable", "chmod 0440"),
    "a rule for one command": (f"{USER} ALL=(root) NOPASSWD: /usr/bin/true, /bin/true\n", 0o440, "password is required", "sudo -l -U"),
}  # fmt: skip


@pytest.mark.parametrize("name", SUDOERS)
async def test_a_sudo_that_refuses_is_told_in_its_own_words_with_what_helps(
    db: Database, open_directory: Path, name: str
) -> None:
    text, mode, said, remedy = SUDOERS[name]
    sshd = UserSshd(open_directory)
    sshd.prepare()
    rules(sshd, text, mode)
    sshd.start()
    try:
        server, error = await set_up(db, sshd, USER, PASSWORD)
    finally:
        sshd.stop()
    assert error is not None
    assert error.code == "no_privilege", (error.code, error.message)
    assert said in error.message, error.message
    assert remedy in error.remedy
    assert server.ready_at is None


async def test_a_server_on_ipv6_is_set_up(db: Database, tmp_path: Path) -> None:
    try:
        sshd = PrivateSshd(tmp_path / "six", address="::1")
        sshd.authorize(PUBLIC)
        sshd.start()
    except OSError:
        pytest.skip("this machine has no IPv6")
    try:
        server, error = await set_up(db, sshd, login_user(), None)
        assert error is None
        assert server.state == "ready"
        sshd.stop()
        _, error = await set_up_again(db, server)
        assert error is not None
        assert f"[::1]:{sshd.port}" in error.message
    finally:
        sshd.stop()


async def set_up_again(db: Database, server: Server) -> tuple[Server, AppError | None]:
    job = await db.run(lambda tx: request_setup(tx, server))
    bus = MemoryBus()
    await bus.ensure_streams(STREAMS)
    try:
        ctx = Context(db, bus, key="k2", lease_seconds=10 * WAIT)
        await setup_server(ServerSetup(job_id=job.id), ctx, ssh=AsyncSsh(PATIENT), password_days=1)
    except AppError as caught:
        return server, caught
    finally:
        await bus.close()
    return server, None
