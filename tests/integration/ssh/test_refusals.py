"""Why a real sshd, a login shell or sudo does not let us work: each with its own cause, never a wrong one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from shared.config.settings import SshSettings
from shared.errors import AppError, Permanent, Transient
from shared.ssh.asyncssh import AsyncSsh, new_key_pair
from shared.ssh.port import Credentials, HostKeyChanged, Target, fingerprint
from shared.testing.sshd import PrivateSshd, login_user
from tests.harness.patience import WAIT
from tests.harness.still import standing_still

PRIVATE, PUBLIC = new_key_pair("refusals")
OTHER_PRIVATE, _ = new_key_pair("other")
SETTINGS = SshSettings(connect_timeout=WAIT, login_timeout=WAIT)
Connect = Callable[..., AbstractAsyncContextManager[Any]]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")


@pytest.fixture
async def connect(tmp_path: Path) -> AsyncIterator[Connect]:
    """Start an sshd with some lines of configuration, and log in to it."""
    started: list[PrivateSshd] = []

    @asynccontextmanager
    async def to(*options: str, key: str = PRIVATE, pinned: str = "", **environment: str) -> AsyncIterator[Any]:
        sshd = PrivateSshd(tmp_path / f"sshd{len(started)}", options=options, environment=environment)
        sshd.start()
        started.append(sshd)
        sshd.authorize(PUBLIC)
        host_key = pinned or " ".join((sshd.directory / "host_key.pub").read_text().split()[:2])
        target = Target("web1", "127.0.0.1", sshd.port, login_user(), host_key)
        async with AsyncSsh(SETTINGS).connect(target, Credentials(private_key=key)) as connection:
            yield connection

    yield to
    for sshd in started:
        sshd.stop()


async def refused(connecting: AbstractAsyncContextManager[Any]) -> AppError:
    with pytest.raises(AppError) as caught:
        async with connecting as connection:
            await connection.run("true")
    return caught.value


async def failed(asking: Awaitable[Any]) -> AppError:
    with pytest.raises(AppError) as caught:
        await asking
    return caught.value


async def test_a_connection_whose_server_went_meanwhile_is_lost_and_no_refusal(tmp_path: Path) -> None:
    """A connection that was kept looked refused for good, and nobody tried a fresh one."""
    sshd = PrivateSshd(tmp_path / "sshd")
    sshd.start()
    sshd.authorize(PUBLIC)
    host_key = " ".join((sshd.directory / "host_key.pub").read_text().split()[:2])
    target = Target("web1", "127.0.0.1", sshd.port, login_user(), host_key)
    async with AsyncSsh(SETTINGS).connect(target, Credentials(private_key=PRIVATE)) as connection:
        assert (await connection.run("true")).ok
        sshd.stop()
        for _ in range(3):
            with pytest.raises(Transient) as caught:
                await connection.run("true")
            assert caught.value.code == "connection_lost"


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[tuple[PrivateSshd, Target]]:
    """A server to be held still, and how it is reached."""
    sshd = PrivateSshd(tmp_path / "sshd")
    sshd.start()
    sshd.authorize(PUBLIC)
    host_key = " ".join((sshd.directory / "host_key.pub").read_text().split()[:2])
    yield sshd, Target("web1", "127.0.0.1", sshd.port, login_user(), host_key)
    sshd.stop()


async def test_a_server_that_stands_still_is_told_as_what_it_is_and_keeps_nobody_waiting(
    hanging: tuple[PrivateSshd, Target],
) -> None:
    """Its kernel takes the connection: neither its address nor the network between is wrong."""
    sshd, target = hanging
    short = AsyncSsh(SshSettings(connect_timeout=10, login_timeout=10, keepalive_interval=1, keepalive_count_max=2))
    patience = SshSettings(connect_timeout=WAIT, login_timeout=WAIT, keepalive_interval=WAIT)
    async with AsyncSsh(patience).connect(target, Credentials(private_key=PRIVATE)) as patient:
        assert (await patient.run("true")).ok
        with standing_still(sshd):
            async with asyncio.timeout(WAIT):
                errors = [
                    await refused(short.connect(target, Credentials(private_key=PRIVATE))),
                    await failed(short.host_key("127.0.0.1", sshd.port)),
                ]
        assert (await patient.run("true")).ok, "it goes on as if nothing had been"
    for error in errors:
        assert isinstance(error, Transient)
        assert error.code == "server_unreachable"
        assert "accepts the connection, but does not answer in time" in error.message
        assert "sshd" in error.remedy


async def test_a_command_whose_server_stands_still_ends_by_itself(
    hanging: tuple[PrivateSshd, Target], tmp_path: Path
) -> None:
    sshd, target = hanging
    watchful = SshSettings(connect_timeout=WAIT, login_timeout=WAIT, keepalive_interval=2, keepalive_count_max=2)
    began = tmp_path / "began"
    async with AsyncSsh(watchful).connect(target, Credentials(private_key=PRIVATE)) as connection:
        command = asyncio.create_task(failed(connection.run(f"touch {began}; sleep 600", seconds=600)))
        async with asyncio.timeout(WAIT):
            while not began.exists():
                await asyncio.sleep(0.05)
            with standing_still(sshd):
                error = await command
    assert isinstance(error, Transient)
    assert error.code == "connection_lost"


@pytest.mark.parametrize(
    ("line", "theirs", "ours"),
    [
        ("Ciphers aes256-cbc", "aes256-cbc", "aes128-gcm@openssh.com"),
        ("KexAlgorithms diffie-hellman-group1-sha1", "diffie-hellman-group1-sha1", "curve25519-sha256"),
        ("MACs hmac-md5-96\nCiphers 3des-cbc,aes192-ctr", "hmac-md5-96", "hmac-sha2-256"),
    ],
)
async def test_no_common_algorithm_is_never_told_as_a_changed_host_key(
    connect: Connect, line: str, theirs: str, ours: str
) -> None:
    error = await refused(connect(line))
    assert isinstance(error, Permanent)
    assert error.code == "no_common_cipher"
    assert line.split(maxsplit=1)[0] in error.message
    assert theirs in error.message
    assert ours in error.message
    assert "kex-strict" not in error.message
    assert "sshd_config" in error.remedy


async def test_the_host_key_of_a_server_without_a_common_algorithm_is_asked_for_in_vain(tmp_path: Path) -> None:
    sshd = PrivateSshd(tmp_path, options=("Ciphers aes256-cbc",))
    sshd.start()
    with pytest.raises(Permanent) as caught:
        await AsyncSsh(SETTINGS).host_key("127.0.0.1", sshd.port)
    sshd.stop()
    assert caught.value.code == "no_common_cipher"


@asynccontextmanager
async def all_at_once(port: int) -> AsyncIterator[int]:
    """Stand before a server and hold back what it says last, so that it arrives together with the end."""

    async def up(reader: asyncio.StreamReader, ours: asyncio.StreamWriter) -> None:
        while said := await reader.read(65536):
            ours.write(said)

    async def down(theirs: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await theirs.readline())  # its version: it is the answer to ours that comes with its end
        while said := await theirs.read(65536):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.3):  # short on purpose: is this its last word, or does it wait for ours?
                    said += await theirs.read(65536)
            writer.write(said)
            if theirs.at_eof():
                writer.write_eof()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection("127.0.0.1", port)
        pumps = [asyncio.create_task(up(reader, ours)), asyncio.create_task(down(theirs, writer))]
        running.update(pumps)
        transports.extend((ours.transport, writer.transport))

    running: set[asyncio.Task[None]] = set()
    transports: list[asyncio.WriteTransport] = []
    server = await asyncio.start_server(one, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in running:
            task.cancel()
        for transport in transports:
            transport.abort()
        await asyncio.gather(*running, return_exceptions=True)
        await server.wait_closed()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("KexAlgorithms diffie-hellman-group1-sha1",), "no_common_cipher"),
        (("Ciphers aes256-cbc",), "no_common_cipher"),
        (("MaxAuthTries 1",), "too_many_attempts"),
    ],
)
async def test_a_refusal_that_arrives_together_with_the_end_is_heard(
    tmp_path: Path, options: tuple[str, ...], code: str
) -> None:
    sshd = PrivateSshd(tmp_path / "sshd", options=options)
    sshd.start()
    host_key = " ".join((sshd.directory / "host_key.pub").read_text().split()[:2])
    async with all_at_once(sshd.port) as port:
        target = Target("web1", "127.0.0.1", port, login_user(), host_key)
        error = await refused(AsyncSsh(SETTINGS).connect(target, Credentials(private_key=OTHER_PRIVATE)))
    sshd.stop()
    assert error.code == code


@pytest.mark.parametrize("algorithm", ["ed25519", "ecdsa", "rsa"])
async def test_another_host_key_or_one_of_another_kind_is_a_changed_host_key(
    connect: Connect, tmp_path: Path, algorithm: str
) -> None:
    made = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", algorithm, "-N", "", "-f", made], check=True)
    error = await refused(connect(pinned=" ".join(made.with_suffix(".pub").read_text().split()[:2])))
    assert isinstance(error, HostKeyChanged)
    assert fingerprint(error.offered) in error.message


@pytest.mark.parametrize(
    ("options", "key", "code", "said"),
    [
        ((), OTHER_PRIVATE, "login_refused", "Permission denied"),
        (("PubkeyAuthentication no",), PRIVATE, "login_refused", "Permission denied"),
        ((f"DenyUsers {login_user()}",), PRIVATE, "login_refused", "Permission denied"),
        (("MaxAuthTries 1",), OTHER_PRIVATE, "too_many_attempts", "too many attempts"),
        (("MaxSessions 0",), PRIVATE, "session_refused", "opens no session"),
    ],
)
async def test_each_refusal_of_a_login_is_told_as_what_it_is_and_not_tried_again(
    connect: Connect, options: tuple[str, ...], key: str, code: str, said: str
) -> None:
    error = await refused(connect(*options, key=key))
    assert (type(error), error.code) == (Permanent, code)
    assert said in error.message
    assert error.message.startswith("web1")
    assert error.remedy


@pytest.mark.parametrize("option", ["AllowStreamLocalForwarding no", "DisableForwarding yes"])
async def test_a_server_that_forwards_no_socket_says_which_line_to_change(
    connect: Connect, tmp_path: Path, option: str
) -> None:
    async def nobody(_reader: Any, _writer: Any) -> None:
        return

    async with connect(option) as connection:
        with pytest.raises(Permanent) as caught:
            async with connection.listen(str(tmp_path / "socket"), nobody):
                pass
    assert caught.value.code == "forwarding_refused"
    assert option.split(maxsplit=1)[0] in caught.value.remedy


BANNERS = {
    "http": (b"HTTP/1.1 400 Bad Request\r\n\r\n", "server_unreachable"),
    "nothing": (b"", "server_unreachable"),
    "ssh1": (b"SSH-1.5-old\r\n", "not_ssh"),
    "flood": (b"x" * 100_000, "not_ssh"),
}


@pytest.mark.parametrize("banner", BANNERS)
async def test_what_is_no_ssh_server_is_not_taken_for_one(banner: str) -> None:
    said, code = BANNERS[banner]

    async def speak(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        writer.write_eof()
        try:
            await _reader.read()
        except ConnectionError:
            return
        finally:
            writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    target = Target("web1", "127.0.0.1", server.sockets[0].getsockname()[1], "root", " ".join(PUBLIC.split()[:2]))
    error = await refused(AsyncSsh(SETTINGS).connect(target, Credentials(private_key=PRIVATE)))
    server.close()
    assert error.code == code
    assert not isinstance(error, HostKeyChanged)


async def test_an_unknown_host_name_is_named_as_that() -> None:
    target = Target("web1", "no-such-host.invalid", 22, "root", " ".join(PUBLIC.split()[:2]))
    error = await refused(AsyncSsh(SETTINGS).connect(target, Credentials(private_key=PRIVATE)))
    assert (type(error), error.code) == (Transient, "server_unreachable")
    assert "host name is not known" in error.message


SHELLS = {
    "nologin": ("/usr/sbin/nologin", "This account is currently not available"),
    "false": ("/bin/false", "said nothing"),
    "not POSIX": (f'exec {sys.executable} -c "$SSH_ORIGINAL_COMMAND"', "SyntaxError"),
    "menu": ("echo Welcome to the appliance, choose 1-4; exit 0", "choose 1-4"),
}  # fmt: skip


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("how", ["run", "run_leashed"])
async def test_an_account_without_a_posix_shell_is_not_told_to_lack_privileges(
    connect: Connect, shell: str, how: str
) -> None:
    command, said = SHELLS[shell]
    async with connect(f"ForceCommand {command}") as connection:
        with pytest.raises(Permanent) as caught:
            await (connection.run("true") if how == "run" else leashed(connection, ["true"]))
    assert caught.value.code == "no_shell"
    assert said in caught.value.message
    assert len(caught.value.message) < 600
    assert "chsh" in caught.value.remedy


async def leashed(connection: Any, argv: list[str], **more: Any) -> Any:
    arguments = {"secret": "", "on_line": lambda _line: None, "gentle": lambda: False, "silence": WAIT} | more
    return await connection.run_leashed(argv, **arguments)


@needs_root
@pytest.mark.parametrize("how", ["run", "run_leashed"])
async def test_sudo_that_asks_for_a_password_is_named(connect: Connect, how: str) -> None:
    nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups sh -c"
    async with connect(f'ForceCommand cd /; exec {nobody} "$SSH_ORIGINAL_COMMAND"') as connection:
        assert (await connection.run("id -u")).stdout == "65534\n"
        root = connection.elevated()
        with pytest.raises(Permanent) as caught:
            await (root.run("true") if how == "run" else leashed(root, ["true"]))
    assert caught.value.code == "sudo_refused"
    assert "sudo: a password is required" in caught.value.message
    assert "NOPASSWD" in caught.value.remedy


async def test_the_leashs_own_end_is_not_taken_for_borgs(connect: Connect, tmp_path: Path) -> None:
    said: list[str] = []
    async with connect(TMPDIR=str(tmp_path / "gone")) as connection:
        with pytest.raises(Permanent) as caught:
            await leashed(connection, ["sh", "-c", "echo never"], on_line=said.append)
    assert caught.value.code == "server_tmp"
    assert f"{tmp_path}/gone" in caught.value.message
    assert "No such file or directory" in caught.value.message
    assert any("mktemp" in line for line in said)


async def test_a_missing_setsid_is_not_taken_for_a_missing_borg(connect: Connect, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for program in ("sh", "mktemp", "rm", "sleep"):
        (tmp_path / "bin" / program).symlink_to(f"/bin/{program}")
    async with connect(f"SetEnv PATH={tmp_path}/bin HOME={tmp_path}") as connection:
        with pytest.raises(Permanent) as caught:
            await leashed(connection, ["true"])
    assert caught.value.code == "setsid_missing"
