from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest

from shared.bus.jetstream import connect
from shared.bus.port import MESSAGE_ID, durable_name
from shared.config.settings import NatsSettings
from shared.errors import Permanent, Transient
from shared.events.streams import DEAD, JOBS, PROGRESS, STREAMS, StreamSpec
from tests.harness import hostile
from tests.harness.nats_server import NatsServer
from tests.harness.patience import WAIT

pytestmark = pytest.mark.measured  # on both: JetStream is reached by code of its own


async def test_a_published_message_is_delivered_once_and_gone_after_the_ack(bus: Any, subject: str) -> None:
    consumer = await bus.consumer(JOBS, subject, ack_wait=WAIT)
    await bus.publish(subject, b"payload", {MESSAGE_ID: f"id-{subject}", "Event-Type": "x.v1"})
    delivery = await consumer.fetch(WAIT)
    assert (delivery.data, delivery.subject, delivery.deliveries) == (b"payload", subject, 1)
    assert delivery.headers["Event-Type"] == "x.v1"
    assert await bus.count(JOBS, subject) == 1
    await delivery.ack()
    assert await bus.count(JOBS, subject) == 0
    assert await consumer.fetch(0.3) is None
    await consumer.close()


async def test_the_same_message_id_is_kept_once(bus: Any, subject: str) -> None:
    for _ in range(3):
        await bus.publish(subject, b"x", {MESSAGE_ID: f"same-{subject}"})
    assert await bus.count(JOBS, subject) == 1


async def test_what_is_not_acknowledged_comes_again_with_the_same_key(bus: Any, subject: str) -> None:
    consumer = await bus.consumer(JOBS, subject, ack_wait=0.5)
    await bus.publish(subject, b"x", {})
    first = await consumer.fetch(WAIT)
    second = await consumer.fetch(WAIT)
    assert second.deliveries >= 2
    assert second.key == first.key
    await second.ack()


@pytest.mark.parametrize(
    "headers", [one for one in hostile.HEADERS if "\x00" not in str(one.values())], ids=hostile.short
)
async def test_a_message_that_looks_like_the_servers_own_word_is_delivered_and_can_be_ended(
    bus: Any, subject: str, headers: dict[str, str]
) -> None:
    """Else it stays in the stream for ever and ends a slot each time it is fetched."""
    consumer = await bus.consumer(JOBS, subject, ack_wait=WAIT)
    await bus.publish(subject, b"x", headers)
    delivery = await consumer.fetch(WAIT)
    assert (delivery.data, delivery.deliveries) == (b"x", 1)
    await delivery.ack()
    assert await bus.count(JOBS, subject) == 0
    assert await bus.healthy()
    await consumer.close()


@pytest.mark.parametrize("bus", ["jetstream"], indirect=True)
async def test_no_bytes_in_the_place_of_headers_end_a_connection(
    bus: Any, contract_nats: NatsServer, subject: str
) -> None:
    consumer = await bus.consumer(JOBS, subject, ack_wait=WAIT)
    heard = asyncio.Semaphore(0)
    await bus.listen(subject, heard.release)
    progress = f"progress.{subject.rsplit('.', 1)[1]}"
    for number, block in enumerate(hostile.HEADER_BLOCKS):
        answer = await asyncio.to_thread(contract_nats.publish_raw, subject, block)
        assert b'"seq"' in answer, (block, answer)
        delivery = await consumer.fetch(WAIT)
        assert delivery is not None, block
        assert delivery.data == b"{}", block
        await delivery.ack()
        async with asyncio.timeout(WAIT):
            await heard.acquire()
        await asyncio.to_thread(contract_nats.publish_raw, progress, block, str(number).encode())
        assert await bus.last(PROGRESS, progress) == str(number).encode(), block
    await consumer.close()


