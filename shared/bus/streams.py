"""What our streams are on the server: made where they are missing, and made as they are meant where they differ."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import TYPE_CHECKING, TypeVar

import nats.errors
import nats.js.errors
from nats.js import api

from shared.domain.messages.bus import STREAM_NOT_CURRENT, STREAM_OF_ANOTHER_KIND, STREAM_WITHOUT_ROOM
from shared.errors import Permanent, Transient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from nats.js import JetStreamContext

    from shared.events.streams import StreamSpec

Answer = TypeVar("Answer")
_LOOK_SECONDS = 0.5
_WITHOUT_ROOM = {10_005, 10_023, 10_047, 10_074}
"""nats-server's own codes: no peers for so many replicas, no room for what a stream may hold, no cluster at all."""
_SHAPE = ("num_replicas", "max_bytes", "max_age", "max_msgs_per_subject", "discard", "duplicate_window", "allow_direct")
"""What can be changed while a stream is used."""
_KIND = ("retention", "storage")
"""What only a new stream gets."""
_UNLIMITED = -1


async def ensure(js: JetStreamContext, specs: Sequence[StreamSpec], *, replicas: int) -> list[str]:
    """Create what is missing, return its names, and add subjects; leave all else as it is.

    Several processes do this at any time: one with older settings must not take back what a newer one has changed.
    """
    missing: list[str] = []
    for spec in specs:
        try:
            there = (await js.stream_info(spec.name)).config
        except nats.js.errors.NotFoundError:
            await _create(js, stream_config(spec, replicas))
            missing.append(spec.name)
            continue
        if (subjects := _united(there, spec)) != there.subjects:
            await js.update_stream(dataclasses.replace(there, subjects=subjects))  # pyright: ignore[reportUnknownMemberType] - nats-py leaves **kwargs untyped
    return missing


async def shape(js: JetStreamContext, specs: Sequence[StreamSpec], *, replicas: int, within: float) -> list[str]:
    """Make what exists equal to what is meant, one stream after another; return what was changed, in words."""
    changed: list[str] = []
    for spec in specs:
        meant, patience = stream_config(spec, replicas), _Patience(spec.name, within)
        there = (await patience.asked(lambda name=spec.name: js.stream_info(name))).config
        for name in _KIND:
            if (now := getattr(there, name)) != (wanted := getattr(meant, name)):
                raise Permanent(STREAM_OF_ANOTHER_KIND(stream=spec.name, what=name, now=now, wanted=wanted))
        differing = {name: getattr(meant, name) for name in _SHAPE if getattr(there, name) != getattr(meant, name)}
        if not differing:
            continue  # a replica may be away for a while: no reason not to install a new version
        new = dataclasses.replace(there, subjects=_united(there, spec), **differing)
        await patience.asked(lambda new=new: _update(js, new))
        changed += [f"{spec.name}: {name} {getattr(there, name)} -> {now}" for name, now in differing.items()]
        while behind := _behind(await patience.asked(lambda name=spec.name: js.stream_info(name)), replicas):
            await patience.wait(behind)
    return changed


class _Patience:
    """Until when a change of one stream is waited for."""

    def __init__(self, stream: str, within: float) -> None:
        self._stream, self._within, self._deadline = stream, within, time.monotonic() + within

    async def asked(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """Ask again for as long as nobody answers: the stream's servers choose a leader."""
        while True:
            try:
                return await ask()
            except (nats.errors.TimeoutError, nats.js.errors.ServiceUnavailableError):
                await self.wait(["no leader"])

    async def wait(self, behind: list[str]) -> None:
        """Wait a moment, or give up and tell who is behind."""
        if time.monotonic() > self._deadline:
            raise Transient(STREAM_NOT_CURRENT(stream=self._stream, seconds=self._within, behind=behind))
        await asyncio.sleep(_LOOK_SECONDS)


def stream_config(spec: StreamSpec, replicas: int) -> api.StreamConfig:
    """Return how a stream is made.

    One in memory has replicas like the others: with one alone, nobody could say a word of it while its server is away.
    """
    queue, memory = spec.retention == "workqueue", spec.storage == "memory"
    return api.StreamConfig(
        name=spec.name, subjects=list(spec.subjects), max_age=spec.max_age, duplicate_window=120, allow_direct=True,
        retention=api.RetentionPolicy.WORK_QUEUE if queue else api.RetentionPolicy.LIMITS,
        storage=api.StorageType.MEMORY if memory else api.StorageType.FILE,
        discard=api.DiscardPolicy.NEW if queue else api.DiscardPolicy.OLD,
        max_bytes=spec.max_bytes or _UNLIMITED,
        max_msgs_per_subject=1 if spec.last_per_subject else _UNLIMITED, num_replicas=replicas,
        deny_delete=spec.permanent, deny_purge=spec.permanent,
        allow_rollup_hdrs=False,  # a publisher's header `Nats-Rollup` would delete what others wait for
    )  # fmt: skip


def _united(there: api.StreamConfig, spec: StreamSpec) -> list[str]:
    """Keep the subjects of a newer version, beside ours."""
    subjects = there.subjects or []
    return [*subjects, *(subject for subject in spec.subjects if subject not in subjects)]


async def _create(js: JetStreamContext, config: api.StreamConfig) -> None:
    try:
        await js.add_stream(config)  # pyright: ignore[reportUnknownMemberType] - nats-py leaves **kwargs untyped
    except nats.js.errors.APIError as error:
        raise _explained(error, config) from error


async def _update(js: JetStreamContext, config: api.StreamConfig) -> None:
    try:
        await js.update_stream(config)  # pyright: ignore[reportUnknownMemberType] - nats-py leaves **kwargs untyped
    except nats.js.errors.APIError as error:
        raise _explained(error, config) from error


def _explained(error: nats.js.errors.APIError, config: api.StreamConfig) -> Exception:
    if error.err_code not in _WITHOUT_ROOM:
        return error
    return Permanent(
        STREAM_WITHOUT_ROOM(stream=config.name, replicas=config.num_replicas, description=error.description)
    )


def _behind(stream: api.StreamInfo, replicas: int) -> list[str]:
    """Name who does not hold all yet, with its reason; nobody of a server that is alone."""
    cluster = stream.cluster
    if cluster is None or (replicas == 1 and not cluster.replicas):
        return []
    peers = cluster.replicas or []
    told = [f"{peer.name} (away)" if peer.offline else f"{peer.name} (behind)" for peer in peers if not peer.current]
    if not cluster.leader:
        told.append("no leader")
    if (others := replicas - 1 - len(peers)) != 0:
        told.append(f"{abs(others)} {'missing' if others > 0 else 'too many'}")
    return told
