"""A bus that asks for a seed or for certificates: who may not, who must not, and what is sent in the clear."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import nkeys
import pytest

from shared.bus.jetstream import connect
from shared.bus.watch import Watch
from shared.config.settings import NatsSettings
from shared.errors import Permanent, Transient
from shared.events.streams import STREAMS
from shared.testing.sshd import free_port
from tests.harness.authority import Authority, Pair
from tests.harness.fleet import until
from tests.harness.nats_server import NatsServer
from tests.harness.patience import WAIT

Start = Callable[..., NatsServer]


@pytest.fixture
def start(scratch: Path) -> Iterator[Start]:
    servers: list[NatsServer] = []

    def started(more: str = "", *, sync: str = "sync_interval: always") -> NatsServer:
        servers.append(NatsServer(scratch / f"nats-{free_port()}", more=more, sync=sync).start())
        return servers[-1]

    yield started
    for server in servers:
        server.stop()


def seed(directory: Path) -> tuple[Path, str]:
    """A user's seed in a file, and the public key that the server is given."""
    pair = nkeys.from_seed(nkeys.encode_seed(bytes(range(32)), nkeys.PREFIX_BYTE_USER))
    file = directory / "seed"
    file.write_bytes(bytes(pair.seed) + b"\n")
    file.chmod(0o440)
    return file, pair.public_key.decode()


def tls(pair: Pair, *, verify: Path | None = None) -> str:
    asks = f', verify: true, ca_file: "{verify}"' if verify else ""
    return f'tls {{ cert_file: "{pair.cert}", key_file: "{pair.key}"{asks} }}'


def encrypted(server: NatsServer, **more: object) -> NatsSettings:
    return NatsSettings.model_validate({"url": server.url.replace("nats:", "tls:"), **more})


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


async def test_a_service_logs_in_with_its_seed_and_works(start: Start, tmp_path: Path) -> None:
    file, public = seed(tmp_path)
    server = start(f"authorization {{ users: [{{ nkey: {public} }}] }}")
    bus = await connect(NatsSettings(url=server.url, nkey_seed_file=file), name="test")
    try:
        await bus.ensure_streams(STREAMS)
        assert await bus.healthy()
    finally:
        await bus.close()
    with pytest.raises(Transient, match="Authorization Violation"):
        await connect(NatsSettings(url=server.url), name="stranger")


@pytest.mark.parametrize("content", ["nonsense", "SUAAAA", "x" * 58])
async def test_a_seed_that_is_none_is_named_and_not_told(tmp_path: Path, content: str) -> None:
    file = tmp_path / "seed"
    file.write_text(content)
    file.chmod(0o600)
    with pytest.raises(Permanent) as refusal:
        await connect(NatsSettings(nkey_seed_file=file), name="test")
    assert refusal.value.code == "nats_seed_invalid"
    assert str(file) in refusal.value.message
    assert content not in refusal.value.message


async def test_a_seed_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file, _ = seed(tmp_path)
    file.chmod(0o644)
    with pytest.raises(Permanent) as refusal:
        await connect(NatsSettings(nkey_seed_file=file), name="test")
    assert refusal.value.code == "secret_file_exposed"


async def test_both_sides_show_their_certificates(
    start: Start, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start(tls(authority.issue("nats", address="127.0.0.1"), verify=authority.file))
    own = authority.issue("api")
    files = {"ca_file": authority.file, "cert_file": own.cert, "key_file": own.key}
    bus = await connect(encrypted(server, **files), name="test")
    try:
        assert await bus.healthy()
    finally:
        await bus.close()
    met: list[Exception] = []
    noted = Watch.error

    async def error(watch: Watch, error: Exception) -> None:
        met.append(error)
        await noted(watch, error)

    monkeypatch.setattr(Watch, "error", error)
    with pytest.raises(Transient) as refused:
        await connect(encrypted(server, ca_file=authority.file), name="without its own")
    assert (refused.value.code, "certificate" in refused.value.remedy) == ("bus_unreachable", True)
    # Whether a try reads the server's word or the broken connection first is not ours to say; the word is told.
    words = {str(one) for one in met if isinstance(one, ssl.SSLError) and "CERTIFICATE" in str(one)}
    assert not words or any(word in refused.value.message for word in words), (met, refused.value.message)
    log = server.directory / "nats.log"  # which it writes after it has refused
    await asyncio.to_thread(until, lambda: "client didn't provide a certificate" in log.read_text(), "it says why")


async def test_a_server_of_another_authority_another_name_or_a_past_date_is_not_spoken_to(
    start: Start, authority: Authority, tmp_path: Path
) -> None:
    foreign = Authority(tmp_path / "foreign")
    for pair in (
        foreign.issue("nats", address="127.0.0.1"), authority.issue("other.example.org"),
        authority.issue("past", address="127.0.0.1", days=-0.5),
    ):  # fmt: skip
        with pytest.raises(Transient, match="CERTIFICATE_VERIFY_FAILED"):
            await connect(encrypted(start(tls(pair)), ca_file=authority.file), name="test")


async def test_nothing_is_sent_in_the_clear_to_a_server_that_leaves_tls_out(
    start: Start, authority: Authority, tmp_path: Path
) -> None:
    """As who stands between would: the server's word that it wants TLS comes in the clear."""
    file, public = seed(tmp_path)
    server = start(f"authorization {{ users: [{{ nkey: {public} }}] }}")
    with pytest.raises(Transient, match="offers no TLS"):
        await connect(encrypted(server, ca_file=authority.file, nkey_seed_file=file), name="test")


async def test_a_certificate_renewed_in_its_file_is_shown_at_the_next_connection(
    start: Start, authority: Authority, tmp_path: Path
) -> None:
    """The server takes another authority for its clients: only with the file read again does a process come back."""
    pair, own = authority.issue("nats", address="127.0.0.1"), authority.issue("api")
    server = start(tls(pair, verify=authority.file))
    files = {"ca_file": authority.file, "cert_file": own.cert, "key_file": own.key}
    bus = await connect(encrypted(server, **files), name="test")
    try:
        later = Authority(tmp_path / "later")
        renewed = later.issue("api")
        own.cert.write_bytes(renewed.cert.read_bytes())
        own.key.write_bytes(renewed.key.read_bytes())
        server.stop()
        server.more = tls(pair, verify=later.file)
        server.start()
        async with asyncio.timeout(WAIT):
            while not await bus.healthy():
                await asyncio.sleep(0.2)
    finally:
        await bus.close()


async def test_a_cluster_is_joined_with_its_first_nodes_away_and_refused_for_one_that_may_lose(start: Start) -> None:
    server, lax = start(), start(sync="sync_interval: 2m")
    gone = [free_port(), free_port()]
    urls = [f"nats://127.0.0.1:{port}" for port in gone] + [server.url]
    monitors = [f"http://127.0.0.1:{gone[0]}", server.monitor_url]
    bus = await connect(NatsSettings(urls=tuple(urls), monitor_urls=tuple(monitors)), name="test")
    await bus.close()
    with pytest.raises(Permanent, match=str(lax.monitor)) as refusal:
        await connect(NatsSettings(urls=tuple(urls), monitor_urls=(*monitors, lax.monitor_url)), name="test")
    assert refusal.value.code == "nats_not_durable"
    with pytest.raises(Transient, match="monitoring port does not answer"):
        await connect(NatsSettings(url=server.url, monitor_urls=(monitors[0],)), name="test")
