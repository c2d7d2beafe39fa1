"""Raw sockets on both sides of a fault proxy."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest


class Upstream:
    """A server whose connections a test holds in its hand."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(5)
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._taken: list[socket.socket] = []

    def take(self) -> socket.socket:
        """Return the next connection that somebody opens."""
        connection, _ = self._listening.accept()
        connection.settimeout(5)
        self._taken.append(connection)
        return connection

    def has_nobody(self) -> bool:
        """Return whether nobody connects within a tenth of a second."""
        self._listening.settimeout(0.1)
        try:
            self._taken.append(self._listening.accept()[0])
        except TimeoutError:
            return True
        finally:
            self._listening.settimeout(5)
        return False

    def echo_in_background(self) -> None:
        """Send the first piece of every connection back, from now on."""

        def echo() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection = self.take()
                    with contextlib.suppress(ConnectionError):
                        connection.sendall(connection.recv(65536))

        threading.Thread(target=echo, daemon=True).start()

    def stop(self) -> None:
        self._listening.close()

    def close(self) -> None:
        self.stop()
        for connection in self._taken:
            connection.close()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with contextlib.closing(Upstream()) as upstream:
        yield upstream


@pytest.fixture
def dial() -> Iterator[Callable[[int], socket.socket]]:
    """Connect to a port of this machine; closed with the test."""
    opened: list[socket.socket] = []

    def connect(port: int) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", port), timeout=5)
        opened.append(connection)
        return connection

    yield connect
    for connection in opened:
        connection.close()


def exactly(connection: socket.socket, count: int) -> bytes:
    """Read so many bytes."""
    received = b""
    while len(received) < count:
        some = connection.recv(min(65536, count - len(received)))
        assert some, f"the connection ended after {len(received)} of {count} bytes"
        received += some
    return received


def is_silent(connection: socket.socket, within_s: float = 0.15) -> bool:
    """Return whether nothing arrives, neither data nor an end."""
    connection.settimeout(within_s)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(5)
    return False


def reset(connection: socket.socket) -> None:
    """End a connection by a TCP RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def send_in_background(connection: socket.socket, data: bytes) -> threading.Thread:
    """Send as fast as the other side takes it."""

    def send() -> None:
        with contextlib.suppress(OSError):
            connection.sendall(data)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    return thread
