"""Deliveries by the real child process to real servers on loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from standardwebhooks.webhooks import Webhook

from shared.errors import Invalid, Transient
from shared.notify.port import Address, Message
from shared.notify.process import ChildSender
from tests.harness.patience import WAIT

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HERE = ["127.0.0.0/8"]
MESSAGE = Message(
    "id-1", "CRITICAL: disk of server:web1:/", "It is full.\nReally: é", "failure", {"alerts": [{"x": 1}]}
)


@dataclass
class Listener:
    """One HTTP server that keeps what it is sent."""

    status: str = "204 No Content"
    headers: str = ""
    port: int = 0
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.got.append((first, headers, body))
        writer.write(f"HTTP/1.1 {self.status}\r\n{self.headers}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()


@asynccontextmanager
async def listening(**options: str) -> AsyncIterator[Listener]:
    listener = Listener(**options)
    server = await asyncio.start_server(listener.answer, "127.0.0.1", 0)
    listener.port = server.sockets[0].getsockname()[1]
    try:
        yield listener
    finally:
        server.close()


async def test_a_webhook_is_signed_so_that_an_independent_library_believes_it() -> None:
    async with listening() as listener:
        url = f"http://127.0.0.1:{listener.port}/hook"
        await ChildSender(HERE, seconds=WAIT).send(Address("webhook", url, KEY), MESSAGE)
    ((first, headers, body),) = listener.got
    assert first == "POST /hook HTTP/1.1"
    payload = Webhook(KEY).verify(body, headers)
    assert payload == {"alerts": [{"x": 1}], "title": MESSAGE.title, "text": MESSAGE.text}
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(KEY).verify(body + b" ", headers)


@pytest.mark.parametrize("kind", ["webhook", "apprise"])
async def test_a_private_address_is_refused_before_anything_is_sent(kind: str) -> None:
    async with listening() as listener:
        scheme = "http" if kind == "webhook" else "json"
        for host in ("127.0.0.1", "localhost", *(["[::ffff:127.0.0.1]"] if kind == "webhook" else [])):
            url = f"{scheme}://{host}:{listener.port}/hook"
            with pytest.raises(Invalid) as refused:
                await ChildSender(["10.0.0.0/8"], seconds=WAIT).send(Address(kind, url, KEY), MESSAGE)
            assert refused.value.code == "address_refused"
            assert "allowed_networks" in refused.value.remedy
    assert listener.got == []


async def test_a_webhook_follows_no_redirect_and_an_error_is_tried_again_later() -> None:
    async with (
        listening() as other,
        listening(
            status="307 Temporary Redirect", headers=f"Location: http://127.0.0.1:{other.port}/inside\r\n"
        ) as listener,
    ):
        with pytest.raises(Transient, match="it answered 307"):
            await ChildSender(HERE, seconds=WAIT).send(
                Address("webhook", f"http://127.0.0.1:{listener.port}/", KEY), MESSAGE
            )
    assert other.got == []


async def test_apprise_delivers_title_and_text() -> None:
    async with listening(status="200 OK") as listener:
        await ChildSender(HERE, seconds=WAIT).send(Address("apprise", f"json://127.0.0.1:{listener.port}/"), MESSAGE)
    body = json.loads(listener.got[0][2])
    assert (body["title"], body["message"], body["type"]) == (MESSAGE.title, MESSAGE.text, "failure")


async def test_an_error_never_shows_what_the_url_keeps_secret() -> None:
    async with listening(status="403 Forbidden") as listener:
        url = f"json://user:hunter2secret@127.0.0.1:{listener.port}/tokenABCDEF"
        with pytest.raises(Transient) as failed:
            await ChildSender(HERE, seconds=WAIT).send(Address("apprise", url), MESSAGE)
    assert "hunter2secret" not in str(vars(failed.value)) + failed.value.message
    assert "tokenABCDEF" not in failed.value.message
    assert "403" in failed.value.message


async def test_a_side_that_never_answers_is_given_up_in_time() -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    with pytest.raises(Transient) as late:
        await ChildSender(HERE, seconds=3).send(Address("webhook", url, KEY), MESSAGE)
    assert late.value.code == "delivery_timeout"
    server.close()


@pytest.mark.parametrize(
    ("address", "code"),
    [
        (Address("apprise", "nonsense"), "channel_invalid"),
        (Address("apprise", "unknownservice://x"), "channel_invalid"),
        (Address("webhook", "ftp://example.org/"), "channel_invalid"),
        (Address("webhook", "http://169.254.169.254/latest/meta-data"), "address_refused"),
        (Address("webhook", "http://[64:ff9b::7f00:1]/"), "address_refused"),
    ],
)
async def test_a_wrong_address_is_refused_when_it_is_set(address: Address, code: str) -> None:
    with pytest.raises(Invalid) as refused:
        await ChildSender(seconds=WAIT).check(address)
    assert refused.value.code == code


async def test_a_good_address_is_accepted_without_sending() -> None:
    async with listening() as listener:
        await ChildSender(HERE, seconds=WAIT).check(Address("webhook", f"http://127.0.0.1:{listener.port}/", KEY))
        await ChildSender(HERE, seconds=WAIT).check(Address("apprise", f"json://127.0.0.1:{listener.port}/"))
    assert listener.got == []
