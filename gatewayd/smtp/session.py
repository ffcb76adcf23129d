"""An SMTP server session as a machine without I/O (RFC 5321).

Octets come in by receive(); next_event() gives what is to be asked and done, output() what is to
be sent. The wire dialogue, with what the machine asks (in brackets) before it replies:

    S: 220 banner                                [AskConnected]
    C: EHLO client                               [AskGreeted]
    S: 250-host … 250 CHUNKING
    C: MAIL FROM:<a@b> SIZE=…                    [AskSender]
    S: 250 2.1.0 Ok
    C: RCPT TO:<c@d>                             [AskRecipient]
    S: 250 2.1.5 Ok
    C: DATA                                      [AskData, Begin]
    S: 354 …
    C: content CRLF.CRLF                         [Content…, AskEndOfData, Commit]
    S: 250 2.0.0 Ok: queued as ID
      (or, RFC 3030, one or more of
       C: BDAT size [LAST] CRLF octets           [AskData, Begin at the first; Content…])
    C: QUIT
    S: 221 2.0.0 Bye

Any number of commands may arrive at once (RFC 2920): they are worked off in order, and their
replies leave together. While an answer is awaited nothing is read from the buffer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from gatewayd.address import Address
from gatewayd.message import Origin
from gatewayd.smtp import commands, reply_texts, session_log, transfer
from gatewayd.smtp.commands import Command
from gatewayd.smtp.content import BareLf
from gatewayd.smtp.grammar import AddressRefused, CommandError, split_command
from gatewayd.smtp.parameters import NO_MAIL_PARAMETERS, MailParameters
from gatewayd.smtp.phases import Chunking, Phase
from gatewayd.smtp.ports import Transaction
from gatewayd.smtp.receiving import Receiving
from gatewayd.smtp.session_events import Abort, AskConnected, Close, Event, Logged, Sleep
from gatewayd.smtp.smtpd_settings import SmtpdSettings
from gatewayd.smtp.transfer import Chunk
from gatewayd.status import Reply

__all__ = ["Session"]

Continuation = Callable[["Session", Any, Any, Any], None]


class _Late:
    """A reply held back by the Sleep before it."""

    __slots__ = ("octets",)

    def __init__(self, octets: bytes) -> None:
        self.octets = octets


class Session:
    """One client's connection. ``peer`` says who it is, as far as known; times are the edge's."""

    def __init__(self, settings: SmtpdSettings, peer: Origin) -> None:
        self.settings = settings
        self.peer = peer
        self.client = session_log.client_label(peer, with_port=settings.client_port_logging)
        self.phase = Phase.GREETING
        self.where = "CONNECT"
        self.transaction: Transaction | None = None
        self.parameters: MailParameters = NO_MAIL_PARAMETERS
        self.receiving: Receiving | None = None
        self.chunking = Chunking.NONE
        self.chunk: Chunk | None = None
        self.overshoot = 0
        self._buffer = b""
        self._at = 0
        self._out: list[bytes] = []
        self._events: deque[Event | _Late] = deque()
        self._asleep = False
        self._awaited: tuple[Continuation, Any, Any] | None = None
        self._denied = False
        self._going_down = False
        self._pipelined_badly = False
        self._errors = 0
        self._junk = 0
        self._command: Command = commands.UNKNOWN
        self._tried = [0] * len(commands.NAMES)
        self._done = [0] * len(commands.NAMES)

    # What the edge calls

    def start(self, refusal: Reply | None = None) -> None:
        """The client is connected. With ``refusal`` it gets that reply and no session."""
        if refusal is not None:
            self.say_reply(refusal)
            self.close()
            return
        self.ask(AskConnected(self.peer), _connection_judged)

    def receive(self, octets: bytes) -> None:
        """Octets from the client; they are looked at by next_event()."""
        if self._at:
            self._buffer = self._buffer[self._at :] + octets
            self._at = 0
        else:
            self._buffer = self._buffer + octets if self._buffer else octets

    def next_event(self) -> Event | None:
        """What is to be done next; None: give me input, an answer, or the end of a Sleep."""
        events = self._events
        while not self._asleep:
            if events:
                event = events.popleft()
                if type(event) is _Late:
                    self._out.append(event.octets)
                    continue
                self._asleep = type(event) is Sleep
                return event  # type: ignore[return-value]
            if self._awaited is not None or not _STEPS[self.phase](self):
                return None
        return None

    def output(self) -> bytes:
        """What is to be sent now."""
        out = self._out
        if not out:
            return b""
        octets = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return octets

    def answer(self, value: object) -> None:
        """The answer to the question that next_event() gave last."""
        assert self._awaited is not None, "an answer that nobody asked for"
        then, event, context = self._awaited
        self._awaited = None
        then(self, event, context, value)

    def resume(self) -> None:
        """The Sleep is over."""
        self._asleep = False

    def refuse_content(self, reply: Reply) -> None:
        """The content can't be taken: the message fails once all of it has come."""
        if self.receiving is not None:
            self.receiving.fail(reply)

    def time_out(self) -> None:
        """The client has been silent for too long."""
        self.stop(reply_texts.TIMEOUT, "timeout")

    def shut_down(self) -> None:
        """The service ends: say so now, or after the transaction that is going on."""
        self._going_down = True
        if self.transaction is None and self.phase is Phase.COMMANDS and self._awaited is None:
            self._say_shutting_down()

    def lost(self) -> str:
        """The connection is gone; gives the line to log, or "" if it was over anyway."""
        if self.phase is Phase.CLOSED:
            return ""
        line = self.ending("lost connection")
        self.phase = Phase.CLOSED
        return line

    def summary(self) -> str:
        """The log's last line about the session."""
        counted = session_log.counts(commands.NAMES, self._tried, self._done)
        return f"disconnect from {self.client} {counted}"

    @property
    def queue_id(self) -> str:
        """Of the message that is coming in, or ""."""
        return self.receiving.queue_id if self.receiving else ""

    @property
    def is_waiting_for_client(self) -> bool:
        """Whether the client's silence is what holds things up."""
        return self._awaited is None and not self._asleep and self.phase is not Phase.CLOSED

    # What the commands use

    def ask(self, event: Event, then: Continuation, context: object = None) -> None:
        """Post a question; ``then(session, event, context, answer)`` goes on with the answer."""
        self._awaited = (then, event, context)
        self._events.append(event)

    def post(self, event: Event) -> None:
        """Something to be done, in its turn."""
        self._events.append(event)

    def log(self, text: str, *, warning: bool = False) -> None:
        self._events.append(Logged(text, self.queue_id, warning))

    def say(self, line: str) -> None:
        """Send one reply line; after too many errors, not at once."""
        self._send(f"{line}\r\n".encode())

    def say_reply(self, reply: Reply) -> None:
        """Send a reply that was decided elsewhere, and end the session if it says so."""
        self._send(reply_texts.encode_reply(reply))
        if reply.close or reply.code in (421, 521):
            self.close()

    def succeed(self, line: str) -> None:
        """The command is done, well."""
        self.say(line)
        self.finish(True)

    def fail(self, line: str) -> None:
        """The command is done, in error."""
        self.say(line)
        self.finish(False)

    def fail_syntax(self, error: CommandError) -> None:
        """The command is wrong in itself."""
        if isinstance(error, AddressRefused):
            verb = self._command.name.upper()
            text = f"Illegal address syntax from {self.client} in {verb} command: {error.argument}"
            self.log(text, warning=True)
        self.fail(reply_texts.printable(error.reply))

    def refuse(
        self, reply: Reply, *, sender: Address | None = None, recipient: Address | None = None
    ) -> None:
        """The command is done: refused for reasons that the log is to show."""
        self.log_refusal(reply, sender=sender, recipient=recipient)
        self.say_reply(reply)
        self.finish(False)

    def log_refusal(
        self, reply: Reply, *, sender: Address | None = None, recipient: Address | None = None
    ) -> None:
        """The log's line about a refusal; the sender is the transaction's if there is one."""
        if self.transaction is not None:
            sender = self.transaction.sender
        self.log(
            session_log.rejection(
                self.where,
                self.client,
                reply,
                self.peer,
                queue_id=self.queue_id,
                sender=sender,
                recipient=recipient,
            )
        )

    def finish(self, well: bool) -> None:
        """Count the command; its reply has been said."""
        command = self._command
        if well:
            self._done[command.index] += 1
        else:
            self._errors += 1
        if command.junk:
            self._junk += 1
            if self._junk > self.settings.junk_command_limit + 1:
                self._errors += 1
        if self._going_down and self.transaction is None and self.phase is not Phase.CLOSED:
            self._say_shutting_down()

    def forget_transaction(self) -> None:
        """RSET and all that implies it (RFC 5321 §4.1.1.5)."""
        self.forget_content()
        self.end_transaction()

    def forget_content(self) -> None:
        """Have the edge drop the message that is coming in, if it hasn't yet."""
        if self.receiving is not None and self.receiving.failure is None:
            self._events.append(Abort())
        self.receiving = None

    def end_transaction(self) -> None:
        """The transaction's fate is sealed."""
        self.transaction = None
        self.parameters = NO_MAIL_PARAMETERS
        self.receiving = None
        self.chunking = Chunking.NONE
        self.chunk = None
        self.overshoot = 0

    def take_input(self, most: int | None = None) -> bytes:
        """What is in the buffer, at most so many octets."""
        at, size = self._at, len(self._buffer)
        if most is not None and size - at > most:
            self._at = at + most
            return self._buffer[at : self._at]
        octets = self._buffer[at:] if at else self._buffer
        self._buffer = b""
        self._at = 0
        return octets

    def put_back(self, octets: bytes) -> None:
        """Input that take_input() gave and that is still to be read."""
        self._buffer = octets

    def close(self) -> None:
        """No more commands; what was said is sent, then the connection ends."""
        if self.phase is not Phase.CLOSED:
            self.phase = Phase.CLOSED
            self._buffer = b""
            self._at = 0
            self.forget_content()
            self._events.append(Close())

    def stop(self, line: str, reason: str) -> None:
        """End the session for a reason that the log is to show."""
        self.log(self.ending(reason))
        self.say(line.format(host=self.settings.myhostname))
        self.close()

    def ending(self, reason: str) -> str:
        """The log line about an end without QUIT."""
        receives = self.phase in (Phase.DATA, Phase.CHUNK) and self.receiving is not None
        size = self.receiving.size if receives and self.receiving else None
        return session_log.ending(reason, self.where, self.client, size)

    # What it does by itself

    def _send(self, octets: bytes) -> None:
        if self._errors >= self.settings.soft_error_limit and self.settings.error_sleep_time > 0:
            self._events.append(Sleep(self.settings.error_sleep_time))
            self._events.append(_Late(octets))
        elif self._events:
            self._events.append(_Late(octets))
        else:
            self._out.append(octets)

    def _say_shutting_down(self) -> None:
        self.say(reply_texts.SHUTTING_DOWN.format(host=self.settings.myhostname))
        self.close()

    def _wait(self) -> bool:
        return False

    def _read_command(self) -> bool:
        """Run the next command line, if there is a whole one."""
        if self._errors >= self.settings.hard_error_limit:
            self.stop(reply_texts.TOO_MANY_ERRORS, "too many errors")
            return True
        buffer, at = self._buffer, self._at
        end = buffer.find(b"\n", at)
        limit = self.settings.line_length_limit
        if end < 0:
            if len(buffer) - at > limit + 1:
                # What is too long is cut; the last octet may be the CR of the line end.
                self._buffer = buffer[at : at + limit] + buffer[-1:]
                self._at = 0
            return False
        self._at = end + 1
        line = buffer[at:end]
        if line.endswith(b"\r"):
            line = line.rstrip(b"\r")
        elif not self._bare_lf_allowed():
            return True
        self._run(line[:limit])
        return True

    def _bare_lf_allowed(self) -> bool:
        settings = self.settings
        if settings.note_bare_lf:
            self.log(f"bare <LF> received after {self.where} from {self.client}")
        if settings.bare_lf is not BareLf.REJECT:
            return True
        self.log_refusal(settings.bare_lf_refusal)
        self.say_reply(settings.bare_lf_refusal)
        self.close()
        return False

    def _run(self, octets: bytes) -> None:
        self._command = commands.UNKNOWN
        try:
            line = octets.decode()
        except UnicodeDecodeError:
            self._errors += 1
            self.say(reply_texts.BAD_UTF8)
            return
        verb, argument = split_command(line)
        if not verb or "\0" in line:
            self.say(reply_texts.BAD_SYNTAX)
            self._errors += 1
            return
        if verb in self.settings.noop_commands:
            self.say(reply_texts.OK)
            self._junk += 1
            self._errors += self._junk > self.settings.junk_command_limit + 1
            return
        command = commands.COMMANDS.get(verb, commands.UNKNOWN)
        self._command = command
        self._tried[command.index] += 1
        if self._may_run(command, verb, line):
            command.run(self, argument)

    def _may_run(self, command: Command, verb: str, line: str) -> bool:
        """Whether a command is to be run; if not, the reply has been said."""
        if command is commands.UNKNOWN:
            self.where = "UNKNOWN"
            if commands.is_forbidden(verb, line, self.settings):
                self.log(f"non-SMTP command from {self.client}: {line[:100]}", warning=True)
                self.say(reply_texts.RULES_BROKEN)
                self.close()
                return False
        if self._denied and not command.is_quit:
            self.fail(reply_texts.ACCESS_DENIED.format(client=self.client))
            return False
        if command is commands.UNKNOWN:
            return True
        self.where = command.name.upper()
        return (
            self._at == len(self._buffer)
            or (not command.last and self.peer.protocol == "ESMTP")
            or self._may_pipeline()
        )

    def _may_pipeline(self) -> bool:
        """Judge a client that sent more before it could have seen a reply (RFC 2920 §3.1)."""
        if self._pipelined_badly:
            return True
        self._pipelined_badly = True
        waiting = self._buffer[self._at : self._at + 200]
        self.log(session_log.improper_pipelining(self.where, self.client, waiting))
        if not self.settings.forbid_unauth_pipelining:
            return True
        self.say(reply_texts.NOT_SYNCHRONIZED)
        self.close()
        return False


def _connection_judged(
    session: Session, event: AskConnected, context: None, refusal: Reply | None
) -> None:
    """The banner (RFC 5321 §3.1), or the refusal in its place."""
    session.phase = Phase.COMMANDS
    if refusal is None:
        session.say(f"220 {session.settings.banner or session.settings.myhostname}")
        return
    session._denied = True
    session.log_refusal(refusal)
    session.say_reply(refusal)
    session._errors += 1


_STEPS: dict[Phase, Callable[[Session], bool]] = {
    Phase.GREETING: Session._wait,
    Phase.COMMANDS: Session._read_command,
    Phase.STARTING_TLS: Session._wait,
    Phase.AUTHENTICATING: Session._wait,
    Phase.DATA: transfer.read_data,
    Phase.CHUNK: transfer.read_chunk,
    Phase.ENDING: transfer.conclude,
    Phase.CLOSED: Session._wait,
}
