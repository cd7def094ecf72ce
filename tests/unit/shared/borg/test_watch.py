from __future__ import annotations

import asyncio

import pytest

from shared.borg import commands
from shared.borg.watch import Watch

COMMANDS = [
    commands.init("borg", "/pool/web1/r", "repokey"), commands.list_archives("borg", "/pool/web1/r"),
    commands.info("borg", "/pool/web1/r"), commands.delete("borg", "/pool/web1/r", "a"),
    commands.compact("borg", "/pool/web1/r", 10), commands.check_segments("borg", "/pool/web1/r"),
    commands.read_archive("borg", "/pool/web1/r", "a"),
]  # fmt: skip


async def never(_size: int) -> bytes:
    await asyncio.Event().wait()
    return b""


@pytest.mark.parametrize("argv", COMMANDS, ids=lambda argv: argv[1])
async def test_a_borg_that_says_nothing_is_ended_and_its_pool_is_named(argv: list[str]) -> None:
    watch = Watch(argv, "/pool/web1/r", 0.05)
    with pytest.raises(TimeoutError):
        async with watch:
            await watch.reading(never)(1)
    error = watch.error()
    assert (error.code, argv[1] in error.message, "/pool " in error.remedy) == ("command_silent", True, True)


async def test_what_a_borg_says_while_it_is_ended_is_heard_and_breaks_nothing() -> None:
    async def late(_size: int) -> bytes:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return b"Terminated"
        return b""

    watch = Watch(COMMANDS[1], "/pool/web1/r", 0.05)
    async with watch:
        assert await watch.reading(late)(1) == b"Terminated"


async def test_every_block_is_a_sign_of_life() -> None:
    blocks = 0

    async def slowly(_size: int) -> bytes:
        nonlocal blocks
        blocks += 1
        await asyncio.sleep(0.02)
        return b"x" if blocks < 20 else b""

    watch = Watch(COMMANDS[0], "/pool/web1/r", 120)
    async with watch:
        while await watch.reading(slowly)(1):
            pass
    assert blocks == 20


async def test_what_talks_for_ever_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def chatters(_size: int) -> bytes:
        await asyncio.sleep(0)
        return b"still here\n"

    monkeypatch.setattr("shared.borg.watch._SECONDS", {"list": 0.05})
    watch = Watch(COMMANDS[1], "/pool/web1/r", 900)
    with pytest.raises(TimeoutError):
        async with watch:
            while await watch.reading(chatters)(1):
                pass
    assert watch.error().code == "command_too_long"


async def test_a_cancellation_stays_one() -> None:
    watch = Watch(COMMANDS[1], "/pool/web1/r", 120)

    async def work() -> None:
        async with watch:
            await never(1)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("name", ["left_out", "verify"])
async def test_a_script_that_hangs_on_its_pool_is_ended_as_a_borg_is(name: str) -> None:
    watch = Watch(["/usr/bin/python3", "-I", f"/state/fence/{name}.py", "/pool/web1/r"], "/pool/web1/r", 0.05)
    with pytest.raises(TimeoutError):
        async with watch:
            await watch.reading(never)(1)
    error = watch.error()
    assert (error.code, name in error.message, "/pool " in error.remedy) == ("command_silent", True, True)


async def test_a_run_may_have_a_silence_of_its_own() -> None:
    watch = Watch(["/usr/bin/python3", "-I", "/state/fence/recover.py", "/pool/web1/r"], "/pool/web1/r", 900, 0.05)
    with pytest.raises(TimeoutError):
        async with watch:
            await watch.reading(never)(1)
    assert watch.error().code == "command_silent"
