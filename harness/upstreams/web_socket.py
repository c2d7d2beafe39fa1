"""What carries a dialogue over a connection that has become a WebSocket? Its frames, and a lane for each row of calls.

What is said is the upstream's: messages in become requests, replies become messages out. Every fault that a reply can
have acts here too: a hang is silence, a cut ends the connection without a closing frame, a reset is a TCP RST.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from wsproto.connection import Connection as Frames
from wsproto.connection import ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.utilities import LocalProtocolError

from harness.upstreams import wire
from harness.upstreams.served import LARGEST_BODY_BYTES, Connection, Handler

_TOO_BIG = 1009  # RFC 6455, 7.4.1


class Lane(Connection):
    """Requests of one WebSocket that are answered one after the other, in the order of their arrival."""

    def __init__(
        self,
        handler: Handler,
        connections: set[Connection],
        transport: asyncio.Transport,
        tell: Callable[[], wire.Telling],
        frame: Callable[[str], bytes],
    ) -> None:
        super().__init__(handler, connections)
        self.connection_made(transport)
        self._tell = tell
        self._frame = frame
        self._telling = tell()

    def take(self, request: wire.Request) -> None:
        """Answer a request, after those that came before it."""
        if self.is_answering:
            self._waiting.append((request, True))
        else:
            self._begin(request, True)

    def _begin(self, request: wire.Request, keep_alive: bool) -> None:
        self._telling = self._tell()
        super()._begin(request, keep_alive)

    def _whole(self, reply: wire.Reply) -> list[bytes]:
        self._telling.head(reply.status, reply.headers)
        return self._data([reply.body]) + self._end()

    def _head(self, head: wire.Head) -> list[bytes]:
        self._telling.head(head.status, head.headers)
        return []

    def _data(self, bodies: list[bytes]) -> list[bytes]:
        return [self._frame(message) for body in bodies for message in self._telling.data(body)]

    def _end(self) -> list[bytes]:
        return [self._frame(message) for message in self._telling.end()]


class WebSocket:
    """The frames of one connection, and its lanes.

    Args:
        transport: the connection, whose handshake is over.
        dialogue: what is said.
        handler: who answers.
        connections: where the lanes are noted, so that what happens to connections happens to them.
    """

    def __init__(
        self, transport: asyncio.Transport, dialogue: wire.Dialogue, handler: Handler, connections: set[Connection]
    ) -> None:
        self._transport = transport
        self._dialogue = dialogue
        self._handler = handler
        self._connections = connections
        self._frames = Frames(ConnectionType.SERVER)
        self._lanes: dict[str, Lane] = {}
        self._message: list[str] = []
        self._message_length = 0

    def receive(self, data: bytes) -> None:
        """Take what arrived."""
        try:
            self._frames.receive_data(data)
        except LocalProtocolError:
            return  # after its closing frame a caller has nothing to say
        for event in self._frames.events():
            if isinstance(event, TextMessage | BytesMessage):
                piece = event.data if isinstance(event, TextMessage) else bytes(event.data).decode(errors="replace")
                self._take(piece, is_whole=event.message_finished)
            elif isinstance(event, Ping):
                self._transport.write(self._frames.send(event.response()))
            elif isinstance(event, CloseConnection):
                self._close(event.response())

    def _take(self, piece: str, *, is_whole: bool) -> None:
        self._message.append(piece)
        self._message_length += len(piece)
        if self._message_length > LARGEST_BODY_BYTES:
            self._close(CloseConnection(code=_TOO_BIG, reason="message too big"))
        elif is_whole:
            message = "".join(self._message)
            self._message, self._message_length = [], 0
            lane, request = self._dialogue.hear(message)
            self._lane(lane).take(request)

    def _lane(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane(
                self._handler, self._connections, self._transport, lambda: self._dialogue.tell(name), self._frame
            )
        return lane

    def _frame(self, message: str) -> bytes:
        try:
            return self._frames.send(TextMessage(data=message))
        except LocalProtocolError:
            return b""  # the caller said that it leaves

    def _close(self, frame: CloseConnection) -> None:
        with contextlib.suppress(LocalProtocolError):  # both sides have said so
            self._transport.write(self._frames.send(frame))
        self._transport.close()

    def lost(self) -> None:
        """Hear that the connection is gone."""
        for lane in self._lanes.values():
            lane.connection_lost(None)

    def pause_writing(self) -> None:
        """Hear that the caller reads more slowly than is written."""
        for lane in self._lanes.values():
            lane.pause_writing()

    def resume_writing(self) -> None:
        """Hear that the caller has caught up."""
        for lane in self._lanes.values():
            lane.resume_writing()
