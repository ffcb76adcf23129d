"""The commands an SMTP server session knows, each a function of the session and its argument.

A command ends in exactly one of Session.succeed(), fail(), fail_syntax(), refuse(), or asks first
and ends when the answer has come. DATA and BDAT are in gatewayd.smtp.transfer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gatewayd.message import Origin, Recipient
from gatewayd.smtp import reply_texts, transfer
from gatewayd.smtp.grammar import (
    AddressRefused,
    CommandError,
    etrn_site,
    forward_path,
    reverse_path,
    verify_address,
)
from gatewayd.smtp.parameters import (
    MailParameters,
    RcptParameters,
    parse_mail_parameters,
    parse_rcpt_parameters,
)
from gatewayd.smtp.phases import Chunking
from gatewayd.smtp.ports import Transaction
from gatewayd.smtp.session_events import AskEtrn, AskGreeted, AskRecipient, AskSender, AskVerify
from gatewayd.status import Reply

if TYPE_CHECKING:
    from gatewayd.smtp.session import Session
    from gatewayd.smtp.smtpd_settings import SmtpdSettings

__all__ = ["COMMANDS", "NAMES", "UNKNOWN", "Command", "is_forbidden"]

# What could be read as something else in a Received header becomes "?".
_DOUBTFUL_IN_NAMES = dict.fromkeys((*range(33), *b'<>()\\";@', 127), "?")
_HEADER_LIKE = re.compile(r"[!-9;-~]+:")
_SIZE_OVER_LIMIT = Reply(552, "5.3.4", "Message size exceeds fixed limit")


@dataclass(frozen=True, slots=True)
class Command:
    """A command: what runs it, and its place in the counts.

    ``last``: nothing may be pipelined after it (RFC 2920 §3.1). ``junk``: it moves no mail, so
    that only so many of them are free.
    """

    name: str
    index: int
    run: Callable[[Session, str], None]
    last: bool = False
    junk: bool = False
    is_quit: bool = False


def is_forbidden(verb: str, line: str, settings: SmtpdSettings) -> bool:
    """Whether a line that isn't SMTP shows a client that isn't, either: HTTP, a header, binary."""
    return (
        verb in settings.forbidden_commands
        or _HEADER_LIKE.match(line) is not None
        or any(pattern.search(verb) for pattern in settings.forbidden_patterns)
    )


def _helo(session: Session, argument: str) -> None:
    _greet(session, argument, "SMTP", reply_texts.HELO_SYNTAX)


def _ehlo(session: Session, argument: str) -> None:
    _greet(session, argument, "ESMTP", reply_texts.EHLO_SYNTAX)


def _greet(session: Session, name: str, protocol: str, syntax: str) -> None:
    if not name:
        session.fail(syntax)
        return
    before = session.peer
    peer = Origin(
        protocol,
        name.translate(_DOUBTFUL_IN_NAMES),
        before.client_name,
        before.client_address,
        before.client_port,
    )
    session.ask(AskGreeted(peer), _greeting_judged)


def _greeting_judged(
    session: Session, event: AskGreeted, context: None, refusal: Reply | None
) -> None:
    if refusal is not None:
        session.refuse(refusal)
        return
    session.forget_transaction()
    session.peer = event.peer
    host = session.settings.myhostname
    if event.peer.protocol == "SMTP":
        session.succeed(f"250 {host}")
        return
    lines = [host, *session.settings.ehlo_keywords]
    session.succeed("\r\n".join([f"250-{line}" for line in lines[:-1]] + [f"250 {lines[-1]}"]))


def _mail(session: Session, argument: str) -> None:
    settings = session.settings
    if settings.helo_required and not session.peer.helo:
        session.fail(reply_texts.HELO_FIRST)
        return
    if session.transaction is not None:
        session.fail(reply_texts.NESTED_MAIL)
        return
    if session.chunking is not Chunking.NONE:
        session.fail(reply_texts.MAIL_AFTER_BDAT)
        return
    try:
        sender, rest = reverse_path(argument, strict=settings.strict_envelopes)
        parameters = parse_mail_parameters(
            rest, dsn=settings.offers("DSN"), smtputf8=settings.offers("SMTPUTF8")
        )
        if settings.strict_smtputf8 and not parameters.smtputf8 and not sender.is_ascii:
            raise AddressRefused(reply_texts.BAD_SENDER, argument)
    except CommandError as error:
        session.fail_syntax(error)
        return
    if settings.message_size_limit and parameters.size > settings.message_size_limit:
        session.refuse(_SIZE_OVER_LIMIT, sender=sender)
        return
    transaction = Transaction(sender, parameters.size)
    session.ask(AskSender(session.peer, transaction), _sender_judged, parameters)


def _sender_judged(
    session: Session, event: AskSender, parameters: MailParameters, refusal: Reply | None
) -> None:
    if refusal is not None:
        session.refuse(refusal, sender=event.transaction.sender)
        return
    session.transaction = event.transaction
    session.parameters = parameters
    session.succeed(reply_texts.SENDER_OK)


def _rcpt(session: Session, argument: str) -> None:
    settings, transaction = session.settings, session.transaction
    if session.chunking is not Chunking.NONE:
        session.fail(reply_texts.RCPT_AFTER_BDAT)
        return
    if transaction is None:
        session.fail(reply_texts.NEED_MAIL)
        return
    try:
        address, rest = forward_path(argument, strict=settings.strict_envelopes)
        parameters = parse_rcpt_parameters(rest, dsn=settings.offers("DSN"))
        if settings.strict_smtputf8 and not session.parameters.smtputf8 and not address.is_ascii:
            raise AddressRefused(reply_texts.BAD_RECIPIENT, argument)
    except CommandError as error:
        session.fail_syntax(error)
        return
    if len(transaction.recipients) >= settings.recipient_limit:
        session.overshoot += 1
        session.say(reply_texts.TOO_MANY_RECIPIENTS)
        session.finish(session.overshoot <= settings.recipient_overshoot_limit)
        return
    question = AskRecipient(session.peer, transaction, address)
    session.ask(question, _recipient_judged, parameters)


def _recipient_judged(
    session: Session, event: AskRecipient, parameters: RcptParameters, answer: Reply | Recipient
) -> None:
    if isinstance(answer, Reply):
        session.refuse(answer, recipient=event.address)
        return
    before = event.transaction
    recipient = Recipient(
        answer.address, answer.route, str(event.address), parameters.notify, parameters.orcpt
    )
    session.transaction = Transaction(before.sender, before.size, (*before.recipients, recipient))
    session.succeed(reply_texts.RECIPIENT_OK)


def _rset(session: Session, argument: str) -> None:
    if argument:
        session.fail(reply_texts.RSET_SYNTAX)
        return
    session.forget_transaction()
    session.succeed(reply_texts.OK)


def _noop(session: Session, argument: str) -> None:
    session.succeed(reply_texts.OK)


def _help(session: Session, argument: str) -> None:
    names = " ".join(name for name, command in COMMANDS.items() if command.run is not _starttls)
    session.succeed(f"214 2.0.0 Commands: {names}")


def _vrfy(session: Session, argument: str) -> None:
    if session.settings.disable_vrfy:
        session.fail(reply_texts.VRFY_DISABLED)
        return
    try:
        address, rest = verify_address(argument)
        if rest.strip(" \t").upper() not in ("", "SMTPUTF8"):
            raise AddressRefused(reply_texts.BAD_RECIPIENT, argument)
    except CommandError as error:
        session.fail_syntax(error)
        return
    session.ask(AskVerify(session.peer, address), _verified)


def _verified(session: Session, event: AskVerify, context: None, answer: Reply) -> None:
    if answer.is_positive:
        session.say_reply(answer)
        session.finish(True)
    else:
        session.refuse(answer, recipient=event.address)


def _etrn(session: Session, argument: str) -> None:
    if session.settings.helo_required and not session.peer.helo:
        session.fail(reply_texts.ETRN_HELO_FIRST)
        return
    if session.transaction is not None:
        session.fail(reply_texts.ETRN_IN_TRANSACTION)
        return
    try:
        site = etrn_site(argument)
    except CommandError as error:
        session.fail(error.reply)
        return
    session.ask(AskEtrn(session.peer, site), _etrn_answered)


def _etrn_answered(session: Session, event: AskEtrn, context: None, answer: Reply) -> None:
    if not answer.is_positive and answer.status:
        session.refuse(answer)
        return
    session.say_reply(answer)
    session.finish(answer.is_positive)


def _quit(session: Session, argument: str) -> None:
    session.succeed(reply_texts.BYE)
    session.close()


def _starttls(session: Session, argument: str) -> None:
    session.fail(reply_texts.NOT_IMPLEMENTED)


def _auth(session: Session, argument: str) -> None:
    session.fail(reply_texts.NO_AUTH)


def _unknown(session: Session, argument: str) -> None:
    session.fail(reply_texts.UNKNOWN_COMMAND)


# (verb, function, last, junk), in the order of the log's counts.
_TABLE: tuple[tuple[str, Callable[[Session, str], None], bool, bool], ...] = (
    ("HELO", _helo, True, True),
    ("EHLO", _ehlo, True, True),
    ("STARTTLS", _starttls, False, False),
    ("AUTH", _auth, False, False),
    ("MAIL", _mail, False, False),
    ("RCPT", _rcpt, False, False),
    ("DATA", transfer.data, True, False),
    ("BDAT", transfer.bdat, False, False),
    ("RSET", _rset, False, True),
    ("NOOP", _noop, True, True),
    ("VRFY", _vrfy, True, True),
    ("ETRN", _etrn, False, True),
    ("HELP", _help, True, True),
    ("QUIT", _quit, False, False),
)
COMMANDS = {
    verb: Command(verb.lower(), index, run, last, junk, run is _quit)
    for index, (verb, run, last, junk) in enumerate(_TABLE)
}
UNKNOWN = Command("unknown", len(COMMANDS), _unknown)
NAMES = (*(command.name for command in COMMANDS.values()), UNKNOWN.name)
