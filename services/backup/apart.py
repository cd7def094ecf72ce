"""Blocking work in a thread of its own, with a limit: a mount that hangs must cost nothing but its own figures."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


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
    async with asyncio.timeout(seconds):
        return await asyncio.wrap_future(start(work, name))
