"""The SMTP client's dialogue with servers that say anything at any moment."""

from __future__ import annotations

import random
import re

from gatewayd.smtp.client_settings import ClientSettings
from gatewayd.smtp.dialogue import Dialogue
from gatewayd.smtp.exchange import ContentWanted, Event, Exchange, HungUp, SessionRefused
from gatewayd.smtp.trouble import Peer
from gatewayd.status import Outcome, deferred
from tests.fuzz.inputs import pieces, split

_EHLO = b"220 mx ESMTP\r\n250-mx\r\n250-PIPELINING\r\n250-DSN\r\n250-SIZE 1000000\r\n"
SEEDS = (
    _EHLO + b"250 8BITMIME\r\n" + (b"250 ok\r\n" * 3 + b"354 go\r\n250 2.0.0 taken\r\n") * 3,
    _EHLO + b"250 CHUNKING\r\n" + b"250 ok\r\n" * 30,
    _EHLO + b"250 CHUNKING\r\n" + b"250 ok\r\n450 later\r\n550-5.1.1 no\r\n550 no\r\n" * 5,
    b"220 mx\r\n250 mx\r\n250 ok\r\n250 ok\r\n354 go\r\n250 ok\r\n421 bye\r\n",
    b"554 no\r\n",
)
WORDS = (
    *(b"250 ok\r\n", b"250-", b"354 go\r\n", b"450 4.2.0 x\r\n", b"550 5.1.1 x\r\n", b"421 x\r\n"),
    *(b"220 mx ESMTP\r\n", b"503 x\r\n", b"PIPELINING\r\n", b"CHUNKING\r\n", b"\r\n", b"521 x\r\n"),
)
_COMMAND = re.compile(
    rb"(?:EHLO|HELO|LHLO) us|MAIL FROM:<s@us>|RCPT TO:<r[0-9]@them>|DATA|RSET|QUIT|"
    rb"BDAT [0-9]+(?: LAST)?"
)
_LOST = deferred("4.4.2", "lost connection")


def target(data: bytes) -> bool:
    """Taken: an exchange came to its end in the dialogue itself.

    Every exchange has an outcome for every recipient in the end, and only whole commands go out.
    """
    payload, decisions = split(data)
    lmtp = decisions.random() < 0.3
    settings = ClientSettings(lmtp=lmtp, helo_name="us", in_flight=decisions.choice((1, 3, 100)))
    dialogue = Dialogue(settings, Peer("mx", "192.0.2.1", 25))
    client = _Client(dialogue, decisions)
    for piece in pieces(payload, decisions):
        client.heard(dialogue.receive(piece))
        if client.is_over:
            break
        client.go_on()
    settled, untouched = dialogue.break_off(_LOST, keep_unanswered=decisions.random() < 0.5)
    for exchange in client.begun:
        if exchange in untouched:
            assert not exchange.is_answered
        else:
            assert all(isinstance(each, Outcome) for each in exchange.outcomes)
    assert set(settled) | set(untouched) <= set(client.begun)
    return bool(dialogue.messages)


class _Client:
    """Begins exchanges whenever it may, and checks what goes out."""

    def __init__(self, dialogue: Dialogue, decisions: random.Random) -> None:
        self._dialogue = dialogue
        self._decisions = decisions
        self.begun: list[Exchange] = []
        self.is_over = False

    def go_on(self) -> None:
        while self._dialogue.may_begin and len(self.begun) < 20:
            count = self._decisions.choice((1, 1, 2, 4))
            size = self._decisions.choice((10, 100, 70_000))
            lines = [b"RCPT TO:<r%d@them>" % n for n in range(count)]
            exchange = Exchange(b"MAIL FROM:<s@us>", lines, size)
            self.begun.append(exchange)
            self.heard(self._dialogue.begin(exchange))
        _check_commands(self._dialogue.output())

    def heard(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, SessionRefused | HungUp):
                self.is_over = True
            elif isinstance(event, ContentWanted):
                self._send(event.exchange)

    def _send(self, exchange: Exchange) -> None:
        if self._decisions.random() < 0.05:
            events = self._dialogue.give_up(exchange, _LOST)
            self.is_over = self.is_over or events is None
            self.heard(events or [])
            return
        if self._decisions.random() < 0.3:
            self._dialogue.send(exchange, b"*" * 5 + b"\r\n", last=False)
        self._dialogue.send(exchange, b"*" * 5 + b"\r\n", last=True)


def _check_commands(octets: bytes) -> None:
    assert octets == b"" or octets.endswith(b"\r\n")
    for line in octets.split(b"\r\n"):
        assert line in (b"", b"*****", b".") or _COMMAND.fullmatch(line), line