async def test_who_listens_is_told_so_only_once_the_server_has_the_subscription(
    contract_nats: NatsServer, subject: str
) -> None:
    sent = bytearray()

    async def hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(65536):
            if reader not in answers:
                sent.extend(part)
            writer.write(part)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer, question = await asyncio.open_connection("127.0.0.1", contract_nats.port)
        answers.add(answer)
        await asyncio.gather(hand_on(reader, question), hand_on(answer, writer))

    answers: set[asyncio.StreamReader] = set()
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as relay:
        port = relay.sockets[0].getsockname()[1]
        bus = await connect(NatsSettings(url=f"nats://127.0.0.1:{port}", require_sync_always=False), name="listening")
        await bus.listen(subject, lambda: None)
        # What is published from here on is heard if an answer came to a question that was sent after the subscription.
        assert bytes(sent).rfind(b"PING") > bytes(sent).find(f"SUB {subject}".encode()) > 0, bytes(sent)
        await bus.close()


@pytest.mark.parametrize(
    "headers", ["Nats-Rollup: all", "Nats-Rollup: sub", "Nats-TTL: 1s", "Nats-Schedule: @every 1s"]
)
@pytest.mark.parametrize("bus", ["jetstream"], indirect=True)
async def test_no_header_deletes_or_shortens_what_others_wait_for(
    bus: Any, contract_nats: NatsServer, subject: str, headers: str
) -> None:
    await bus.publish(subject, b"a backup", {})
    block = f"NATS/1.0\r\n{headers}\r\n\r\n".encode()
    answer = await asyncio.to_thread(contract_nats.publish_raw, subject, block)
    assert b'"error"' in answer, answer
    assert await bus.count(JOBS, subject) == 1


async def asked(bus: Any, subject: str, fetching: asyncio.Task[Any]) -> None:
    """Wait until whoever holds the messages knows that one is awaited."""
    await asyncio.sleep(0)
    async with asyncio.timeout(WAIT):
        while hasattr(bus, "_js"):
            assert not fetching.done()
            if (await bus._js.consumer_info(JOBS.name, durable_name(subject))).num_waiting:
                return
            await asyncio.sleep(0.02)


async def test_a_fetch_that_was_given_up_loses_no_message(bus: Any, subject: str) -> None:
    consumer = await bus.consumer(JOBS, subject, ack_wait=WAIT)
    early = asyncio.create_task(consumer.fetch(WAIT))
    await asked(bus, subject, early)
    early.cancel()
    await asyncio.wait({early})
    await bus.publish(subject, b"x", {})
    delivery = await consumer.fetch(WAIT)
    assert (delivery.data, delivery.deliveries) == (b"x", 1)
    await delivery.ack()
    await consumer.close()


@pytest.mark.parametrize("bus", ["jetstream"], indirect=True)
async def test_a_fetch_from_a_consumer_that_was_deleted_says_so(bus: Any, subject: str) -> None:
    consumer = await bus.consumer(JOBS, subject, ack_wait=WAIT)
    await bus._js.delete_consumer(JOBS.name, durable_name(subject))
    with pytest.raises(Transient) as gone:
        await consumer.fetch(WAIT)
    assert gone.value.code == "bus_gone"
    assert gone.value.remedy


async def test_in_progress_holds_a_message_beyond_its_ack_wait(bus: Any, subject: str) -> None:
    held = 3.0
    consumer = await bus.consumer(JOBS, subject, ack_wait=held)
    await bus.publish(subject, b"x", {})
    began = held_at = time.monotonic()  # before it is delivered: whoever stands still then knows of it
    delivery = await consumer.fetch(WAIT)
    while time.monotonic() - began < 2 * held:
        found, asked_at = await consumer.fetch(held / 10), time.monotonic()
        await delivery.in_progress()
        await bus.count(JOBS, subject)  # by its answer the server has heard that, too
        if time.monotonic() - held_at >= held:
            return  # this machine, or the server, stood still for longer than a message is held: nothing can be told
        assert found is None, "it came again although it was held"
        held_at = asked_at
    await delivery.ack()


async def test_nak_gives_back_at_once_or_after_its_delay(bus: Any, subject: str) -> None:
    consumer = await bus.consumer(JOBS, subject, ack_wait=WAIT)
    await bus.publish(subject, b"x", {})
    await (await consumer.fetch(WAIT)).nak()
    delivery = await consumer.fetch(WAIT)
    given_back_at = time.monotonic()
    await delivery.nak(0.8)
    again = await consumer.fetch(WAIT)
    assert time.monotonic() - given_back_at >= 0.7  # the server's clock and ours may differ a little
    assert again.deliveries == 3
    await again.term()
    async with asyncio.timeout(WAIT):
        while await bus.count(JOBS, subject):
            await asyncio.sleep(0.02)


