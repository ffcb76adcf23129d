"""An SMTP server that keeps what it gets: for tests that must know each message."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.peers import free_port


class MailSink:
    """``messages`` are the contents received, as they came, dots unstuffed.

    ``answers`` has replies to commands by how they begin, in upper case; ``pause`` seconds go by
    before a message is acknowledged, and ``before_reply`` is called with it; ``connections`` counts
    who ever came.
    """

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.port = port
        self.host = host
        self.connections = 0
        self.pause = 0.0
        self.messages: list[bytes] = []
        self.envelopes: list[tuple[str, list[str]]] = []
        self.extensions = ["PIPELINING", "8BITMIME", "DSN", "SIZE 0"]
        self.answers: dict[str, str] = {}
        self.before_reply: Callable[[bytes], object] = lambda message: None

    def answer(self, command: str) -> str | None:
        """What is set for the command."""
        for start, answer in self.answers.items():
            if command.startswith(start):
                return answer
        return None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        sender, recipients = "", []
        writer.write(b"220 sink.test ESMTP\r\n")
        try:
            while line := (await reader.readline()).decode("utf-8", "replace").strip():
                verb = line.split(" ")[0].upper()
                answer = self.answer(line.upper())
                if answer is not None:
                    writer.write(answer.encode() + b"\r\n")
                elif verb == "EHLO":
                    lines = ["sink.test", *self.extensions]
                    marks = ["-"] * (len(lines) - 1) + [" "]
                    pairs = zip(marks, lines, strict=True)
                    writer.write("".join(f"250{m}{t}\r\n" for m, t in pairs).encode())
                elif verb == "DATA" and not recipients:
                    writer.write(b"554 5.5.1 no valid recipients\r\n")
                elif verb == "DATA":
                    writer.write(b"354 go on\r\n")
                    await writer.drain()
                    octets = await reader.readuntil(b"\r\n.\r\n")
                    self.messages.append(octets[:-3].replace(b"\r\n..", b"\r\n."))
                    self.envelopes.append((sender, recipients))
                    self.before_reply(self.messages[-1])
                    await asyncio.sleep(self.pause)
                    writer.write(b"250 2.0.0 kept\r\n")
                elif verb == "QUIT":
                    writer.write(b"221 bye\r\n")
                    break
                else:
                    if verb == "MAIL":
                        sender, recipients = line, []
                    elif verb == "RCPT":
                        recipients = [*recipients, line]
                    writer.write(b"250 ok\r\n")
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return  # cancelled: the test is over
        finally:
            writer.close()


@contextmanager
def mail_sink(port: int | None = None, host: str = "127.0.0.1") -> Iterator[MailSink]:
    """A running sink, in a thread of its own."""
    sink = MailSink(port or free_port(), host)
    ready = threading.Event()
    stop: list[Callable[[], object]] = []

    async def run() -> None:
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(ended.set))
        server = await asyncio.start_server(sink.serve, host, sink.port, limit=1 << 26)
        ready.set()
        await ended.wait()
        server.close()

    # asyncio.run() ends the connections that are still open.
    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield sink
    finally:
        stop[0]()
        thread.join(10)
