"""G8: whatever a next hop does, mail is kept or returned, and other destinations don't notice."""

from __future__ import annotations

import json
import re
import socket
import time
from contextlib import ExitStack
from pathlib import Path

from tests.gateway_process import GatewayProcess, gateway
from tests.mail_sink import mail_sink
from tests.peers import eventually, sink
from tests.rude_server import endless_line, endless_reply, garbage, rude_server, silent

_LOST = r"dsn=4.4.2, status=deferred \(lost connection with \S+ while "
_SILENT = r"dsn=4.4.2, status=deferred \(conversation with \S+ timed out while "
_PROTOCOL = r"dsn=4.5.0, status=deferred \(protocol error from host "
_421 = r"dsn=4.0.0, status=deferred \(host \S+ (?:said|refused to talk to me): 421 "
_4XX = r"dsn=4.3.0, status=deferred \(host \S+ (?:said|refused to talk to me): 450 "
_5XX = r"dsn=5.3.0, status=bounced \(host \S+ (?:said|refused to talk to me): 500 "
_SENT = r"dsn=2.0.0, status=sent "

_SINKS = {
    # It hangs up, without a word or with 421.
    "-q CONNECT": _LOST + "receiving the initial server greeting",
    "-q EHLO": _LOST + "performing the EHLO handshake",
    "-q MAIL": _LOST + "sending MAIL FROM",
    "-q RCPT": _LOST + "sending RCPT TO",
    "-q DATA": _LOST + "sending DATA command",
    "-q .": _LOST + "sending end of data -- message may be sent more than once",
    "-q QUIT": _SENT,
    "-Q CONNECT": _421,
    "-Q EHLO": _421,
    "-Q MAIL": _421,
    "-Q RCPT": _421,
    "-Q DATA": _421,
    "-Q .": _421,
    # It refuses for good. A greeting of 5xx is the host's trouble and not the message's.
    "-f CONNECT": r"dsn=4.3.0, status=deferred \(host \S+ refused to talk to me: 500 ",
    "-f EHLO": _SENT,
    "-f EHLO,HELO": _5XX,
    "-f MAIL": _5XX,
    "-f RCPT": _5XX,
    "-f DATA": _5XX,
    "-f .": _5XX,
    # It refuses for now.
    "-r CONNECT": _4XX,
    "-r EHLO": _4XX,
    "-r MAIL": _4XX,
    "-r RCPT": _4XX,
    "-r DATA": _4XX,
    "-r .": _4XX,
    # It offers less than others, or is slow, or breaks in.
    "-a": _SENT,
    "-e": _SENT,
    "-p": _SENT,
    "-8": _SENT,
    "-N": _SENT,
    "-P": _SENT,
    "-T 1000": _SENT,
    "-w 1": _SENT,
    "-W EHLO:1": _SENT,
    "-H 1": _SENT,
    "-W .:5": _SILENT + "sending end of data -- message may be sent more than once",
    "-A 0": r"dsn=5.0.0, status=bounced .*550 This violates SMTP",
}
_OTHERS = {
    silent: _SILENT + "receiving the initial server greeting",
    garbage: _PROTOCOL + r"\S+ no SMTP reply: ",
    endless_line: _PROTOCOL + r"\S+ a reply line is too long",
    endless_reply: _PROTOCOL + r"\S+ a reply is too long",
}
_TIMEOUTS = {
    f"smtp_{step}_timeout": "2s"
    for step in ("helo", "mail", "rcpt", "data_init", "data_xfer", "data_done", "rset")
}


def test_mail_is_kept_or_returned_and_others_do_not_notice(tmp_path: Path) -> None:
    expected = {}
    transport = ""
    with ExitStack() as peers:
        ports = [peers.enter_context(sink(*options.split(" "))) for options in _SINKS]
        ports += [peers.enter_context(rude_server(behaviour)).port for behaviour in _OTHERS]
        ends = [*_SINKS.values(), *_OTHERS.values()]
        for number, (port, end) in enumerate(zip(ports, ends, strict=True)):
            expected[f"d{number}.example"] = end
            transport += f"d{number}.example smtp:[127.0.0.1]:{port}\n"
        good = peers.enter_context(mail_sink())
        transport += f"* smtp:[127.0.0.1]:{good.port}\n"
        ours = peers.enter_context(gateway(tmp_path, transport, _TIMEOUTS))
        ids = {domain: ours.send(f"a@{domain}", "Subject: x\n\nx") for domain in expected}
        began = time.monotonic()
        ours.send("a@good.example", "Subject: good\n\nx")
        eventually(lambda: _has(good.messages, b"Subject: good"), "the good destination's mail")
        assert time.monotonic() - began < 2
        for domain, end in expected.items():
            ours.wait_log(rf"{ids[domain]}: to=<a@{domain}>, .*{end}")
        kept = {ids[domain] for domain, end in expected.items() if "status=deferred" in end}
        returned = [domain for domain, end in expected.items() if "status=bounced" in end]
        eventually(lambda: _queued(ours) == kept, "in the queue what was deferred, and no more")
        eventually(lambda: len(good.messages) == 1 + len(returned), "a report for each refusal")


def _has(messages: list[bytes], text: bytes) -> bool:
    return any(text in each for each in messages)


def _queued(ours: GatewayProcess) -> set[str]:
    lines = ours.ctl("postqueue", "-j").stdout.splitlines()
    return {json.loads(line)["queue_id"] for line in lines}


def _hang_up(connection: socket.socket) -> None:
    """After a moment, so that all that may try at once does."""
    connection.settimeout(0.3)
    connection.recv(1)


def test_a_dead_destination_is_left_alone_for_a_while(tmp_path: Path) -> None:
    """A hundred messages cost it a handful of connections; back again, it gets them all."""
    settings = {"minimal_backoff_time": "1s", "maximal_backoff_time": "1s"}
    with ExitStack() as peers:
        dead = peers.enter_context(rude_server(_hang_up))
        transport = f"dead.example smtp:[127.0.0.1]:{dead.port}\n"
        ours = peers.enter_context(gateway(tmp_path, transport, settings))
        for number in range(100):
            ours.send(f"a{number}@dead.example", "Subject: x\n\nx")
        suspended = r"status=deferred \(delivery temporarily suspended: lost connection with"
        eventually(lambda: len(re.findall(suspended, ours.log())) > 90, "the rest not even tried")
        attempts = len(re.findall("status=deferred", ours.log()))
        # One probe each time that it was thought alive again, five at once at the most.
        assert dead.connections < 12 + attempts / 20
        dead.behaviour = _friendly
        eventually(ours.is_empty, "all delivered", step=0.2)


def _friendly(connection: socket.socket) -> None:
    """Just enough of SMTP."""
    connection.sendall(b"220 back.test\r\n")
    for line in connection.makefile("rb"):
        if line.startswith(b"DATA"):
            connection.sendall(b"354 \r\n")
        elif line == b".\r\n" or line[:4].upper() in (b"EHLO", b"MAIL", b"RCPT", b"RSET"):
            connection.sendall(b"250 ok\r\n")
        elif line.startswith(b"QUIT"):
            connection.sendall(b"221 \r\n")
            return