async def test_two_pullers_share_one_consumer_and_no_message_goes_to_both(bus: Any, subject: str) -> None:
    pullers = [await bus.consumer(JOBS, subject, ack_wait=WAIT) for _ in range(2)]
    for number in range(20):
        await bus.publish(subject, str(number).encode(), {})

    async def drain(puller: Any) -> list[bytes]:
        got = []
        while await bus.count(JOBS, subject):
            if (delivery := await puller.fetch(0.2)) is not None:
                got.append(delivery.data)
                await delivery.ack()
        return got

    async with asyncio.timeout(WAIT):
        got = await asyncio.gather(*(drain(puller) for puller in pullers))
    assert sorted(int(x) for part in got for x in part) == list(range(20))


async def test_of_progress_only_the_last_is_kept(bus: Any, subject: str) -> None:
    name = f"progress.{subject.rsplit('.', 1)[1]}"
    for number in range(3):
        await bus.notify(name, str(number).encode())
    async with asyncio.timeout(WAIT):
        while await bus.last(PROGRESS, name) != b"2":
            await asyncio.sleep(0.02)
    assert await bus.count(PROGRESS, name) == 1
    assert await bus.last(PROGRESS, "progress.nobody") is None


async def test_streams_are_made_once(bus: Any) -> None:
    assert await bus.ensure_streams(STREAMS) == []


async def test_a_newer_version_adds_its_subjects_to_a_stream_that_is_there(bus: Any) -> None:
    old = StreamSpec("GROWING", ("growing.one",), "limits", "file")
    assert await bus.ensure_streams([old]) == ["GROWING"]
    assert await bus.ensure_streams([replace(old, subjects=("growing.one", "growing.two"))]) == []
    for subject in ("growing.one", "growing.two"):
        await bus.publish(subject, b"x", {})


async def test_a_dead_letter_has_a_stream(bus: Any, subject: str) -> None:
    await bus.publish(f"dead.{subject}", b"{}", {})
    assert await bus.count(DEAD, f"dead.{subject}") == 1


@pytest.mark.parametrize("size", [1024 * 1024 - 20, 1024 * 1024, 1024 * 1024 + 1, 3 * 1024 * 1024])
async def test_a_message_too_large_is_refused_for_good_and_the_connection_stays(
    bus: Any, subject: str, size: int
) -> None:
    with pytest.raises(Permanent) as refused:
        await bus.publish(subject, b"x" * size, {MESSAGE_ID: "id", "Event-Type": "x.v1"})
    assert refused.value.code == "message_too_large"
    await bus.publish(subject, b"x" * (1024 * 1024 - 1000), {MESSAGE_ID: f"fits-{subject}"})
    assert await bus.count(JOBS, subject) == 1


@pytest.mark.parametrize("broken", ["", "a b", "a\r\nb", "a\x00b", "a..b", ".a", "a.", "a.*", "a.>"])
async def test_a_broken_subject_is_refused_for_good(bus: Any, broken: str) -> None:
    with pytest.raises(Permanent) as refused:
        await bus.publish(broken, b"x", {})
    assert refused.value.code == "message_subject_invalid"
    assert await bus.healthy()


async def test_a_subject_without_a_stream_is_refused(bus: Any) -> None:
    with pytest.raises(Transient):
        await bus.publish("nobody.listens", b"", {})


async def test_it_says_that_it_is_healthy(bus: Any) -> None:
    assert await bus.healthy()


async def test_who_listens_is_called_at_each_message_and_takes_it_from_nobody(bus: Any, subject: str) -> None:
    heard = asyncio.Semaphore(0)
    await bus.listen(subject, heard.release)
    consumer = await bus.consumer(JOBS, subject, ack_wait=WAIT)
    async with asyncio.timeout(WAIT):
        for number in range(2):
            await bus.publish(subject, b"x", {MESSAGE_ID: f"{subject}-{number}"})
            await heard.acquire()
            delivery = await consumer.fetch(WAIT)
            await delivery.ack()
    await consumer.close()
