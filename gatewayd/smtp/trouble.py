"""What goes wrong with a server, and what that means for mail: the whole policy (postfix.md §7).

    hard: returned at once               5xx to EHLO/HELO, MAIL, RCPT, DATA, BDAT, end of data;
                                         a server that is ourselves; mail it cannot ever take
    soft: the next server is tried       no connection, silence, a lost connection, 4xx anywhere,
    while there is one, then it waits    no SMTP at all; a greeting of 5xx unless configured
                                         otherwise: this host takes no mail, another may

Only what a server said has it as its Remote-MTA (RFC 3464 §2.3.5); the rest are our own findings.
soft_bounce makes all of it soft. A refusal of one RCPT is about that recipient, one of MAIL, DATA
or the content about all that are left of the message, one before about whatever was to be sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from gatewayd.smtp.replies import ServerReply
from gatewayd.status import Action, Diagnostic, Outcome

__all__ = [
    "Peer",
    "Stage",
    "connect_trouble",
    "connection_trouble",
    "mail_loop",
    "protocol_trouble",
    "refusal",
    "unreadable",
    "unsuitable",
]


class Stage(Enum):
    """Where in the dialogue; the value is how texts name the command."""

    GREETING = "initial server greeting"
    EHLO = "EHLO command"
    HELO = "HELO command"
    LHLO = "LHLO command"
    MAIL = "MAIL FROM command"
    RCPT = "RCPT TO command"
    DATA = "DATA command"
    CONTENT = "message body"
    BDAT = "BDAT command"
    END = "end of DATA command"
    RSET = "RSET command"
    IDLE = "nothing"

    @property
    def is_opening(self) -> bool:
        return self in _OPENING


_OPENING = (Stage.GREETING, Stage.EHLO, Stage.HELO, Stage.LHLO)

_END = "sending end of data -- message may be sent more than once"
_WHILE = {
    Stage.GREETING: "receiving the initial server greeting",
    Stage.EHLO: "performing the EHLO handshake",
    Stage.HELO: "performing the HELO handshake",
    Stage.LHLO: "performing the LHLO handshake",
    Stage.MAIL: "sending MAIL FROM",
    Stage.RCPT: "sending RCPT TO",
    Stage.DATA: "sending DATA command",
    Stage.CONTENT: "sending message body",
    Stage.BDAT: _END,
    Stage.END: _END,
    Stage.RSET: "sending RSET",
    Stage.IDLE: "waiting for mail",
}


@dataclass(frozen=True, slots=True)
class Peer:
    """A server as texts name it. ``best_mx``: no host is preferred to it."""

    name: str
    address: str
    port: int
    best_mx: bool = True

    def __str__(self) -> str:
        return f"{self.name}[{self.address}]"

    @property
    def relay(self) -> str:
        """The log's relay= value; a Unix socket has no port."""
        return f"{self.name}[{self.address}]:{self.port}" if self.port else str(self)


def refusal(peer: Peer, stage: Stage, reply: ServerReply, *, soft: bool = False) -> Outcome:
    """The outcome of a reply that isn't what the stage asks for. ``soft``: 5xx doesn't count."""
    text = reply.text
    if stage.is_opening:
        reason = f"host {peer} refused to talk to me: {text}"
    else:
        reason = f"host {peer} said: {text} (in reply to {stage.value})"
    if reply.is_permanent and not soft:
        action, status = Action.FAILED, reply.status
    elif reply.code >= 400:
        action, status = Action.DEFERRED, f"4{reply.status[1:]}"
    else:
        # 2xx or 3xx where it makes no sense is not to be passed on as success.
        action, status = Action.DEFERRED, "4.5.0"
    return Outcome(action, status, reason, peer.relay, peer.name, Diagnostic("smtp", text))


def connect_trouble(peer: Peer, reason: str) -> Outcome:
    """The outcome of a connection that didn't come about."""
    return Outcome(Action.DEFERRED, "4.4.1", f"connect to {peer.relay}: {reason}")


def connection_trouble(peer: Peer, stage: Stage, *, timed_out: bool) -> Outcome:
    """The outcome of a connection that went silent or away."""
    if timed_out:
        text = f"conversation with {peer} timed out while {_WHILE[stage]}"
    else:
        text = f"lost connection with {peer} while {_WHILE[stage]}"
    return Outcome(Action.DEFERRED, "4.4.2", text, peer.relay)


def protocol_trouble(peer: Peer, reason: str) -> Outcome:
    """The outcome of something that is no SMTP."""
    text = f"protocol error from host {peer}: {reason}"
    return Outcome(Action.DEFERRED, "4.5.0", text, peer.relay)


def mail_loop(peer: Peer, nexthop: str, *, soft: bool = False) -> Outcome:
    """The outcome of a server with our own name."""
    text = f"mail for {nexthop} loops back to myself"
    if peer.best_mx and not soft:
        return Outcome(Action.FAILED, "5.4.6", text, peer.relay)
    return Outcome(Action.DEFERRED, "4.4.6", text, peer.relay)


def unsuitable(peer: Peer, status: str, text: str, *, soft: bool = False) -> Outcome:
    """The outcome of mail that the server says, by its EHLO reply, it cannot take."""
    if soft:
        return Outcome(Action.DEFERRED, f"4{status[1:]}", text, peer.relay)
    return Outcome(Action.FAILED, status, text, peer.relay)


def unreadable(peer: Peer) -> Outcome:
    """The outcome of a content that our own queue can't give."""
    return Outcome(Action.DEFERRED, "4.3.0", "queue file read error", peer.relay)
