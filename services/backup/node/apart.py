"""Blocking work in a thread of its own, with a limit: a disk that hangs must cost nothing but what is on it.

`Disks` is the one door to the files of a storage pool. Read in the event loop, a pool that hangs would stop every
heartbeat of the node; read in the default pool of threads, it would fill that.
"""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from shared.errors import Transient

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
LOOK_SECONDS = 30.0


class _handed(Generic[T]):  # noqa: N801 - reads as a phrase: with _handed(future)
    """Hand whatever ends a thread to who waits for it, as threads of a pool do."""

    def __init__(self, future: Future[T]) -> None:
        """Take where it is waited for."""
        self._future = future

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        """Pass an error on; the thread itself has nobody to tell."""
        if error is not None:
            self._future.set_exception(error)
        return True


class Pulse:
    """Signs of life of work that may take long: it hangs when none has come for too long."""

    def __init__(self) -> None:
        """Begin to count."""
        self._last = time.monotonic()
        self.wanted = True
        """Somebody waits for the work's end."""

    def beat(self) -> None:
        """Give a sign of life; cheap enough for each of a million entries. Work that nobody waits for ends here."""
        if not self.wanted:
            raise TimeoutError
        self._last = time.monotonic()

    @property
    def silent(self) -> float:
        """Return for how many seconds there was none."""
        return time.monotonic() - self._last


def start(work: Callable[[], T], name: str) -> Future[T]:
    """Begin in a daemon thread: neither a pool of threads nor the end of the process waits for one that hangs."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # nobody can cancel it: the thread goes on anyhow

    def run() -> None:
        with _handed(future):
            future.set_result(work())

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


async def apart(work: Callable[[], T], seconds: float, name: str) -> T:
    """Return what blocking work returns; TimeoutError when its time is over, and the thread is left behind."""
    return await _ended(start(work, name), seconds, Pulse())


class Disks:
    """Reads from disks that may hang; of each at most one thread is left behind, and it is waited for first."""

    def __init__(self, seconds: float = LOOK_SECONDS) -> None:
        """Take how long a disk may give no sign of life."""
        self.seconds = seconds
        self._hanging: dict[str, Future[Any]] = {}

    async def read(self, disk: str, work: Callable[[Callable[[], None]], T], silent: Callable[[float], Transient]) -> T:
        """Return what `work` returns, which gives signs of life by what it is handed; `silent` says that it hangs."""
        if (before := self._hanging.get(disk)) is not None:
            done, _ = await asyncio.wait({_waiting(before)}, timeout=self.seconds)
            if not done:
                raise silent(self.seconds)
            self._hanging.pop(disk, None)
        pulse = Pulse()
        future = start(lambda: work(pulse.beat), f"disk:{disk}")
        try:
            return await _ended(future, self.seconds, pulse)
        except TimeoutError as error:
            raise silent(self.seconds) from error
        finally:
            pulse.wanted = False
            if not future.done():  # it hangs, or who asked was cancelled: whatever comes next must not meet it at work
                self._hanging.setdefault(disk, future)


def silent_state(path: str, seconds: float) -> Transient:
    """Say that the disk of a node's state directory hangs."""
    message = f"the node's state directory does not answer: {path} could not be used within {seconds:.0f} seconds"
    return Transient(message, code="state_silent", remedy="look at the backup node's own disk")


async def _ended(future: Future[T], seconds: float, pulse: Pulse) -> T:
    waiting = _waiting(future)
    while not waiting.done():
        left = seconds - pulse.silent
        if left <= 0:
            raise TimeoutError
        await asyncio.wait({waiting}, timeout=left)
    return waiting.result()


def _waiting(future: Future[T]) -> asyncio.Future[T]:
    waiting = asyncio.wrap_future(future)
    waiting.add_done_callback(_heard)
    return waiting


def _heard(waiting: asyncio.Future[Any]) -> None:
    """Take note of an error that nobody waits for any more: the disk was told as silent already."""
    if not waiting.cancelled():
        waiting.exception()
