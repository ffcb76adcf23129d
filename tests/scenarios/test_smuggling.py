"""G12: no message hides in another, on its way in or out. The host behind us would fall for it."""

from __future__ import annotations

import socket
from pathlib import Path

from tests import postfix
from tests.gateway_process import gateway
from tests.mail_sink import mail_sink
from tests.peers import eventually

_ENDS = (
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r\n.\r",
    b"\n.\r",
    b"\r\n\0.\r\n",
    b"\r\r\n.\r\r\n",
    b"\n\n..\n\n",
)
_FORGED = (
    b"MAIL FROM:<boss@forged.example>\r\nRCPT TO:<victim@example.com>\r\nDATA\r\n"
    b"Subject: smuggled\r\n\r\nevil\r\n.\r\nQUIT\r\n"
)


class _Client:
    """A raw client; replies are read one by one."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 20)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._replies = self._socket.makefile("rb")
        self.reply()

    def say(self, *pieces: bytes) -> bytes:
        """Send each piece by itself; gives the next reply's last line."""
        for piece in pieces:
            self._socket.sendall(piece)
        return self.reply()

    def reply(self) -> bytes:
        while (line := self._replies.readline())[3:4] == b"-":
            pass
        return line

    def close(self) -> None:
        self._replies.close()
        self._socket.close()


def _envelope(client: _Client, number: int) -> None:
    assert client.say(b"EHLO client.example\r\n").startswith(b"250")
    sender = f"MAIL FROM:<s{number}@example.org>\r\n".encode()
    assert client.say(sender).startswith(b"250")
    assert client.say(b"RCPT TO:<r@example.com>\r\n").startswith(b"250")


def _content(number: int, end: bytes) -> tuple[bytes, bytes]:
    """In two parts, parted where a careless reader ends the message."""
    return f"Subject: outer {number}\r\n\r\nbefore".encode() + end, _FORGED[
        : -len(b".\r\nQUIT\r\n")
    ]


def test_no_end_of_data_but_the_real_one(open_path: Path) -> None:
    """Each by DATA and by BDAT, from a stranger, to a Postfix that takes bare line feeds."""
    far_settings = {
        "relay_domains": "example.com",
        "transport_maps": "static:discard:",
        "smtpd_forbid_bare_newline": "no",
    }
    (open_path / "far").mkdir()
    with postfix.running(open_path / "far", far_settings) as far:
        table = f"example.com smtp:[127.0.0.1]:{far.port}\n"
        with gateway(open_path, table, {"smtpd_forbid_bare_newline_exclusions": ""}) as ours:
            for number, end in enumerate(_ENDS):
                first, second = _content(number, end)
                client = _Client(ours.port)
                _envelope(client, number)
                assert client.say(b"DATA\r\n").startswith(b"354")
                assert client.say(first, second + b".\r\n").startswith(b"250"), end
                # The same over again with the message's octets counted.
                _envelope(client, number)
                size = len(first) + len(second)
                assert client.say(b"BDAT %d LAST\r\n" % size, first, second).startswith(b"250"), end
                assert client.say(b"QUIT\r\n").startswith(b"221")
                client.close()
            eventually(lambda: far.log().count("status=sent") >= 2 * len(_ENDS), "all at Postfix")
            assert far.log().count("status=sent") == 2 * len(_ENDS)
            assert "forged.example" not in far.log()
            assert "forged.example" not in ours.log()
        # Straight to that Postfix, the second message does get through.
        client = _Client(far.port)
        _envelope(client, 0)
        client.say(b"DATA\r\n")
        client.say(*_content(0, b"\n.\n"), b".\r\n")
        eventually(lambda: "forged.example" in far.log(), "the smuggled message")
        client.close()


def test_what_goes_out_has_line_ends_that_all_read_alike(tmp_path: Path) -> None:
    with mail_sink() as sink, gateway(tmp_path, f"* smtp:[127.0.0.1]:{sink.port}\n") as ours:
        client = _Client(ours.port)
        for number, end in enumerate(_ENDS):
            first, second = _content(number, end)
            _envelope(client, number)
            size = len(first) + len(second)
            assert client.say(b"BDAT %d LAST\r\n" % size, first, second).startswith(b"250")
        client.close()
        eventually(lambda: len(sink.messages) == len(_ENDS), "all")
    for message in sink.messages:
        assert b"\r" not in message.replace(b"\r\n", b"")
        assert b"\n" not in message.replace(b"\r\n", b"")
        assert b"smuggled" in message
