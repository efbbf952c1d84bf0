"""Threads that never keep an interpreter from ending.

`concurrent.futures.ThreadPoolExecutor` joins its threads before any clean-up of
ours could run: one that waits for a stuck transform would turn Ctrl-C into a
hang. These are daemons; what they wait for is ended by `Workers`.

- They start with the first call and end with `close`; no call is lost silently:
  its future has a result or an error, or is cancelled.
- Between calls they refer to nothing but their queue.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeAlias

_Call: TypeAlias = "tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]"


class DaemonThreads:
    """Calls functions on a few threads.

    Args:
        count: How many threads.
        name: What they are called, to be told apart in a dump of stacks.
    """

    def __init__(self, count: int, name: str) -> None:
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._threads = [
            threading.Thread(
                target=_serve, args=(self._calls,), name=f"{name}-{i}", daemon=True
            )
            for i in range(count)
        ]

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Calls ``function(*arguments)`` on one of the threads, some time."""
        future: Future[Any] = Future()
        with self._lock:
            if self._closed:
                future.cancel()
                return future
            for thread in self._threads:
                if thread.ident is None:
                    thread.start()
            self._calls.put((future, function, arguments))
        return future

    def close(self, timeout: float) -> None:
        """Cancels what has not begun, and waits for the rest.

        Args:
            timeout: Seconds to wait, in all.
        """
        with self._lock:
            self._closed = True
            while True:
                try:
                    call = self._calls.get_nowait()
                except queue.Empty:
                    break
                if call is not None:
                    call[0].cancel()
                    # Wakes up who waits for it, as an executor does.
                    call[0].set_running_or_notify_cancel()
            for _ in self._threads:
                self._calls.put(None)
        share = timeout / max(len(self._threads), 1)
        for thread in self._threads:
            # The last reference may be dropped by one of the threads itself.
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join(share)


def _serve(calls: queue.SimpleQueue[_Call | None]) -> None:
    while True:
        call = calls.get()
        if call is None:
            return
        future, function, arguments = call
        if future.set_running_or_notify_cancel():
            try:
                result = function(*arguments)
            except BaseException as error:
                future.set_exception(error)
                # The traceback refers to this frame, and it to the future.
                del error
            else:
                future.set_result(result)
                del result
        del call, future, function, arguments
