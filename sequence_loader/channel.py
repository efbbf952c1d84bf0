"""Messages between this process and one worker, over a socket.

- What is sent arrives whole, or the other side sees `EOFError` or `OSError`.
- Arrays cross without an intermediate copy: their memory is written to the
  socket as it lies, and received into the memory the new array keeps.
- Nobody waits in silence: `on_silence` is called each time nothing has moved
  for `silence` seconds, in either direction.
- One thread at a time may use a channel.
"""

from __future__ import annotations

import pickle
import socket
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

Dump = Callable[..., bytes]


class Channel:
    """One end of a connection.

    Args:
        connection: A connected stream socket; the channel owns it.
        dump: ``pickle.dumps``, or another function with its arguments.
    """

    def __init__(self, connection: socket.socket, dump: Dump = pickle.dumps) -> None:
        self._connection = connection
        self._dump = dump
        self.silence: float | None = None
        self.on_silence: Callable[[], None] = _carry_on

    def send(self, message: Any) -> None:
        """Sends one object.

        Raises:
            OSError: The other side is gone.
        """
        buffers: list[pickle.PickleBuffer] = []
        body = self._dump(message, protocol=5, buffer_callback=buffers.append)
        arrays = [buffer.raw() for buffer in buffers]
        sizes = [len(body), *(array.nbytes for array in arrays)]
        head = struct.pack(f"<{1 + len(sizes)}Q", len(sizes), *sizes)
        self._send_bytes(memoryview(head + body))
        for array in arrays:
            self._send_bytes(array)

    def receive(self) -> Any:
        """The next object the other side sent.

        Raises:
            EOFError: The other side is gone.
            OSError: The same, noticed otherwise.
        """
        (count,) = struct.unpack("<Q", self._receive_bytes(8))
        sizes = struct.unpack(f"<{count}Q", self._receive_bytes(8 * count))
        body, *buffers = map(self._receive_bytes, sizes)
        return pickle.loads(body, buffers=buffers)

    def close(self) -> None:
        """Closes this end: the other side sees the end of the stream."""
        self._connection.close()

    def _send_bytes(self, view: memoryview) -> None:
        while view.nbytes:
            self._connection.settimeout(self.silence)
            try:
                view = view[self._connection.send(view) :]
            except TimeoutError:
                self.on_silence()

    def _receive_bytes(self, size: int) -> memoryview:
        # NumPy's memory, because bytearray(size) would be cleared first.
        view = memoryview(np.empty(size, dtype=np.uint8))
        filled = 0
        while filled < size:
            self._connection.settimeout(self.silence)
            try:
                count = self._connection.recv_into(view[filled:])
            except TimeoutError:
                self.on_silence()
                continue
            if count == 0:
                raise EOFError("the other side closed the connection")
            filled += count
        return view


def _carry_on() -> None:
    """Waits on."""
