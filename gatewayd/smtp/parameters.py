"""The ESMTP parameters of MAIL and RCPT: SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531),
RET, ENVID, NOTIFY and ORCPT (RFC 3461 §4).

Values that travel on (ENVID, ORCPT) are kept as received, once it's sure that what they decode to
is printable: nothing in them can break a header or a command later.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gatewayd.message import Notify
from gatewayd.smtp import reply_texts
from gatewayd.smtp.grammar import CommandError

__all__ = [
    "NO_MAIL_PARAMETERS",
    "MailParameters",
    "RcptParameters",
    "parse_mail_parameters",
    "parse_rcpt_parameters",
]

_DIGITS = re.compile(r"[0-9]+\Z")
_LARGEST_SIZE = 2**63 - 1
# xtext (RFC 3461 §4) whose hexchars stand for printable ASCII, blank included.
_PRINTABLE_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+(?:[2-6][0-9A-Fa-f]|7[0-9A-Ea-e]))*\Z")
# RFC 3461 §4.2 and, for utf-8, RFC 6533 §3 (whose \x{…} is printable anyway).
_ORCPT = re.compile(r"[A-Za-z0-9-]+;(.*)\Z")
_UTF8_ORCPT = re.compile(r"(?:[!-~]|[^\x00-\x9f])*\Z")
_NOTIFY = {"SUCCESS": Notify.SUCCESS, "FAILURE": Notify.FAILURE, "DELAY": Notify.DELAY}


@dataclass(frozen=True, slots=True)
class MailParameters:
    """What MAIL said beside the sender; ``size`` in octets, 0 if it wasn't given."""

    size: int = 0
    body: str = ""
    smtputf8: bool = False
    ret: str = ""
    envid: str = ""


@dataclass(frozen=True, slots=True)
class RcptParameters:
    """What RCPT said beside the recipient; ``orcpt`` is ``type;xtext`` or ""."""

    notify: Notify = Notify.DEFAULT
    orcpt: str = ""


NO_MAIL_PARAMETERS = MailParameters()
NO_RCPT_PARAMETERS = RcptParameters()


def parse_mail_parameters(text: str, *, dsn: bool = True, smtputf8: bool = True) -> MailParameters:
    """The parameters after MAIL's path; ``dsn`` and ``smtputf8`` say what is on offer.

    Raises CommandError.
    """
    if not text:
        return NO_MAIL_PARAMETERS
    size, body, utf8, ret, envid = 0, "", False, "", ""
    for word in _words(text):
        name, equals, value = word.partition("=")
        keyword = (name.upper() if name.isascii() else name) + equals
        if keyword == "SIZE=":
            size = _size(value)
        elif keyword == "BODY=" and value.upper() in ("7BIT", "8BITMIME"):
            body = value.upper()
        elif keyword == "SMTPUTF8" and smtputf8:
            utf8 = True
        elif keyword == "RET=":
            ret = _ret(value, ret, dsn)
        elif keyword == "ENVID=":
            envid = _envid(value, envid, dsn)
        else:
            raise CommandError(reply_texts.UNSUPPORTED_OPTION.format(option=word))
    return MailParameters(size, body, utf8, ret, envid)


def parse_rcpt_parameters(text: str, *, dsn: bool = True) -> RcptParameters:
    """The parameters after RCPT's path. Raises CommandError."""
    if not text:
        return NO_RCPT_PARAMETERS
    notify: Notify | None = None
    orcpt = ""
    for word in _words(text):
        name, equals, value = word.partition("=")
        keyword = (name.upper() if name.isascii() else name) + equals
        if keyword == "NOTIFY=":
            notify = _notify(value, notify, dsn)
        elif keyword == "ORCPT=":
            orcpt = _orcpt(value, orcpt, dsn)
        else:
            raise CommandError(reply_texts.UNSUPPORTED_OPTION.format(option=word))
    return RcptParameters(Notify.DEFAULT if notify is None else notify, orcpt)


def _words(text: str) -> list[str]:
    """The words between blanks and tabs; str.split() would split at more than those."""
    return [word for word in text.replace("\t", " ").split(" ") if word]


def _size(value: str) -> int:
    if not _DIGITS.match(value):
        raise CommandError(reply_texts.BAD_SIZE)
    if len(value.lstrip("0")) > 19 or int(value) > _LARGEST_SIZE:
        raise CommandError(reply_texts.HUGE_SIZE)
    return int(value)


def _ret(value: str, before: str, dsn: bool) -> str:
    if not dsn:
        raise CommandError(reply_texts.DSN_DISABLED)
    if before or not value.isascii() or value.upper() not in ("FULL", "HDRS"):
        raise CommandError(reply_texts.BAD_RET)
    return value.upper()


def _envid(value: str, before: str, dsn: bool) -> str:
    if not dsn:
        raise CommandError(reply_texts.DSN_DISABLED)
    if before or not value or not _PRINTABLE_XTEXT.match(value):
        raise CommandError(reply_texts.BAD_ENVID)
    return value


def _notify(value: str, before: Notify | None, dsn: bool) -> Notify:
    if not dsn:
        raise CommandError(reply_texts.DSN_DISABLED)
    if before is not None or not value.isascii():
        raise CommandError(reply_texts.BAD_NOTIFY)
    if value.upper() == "NEVER":
        return Notify.NEVER
    events = Notify.DEFAULT
    for word in value.upper().split(","):
        if word not in _NOTIFY:
            raise CommandError(reply_texts.BAD_NOTIFY)
        events |= _NOTIFY[word]
    return events


def _orcpt(value: str, before: str, dsn: bool) -> str:
    if not dsn:
        raise CommandError(reply_texts.DSN_DISABLED)
    found = _ORCPT.match(value)
    if before or found is None:
        raise CommandError(reply_texts.BAD_ORCPT)
    form = _UTF8_ORCPT if value[:6].upper() == "UTF-8;" else _PRINTABLE_XTEXT
    if not form.match(found[1]):
        raise CommandError(reply_texts.BAD_ORCPT)
    return value
