"""What goes wrong with a server, and what that means for mail: the whole policy (postfix.md §7).

Hard (5xx to HELO, MAIL, RCPT, DATA or the end of data): the recipient's mail is returned. Soft
(all else): the next server is tried while there is one, then the mail waits. A greeting of 5xx is
soft unless configured otherwise: it says that this host takes no mail, not that nobody does.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from gatewayd.smtp.replies import ServerReply
from gatewayd.status import Action, Diagnostic, Outcome

__all__ = ["Peer", "Stage", "connection_trouble", "refusal"]


class Stage(Enum):
    """Where in the dialogue; the value is how texts name the command."""

    GREETING = "initial server greeting"
    EHLO = "EHLO"
    HELO = "HELO"
    LHLO = "LHLO"
    MAIL = "MAIL FROM"
    RCPT = "RCPT TO"
    DATA = "DATA"
    CONTENT = "message body"
    BDAT = "BDAT"
    END = "end of DATA"
    IDLE = "idle"

    @property
    def waiting_text(self) -> str:
        """What we were doing, for time-outs and lost connections."""
        if self is Stage.GREETING:
            return "receiving the initial server greeting"
        if self is Stage.CONTENT:
            return "sending message body"
        if self in (Stage.END, Stage.BDAT):
            return "sending end of data -- message may be sent more than once"
        if self in (Stage.EHLO, Stage.HELO, Stage.LHLO):
            return f"performing the {self.value} handshake"
        return f"sending {self.value}"


@dataclass(frozen=True, slots=True)
class Peer:
    """A server as texts name it."""

    name: str
    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.name}[{self.address}]"

    @property
    def relay(self) -> str:
        """The log's relay= value."""
        return f"{self}:{self.port}" if self.port else f"{self.name}[{self.address}]"


def refusal(peer: Peer, stage: Stage, reply: ServerReply, *, soft_bounce: bool = False) -> Outcome:
    """The outcome of a negative reply."""
    command = {Stage.END: "end of DATA command", Stage.GREETING: "initial server greeting"}.get(
        stage, f"{stage.value} command"
    )
    text = f"host {peer} said: {reply.text} (in reply to {command})"
    verb = "refused to talk to me" if stage in (Stage.GREETING,) else ""
    if verb:
        text = f"host {peer} {verb}: {reply.text}"
    permanent = reply.is_permanent and not soft_bounce
    status = reply.status
    if reply.is_positive or (soft_bounce and status.startswith("5")):
        status = f"4{status[1:]}" if not reply.is_positive else "4.5.0"
    return Outcome(
        action=Action.FAILED if permanent else Action.DEFERRED,
        status=status,
        text=text,
        relay=peer.relay,
        remote_mta=peer.name,
        diagnostic=Diagnostic("smtp", reply.text),
    )


def connection_trouble(peer: Peer, stage: Stage, *, timed_out: bool) -> Outcome:
    """The outcome of a connection that went silent or away."""
    if timed_out:
        text = f"conversation with {peer} timed out while {stage.waiting_text}"
    else:
        text = f"lost connection with {peer} while {stage.waiting_text}"
    return Outcome(Action.DEFERRED, "4.4.2", text, relay=peer.relay, remote_mta=peer.name)
