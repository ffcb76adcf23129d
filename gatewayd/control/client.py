"""The control socket from a command's side, with nothing but the standard library.

Commands run for each mail, on small machines: this imports little and late.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from gatewayd.errors import GatewayError

__all__ = ["ControlClient", "ControlRefused", "DaemonDown"]


class DaemonDown(GatewayError):
    """Nobody listens on the control socket."""


class ControlRefused(GatewayError):
    """The daemon answered that it will not or cannot; ``problems`` has a text for each reason."""

    def __init__(self, code: int, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.code = code
        self.problems = problems


@dataclass(frozen=True, slots=True)
class ControlClient:
    """Requests to the daemon whose socket is at ``path``. ``timeout`` is seconds of silence."""

    path: str
    timeout: float = 60.0

    def get(self, *parts: str, **query: Any) -> Any:
        """The JSON that a GET answers. Raises DaemonDown, ControlRefused."""
        with self._request("GET", parts, query, b"") as body:
            return json.loads(body.read())

    def lines(self, *parts: str, **query: Any) -> Iterator[Any]:
        """The JSON objects of an answer that has one a line, as they come."""
        with self._request("GET", parts, query, b"") as body:
            for line in body:
                yield json.loads(line)

    def content(self, *parts: str) -> Iterator[bytes]:
        """An answer's octets, piece by piece."""
        with self._request("GET", parts, {}, b"") as body:
            while octets := body.read(1 << 16):
                yield octets

    def post(self, verb: str, fields: Mapping[str, Any] | None = None) -> Any:
        """The JSON that a POST answers. Raises DaemonDown, ControlRefused."""
        with self._request("POST", (verb,), {}, json.dumps(fields or {}).encode()) as body:
            return json.loads(body.read())

    def _request(
        self, method: str, parts: tuple[str, ...], query: Mapping[str, Any], body: bytes
    ) -> BinaryIO:
        """The answer's body. HTTP/1.0: the answer ends where the connection does."""
        given = {name: value for name, value in query.items() if value is not None}
        connection = self._connect()
        head = f"{method} {_target(parts, given)} HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        answer = connection.makefile("rb")
        connection.close()
        code = _read_head(answer)
        if code != 200:
            raise _refusal(code, answer.read())
        return answer

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(self.timeout)
        try:
            connection.connect(self.path)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
            connection.close()
            raise DaemonDown(f"nobody listens on {self.path}: {error.strerror}") from None
        except OSError as error:
            connection.close()
            raise ControlRefused(403, (f"{self.path}: {error.strerror}",)) from None
        return connection


def _target(parts: tuple[str, ...], query: Mapping[str, Any]) -> str:
    if not query and all(part.isascii() and part.isalnum() for part in parts):
        return "/" + "/".join(parts)
    from urllib.parse import quote, urlencode

    path = "/" + "/".join(quote(part, safe="") for part in parts)
    return f"{path}?{urlencode(query, doseq=True)}" if query else path


def _read_head(answer: BinaryIO) -> int:
    status = answer.readline(1024).split()
    while answer.readline(8192) not in (b"\r\n", b""):
        pass
    if len(status) < 2 or not status[1].isdigit():
        raise ControlRefused(502, ("the daemon closed the connection without an answer",))
    return int(status[1])


def _refusal(code: int, body: bytes) -> ControlRefused:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        fields = {"error": body.decode("utf-8", "replace").strip() or code}
    errors = fields.get("errors")
    problems = errors if errors and isinstance(errors, list) else [fields.get("error", code)]
    return ControlRefused(code, tuple(map(str, problems)))
