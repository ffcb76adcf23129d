"""G16 and G17: one client's abuse costs bounded memory, and others are served all the while."""

from __future__ import annotations

import smtplib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.gateway_process import GatewayProcess, gateway
from tests.mail_sink import MailSink, mail_sink
from tests.peers import eventually

_MEMORY = 20_000
"""KB that any abuse may cost, where fifty thousand and more are sent."""
_SERVED = 2.0
_FRIEND = "127.0.0.2"
"""Who probes; the abuser is a stranger."""
_PATIENT = {
    "smtpd_error_sleep_time": "0",
    "smtpd_hard_error_limit": "1000000000",
    "smtpd_junk_command_limit": "1000000000",
}
"""Not to be saved by hanging up."""
_MEGABYTE = b"x" * (1 << 20)

Abuse = Callable[[socket.socket], None]


@contextmanager
def _connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), 20) as client:
        assert client.recv(65536).startswith(b"220 ")
        yield client


def _say(client: socket.socket, line: bytes) -> bytes:
    client.sendall(line)
    return client.recv(65536)


def _envelope(client: socket.socket) -> None:
    assert _say(client, b"EHLO x\r\n").startswith(b"250-")
    envelope = b"MAIL FROM:<abuse@example.org>\r\nRCPT TO:<r@example.com>\r\n"
    assert _say(client, envelope).startswith(b"250 ")


def _content(client: socket.socket) -> None:
    _envelope(client)
    answer = _say(client, b"DATA\r\n")
    while b"354 " not in answer:
        answer += client.recv(65536)


def _endless_command(client: socket.socket) -> None:
    for _ in range(50):
        client.sendall(_MEGABYTE)


def _endless_line_of_content(client: socket.socket) -> None:
    _content(client)
    for _ in range(50):
        client.sendall(_MEGABYTE)


def _too_large_a_message(client: socket.socket) -> None:
    """50 MB of lines where 10 MB are the limit."""
    _content(client)
    lines = (b"x" * 76 + b"\r\n") * 13_000
    for _ in range(50):
        client.sendall(lines)
    client.sendall(b"\r\n.\r\n")
    assert b"552 5.3.4" in client.recv(65536)


def _many_header_lines(client: socket.socket) -> None:
    _content(client)
    client.sendall(b"".join(b"X-Field-%d: some value\r\n" % number for number in range(100_000)))
    client.sendall(b"\r\n.\r\n")
    assert client.recv(65536).startswith(b"250 ")


def _long_header_line(client: socket.socket) -> None:
    _content(client)
    client.sendall(b"Subject: x\r\n" + b" folded\r\n" * 1_000_000 + b"\r\n.\r\n")
    assert client.recv(65536).startswith(b"250 ")


def _many_recipients(client: socket.socket) -> None:
    """Ten thousand where a thousand are the limit, all at once."""
    _say(client, b"EHLO x\r\n")
    client.sendall(b"MAIL FROM:<abuse@example.org>\r\n")
    names = b"".join(b"RCPT TO:<r%d@example.com>\r\n" % number for number in range(10_000))
    client.sendall(names)
    received = b""
    while received.count(b"\n") < 10_000:
        received += client.recv(1 << 20)
    assert received.count(b"452 4.5.3 ") >= 8_000


def _never_reading(client: socket.socket) -> None:
    """Commands without end, and nobody to take the replies: soon they aren't taken either."""
    _say(client, b"EHLO x\r\n")
    client.settimeout(0.5)
    with suppress(TimeoutError):
        for _ in range(500):
            client.sendall(b"RSET\r\n" * 100_000)
        raise AssertionError("300 MB of commands were taken")


def _huge_chunk(client: socket.socket) -> None:
    _envelope(client)
    client.sendall(b"BDAT 99999999999999\r\n")
    with suppress(OSError):
        for _ in range(50):
            client.sendall(_MEGABYTE)


def _many_errors(client: socket.socket) -> None:
    _say(client, b"EHLO x\r\n")
    client.settimeout(0.5)
    with suppress(OSError):
        client.sendall(b"MAIL NONSENSE\r\n" * 1_000_000)


@contextmanager
def _gateway(tmp_path: Path) -> Iterator[tuple[GatewayProcess, MailSink]]:
    with mail_sink() as sink:
        table = f"example.com discard:\n* smtp:[127.0.0.1]:{sink.port}\n"
        with gateway(tmp_path, table, {**_PATIENT, "mynetworks": f"{_FRIEND}/32"}) as ours:
            yield ours, sink


class _Probe:
    """Another client, which sends a message again and again. ``slowest`` seconds for one."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.slowest = 0.0
        self.count = 0

    def __enter__(self) -> _Probe:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._ended.is_set() or not self.count:
            began = time.monotonic()
            source = (_FRIEND, 0)
            with smtplib.SMTP("127.0.0.1", self._port, None, 30, source) as client:
                client.sendmail("p@example.org", ["p@probe.example"], "Subject: probe\n\nx")
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.count += 1


def _peak(ours: GatewayProcess) -> int:
    """The most memory that the process had since the last time, in KB."""
    assert ours.process is not None
    proc = Path(f"/proc/{ours.process.pid}")
    lines = (proc / "status").read_text().splitlines()
    [peak] = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    (proc / "clear_refs").write_text("5")
    return peak


def test_one_clients_abuse_is_bounded_and_disturbs_nobody(tmp_path: Path) -> None:
    abuses: tuple[Abuse, ...] = (
        _endless_command,
        _endless_line_of_content,
        _too_large_a_message,
        _many_header_lines,
        _long_header_line,
        _many_recipients,
        _never_reading,
        _huge_chunk,
        _many_errors,
    )
    with _gateway(tmp_path) as (ours, sink):
        idle = _peak(ours)
        delivered = 0
        for abuse in abuses:
            with _Probe(ours.port) as probe, _connected(ours.port) as client:
                abuse(client)
            grown = _peak(ours) - idle
            print(f"{abuse.__name__}: {grown} KB, the probe waited {probe.slowest:.3f} s")
            assert grown < _MEMORY
            assert probe.slowest < _SERVED
            delivered += probe.count
        eventually(lambda: len(sink.messages) == delivered, "the probes' mail")
        assert ours.process is not None
        assert ours.process.poll() is None


def test_many_slow_clients(tmp_path: Path) -> None:
    """Three hundred of one stranger's connections, an octet now and then: most are refused."""
    with _gateway(tmp_path) as (ours, _), ExitStack() as slow:
        idle = _peak(ours)
        address = ("127.0.0.1", ours.port)
        clients = [slow.enter_context(socket.create_connection(address, 20)) for _ in range(300)]
        with _Probe(ours.port) as probe:
            for octet in (b"E", b"H", b"L"):
                for client in clients:
                    with suppress(OSError):
                        client.sendall(octet)
        assert probe.slowest < _SERVED
        assert _peak(ours) - idle < _MEMORY
        ours.wait_log(r"Connection concurrency limit exceeded: \d+ from localhost\[127.0.0.1\]")
