"""A request that takes a lane: it stands where uvicorn's protocol keeps the cycle of a request, without ASGI."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from onward.serve.api.lanes import Lane

_NOBODY_WAITS = asyncio.Event()


class Express:
    """One request, read whole before it is answered.

    Args:
        protocol: of its connection, whose newest request this is.
        lane: what answers.

    Attributes:
        the rest: as uvicorn's protocol reads and sets them.
    """

    def __init__(self, protocol: HttpToolsProtocol, lane: Lane) -> None:
        self._protocol, self._lane = protocol, lane
        self._headers = protocol.headers
        self.body, self.more_body = bytearray(), True
        self.response_started = self.response_complete = self.disconnected = False
        self.keep_alive: bool = protocol.parser.should_keep_alive()
        self.message_event = _NOBODY_WAITS

    def answer(self) -> None:
        """The request is complete."""
        self._lane.answer(self._headers, bytes(self.body), self._reply)

    def _reply(self, status: int, head: bytes, body: bytes) -> None:
        protocol = self._protocol
        self.response_started = self.response_complete = True
        if self.disconnected or protocol.transport.is_closing():
            return
        lines = [STATUS_LINE[status], head]
        lines += [name + b": " + value + b"\r\n" for name, value in protocol.server_state.default_headers]
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        protocol.transport.write(b"".join([*lines, b"content-length: %d\r\n\r\n" % len(body), body]))
        if not self.keep_alive:
            protocol.transport.close()
        protocol.on_response_complete()
