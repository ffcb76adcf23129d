"""Small writes that go to the network at once.

A Twisted transport gathers what is written and sends it in the reactor's next turn, at the price
of two changes to the reactor's list of sockets and one more event for each write. Replies and
commands are small, and almost always the socket takes them whole: then they may go at once.
"""

from __future__ import annotations

from typing import Any

__all__ = ["DirectWriter"]


class DirectWriter:
    """Writes to a connected TCP or Unix transport, in order.

    As soon as the socket does not take everything, this write and all later ones go through the
    transport, which buffers. Never for a transport that changes what it's given (TLS).
    """

    __slots__ = ("_send", "_transport", "_write")

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._write = transport.write
        handle = transport.getHandle() if hasattr(transport, "getHandle") else None
        self._send = getattr(handle, "send", None)

    def write(self, octets: bytes) -> None:
        """Send, or leave to the transport, which also is where errors show."""
        if self._send is not None:
            try:
                sent = self._send(octets)
            except OSError:
                sent = 0
            if sent == len(octets):
                return
            self._send = None
            octets = octets[sent:]
        self._write(octets)

    def lose_connection(self, reason: Any) -> None:
        """End the connection once all is sent: at once, if the network has it already.

        The transport would wait for another event to find that out. ``reason`` is the Failure
        for connectionLost().
        """
        transport = self._transport
        if self._send is None or not transport.connected:
            transport.loseConnection()
            return
        transport.stopReading()
        transport.connectionLost(reason)
