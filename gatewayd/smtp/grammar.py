"""SMTP commands as text: verb and argument, paths, and the small arguments of single commands.

Lax where Postfix is lax (no angle brackets, blanks inside them, source routes), strict where
laxness would let two readers see different addresses: an unquoted blank, comma, ``@`` or comment
in a local part is an error and is never guessed at (RFC 5321 §4.1.2; security: one parser decides).
"""

from __future__ import annotations

import re

from gatewayd.address import NULL, Address
from gatewayd.smtp import reply_texts

__all__ = [
    "AddressRefused",
    "CommandError",
    "chunk_size",
    "etrn_site",
    "forward_path",
    "reverse_path",
    "split_command",
    "verify_address",
]

_LABEL = r"[A-Za-z0-9_\x80-\U0010ffff](?:[A-Za-z0-9_\x80-\U0010ffff-]*[A-Za-z0-9_\x80-\U0010ffff])?"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*\.?"
_LITERAL = r"\[[A-Za-z0-9.:-]+\]"
# No alternative below can match the same text in two ways, so that a match takes linear time.
# Atoms with stray dots, as Postfix takes them; quote_local() quotes what RFC 5321 wants quoted.
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.\x80-\U0010ffff-]"
_QUOTED = r'"(?:[^"\\\x00-\x1f\x7f]|\\[^\x00-\x1f\x7f])*"'
_LOCAL = rf"(?:{_ATOM}|{_QUOTED})+"
_ROUTE = rf"(?:@(?:{_DOMAIN}|{_LITERAL})[ \t]*(?:,[ \t]*)?)+:[ \t]*"
_MAILBOX = rf"(?P<local>{_LOCAL})(?:[ \t]*@[ \t]*(?P<domain>{_DOMAIN}|{_LITERAL}))?"

_MAILBOX_ALONE = re.compile(rf"(?:{_ROUTE})?{_MAILBOX}\Z")
# The path of nearly every client; group 3 is what follows it.
_COMMON = re.compile(
    r"<([A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+)"
    r"@([A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)>(?:\Z| (.+)\Z)"
)
_ODD_LABEL = re.compile(r"\.[.-]|-\.|.{256}")
_BRACKETED = re.compile(rf'<((?:[^<>"\\\x00-\x1f\x7f]|{_QUOTED}|\\.)*)>(?=[ \t]|\Z)')
_BARE = re.compile(rf'((?:[^ \t<>"\\\x00-\x1f\x7f]|{_QUOTED})+)(?=[ \t]|\Z)')
_QUOTED_WORD = re.compile(_QUOTED)
_QUOTED_PAIR = re.compile(r"\\(.)")
_SITE = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|{_LITERAL})\Z")
_CHUNK = re.compile(r"([0-9]{1,18})(?:[ \t]+(LAST))?\Z", re.IGNORECASE | re.ASCII)

_LONGEST_DOMAIN = 255


class CommandError(Exception):
    """A command that is wrong in itself; ``reply`` is the answer, without line end."""

    def __init__(self, reply: str) -> None:
        super().__init__(reply)
        self.reply = reply


class AddressRefused(CommandError):
    """The path of MAIL, RCPT or VRFY is no address; ``argument`` goes to the log."""

    def __init__(self, reply: str, argument: str) -> None:
        super().__init__(reply)
        self.argument = argument


def split_command(line: str) -> tuple[str, str]:
    """(verb in upper case, argument without blanks around it) of a command line.

    The verb is "" for an empty line. Only ASCII letters change case.
    """
    verb, _, argument = line.strip(" \t").partition(" ")
    if "\t" in verb:
        verb, _, rest = verb.partition("\t")
        argument = f"{rest} {argument}"
    return (verb.upper() if verb.isascii() else verb), argument.strip(" \t")


def reverse_path(argument: str, *, strict: bool = False) -> tuple[Address, str]:
    """(sender, parameter text) of MAIL's argument ``FROM:<…> …`` (RFC 5321 §4.1.1.2).

    ``strict`` wants angle brackets. Raises CommandError.
    """
    if argument[:5].upper() != "FROM:" or len(argument) == 5:
        raise CommandError(reply_texts.MAIL_SYNTAX)
    return _path(argument[5:], reply_texts.BAD_SENDER, null_allowed=True, strict=strict)


def forward_path(argument: str, *, strict: bool = False) -> tuple[Address, str]:
    """(recipient, parameter text) of RCPT's argument ``TO:<…> …`` (RFC 5321 §4.1.1.3).

    A recipient without domain (``postmaster``) has domain "". Raises CommandError.
    """
    if argument[:3].upper() != "TO:" or len(argument) == 3:
        raise CommandError(reply_texts.RCPT_SYNTAX)
    return _path(argument[3:], reply_texts.BAD_RECIPIENT, null_allowed=False, strict=strict)


def verify_address(argument: str) -> tuple[Address, str]:
    """(address, parameter text) of VRFY's argument, with or without brackets (RFC 5321 §3.5)."""
    if not argument:
        raise CommandError(reply_texts.VRFY_SYNTAX)
    return _path(argument, reply_texts.BAD_RECIPIENT, null_allowed=False, strict=False)


def _path(text: str, bad: str, *, null_allowed: bool, strict: bool) -> tuple[Address, str]:
    common = _COMMON.match(text)
    if common is not None and not _ODD_LABEL.search(common[2]):
        return Address(common[1], common[2]), common[3] or ""
    text = text.strip(" \t")
    found = _BRACKETED.match(text)
    if found is None and not strict:
        found = _BARE.match(text)
    if found is None:
        raise AddressRefused(bad, text)
    inner = found[1].strip(" \t")
    if inner:
        return _mailbox(inner, bad, text), text[found.end() :]
    if not null_allowed:
        raise AddressRefused(bad, text)
    return NULL, text[found.end() :]


def _mailbox(inner: str, bad: str, text: str) -> Address:
    """The address of a path, its source route ignored (RFC 5321 §3.6.1)."""
    found = _MAILBOX_ALONE.match(inner)
    if found is None:
        raise AddressRefused(bad, text)
    local, domain = found["local"], found["domain"] or ""
    if len(domain) > _LONGEST_DOMAIN:
        raise AddressRefused(bad, text)
    if '"' in local:
        local = _QUOTED_WORD.sub(lambda word: _QUOTED_PAIR.sub(r"\1", word[0][1:-1]), local)
    if not local:
        raise AddressRefused(bad, text)
    return Address(local, domain)


def etrn_site(argument: str) -> str:
    """The domain that ETRN asks for (RFC 1985 §5.3); one leading ``@`` or ``#`` is dropped.

    Raises CommandError; no reply to ETRN has an enhanced status code.
    """
    if not argument or " " in argument or "\t" in argument:
        raise CommandError(reply_texts.ETRN_SYNTAX)
    site = argument[1:] if argument[0] in "@#" else argument
    if len(site) > _LONGEST_DOMAIN or not _SITE.match(site):
        raise CommandError(reply_texts.ETRN_PARAMETER)
    return site


def chunk_size(argument: str) -> tuple[int, bool]:
    """(octets, whether it is the last) of BDAT's argument (RFC 3030 §2). Raises CommandError.

    Nothing can be read after a wrong one, since what follows is content: the session must end.
    """
    found = _CHUNK.match(argument)
    if found is None:
        raise CommandError(reply_texts.BDAT_SYNTAX)
    return int(found[1]), found[2] is not None
