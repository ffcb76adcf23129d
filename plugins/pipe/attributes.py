"""The attributes of a pipe service, from its arguments in master.cf (postfix.md §3).

flags=… user=name[:group] directory=… chroot=… eol=… null_sender=… size=… argv=command …
"""

from __future__ import annotations

import grp
import pwd
import re
from dataclasses import dataclass, field

from gatewayd.config.master_cf import Service
from gatewayd.errors import ConfigError, ConfigProblem

__all__ = ["Attributes", "parse_attributes"]

_FLAGS = frozenset("BDFORXhqu.>")
_ESCAPES = {"n": b"\n", "r": b"\r", "t": b"\t", "b": b"\b", "f": b"\f", "v": b"\v", "a": b"\a"}
_ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|(.))", re.S)
_NUMBER = re.compile(r"[0-9]{1,18}\Z")


@dataclass(frozen=True, slots=True)
class Attributes:
    """A command and how it gets its mail. ``user`` is (uid, gid); ``size`` 0 means no limit."""

    argv: tuple[str, ...]
    user: tuple[int, int]
    user_name: str = ""
    flags: frozenset[str] = field(default_factory=frozenset)
    directory: str = ""
    chroot: str = ""
    eol: bytes = b"\n"
    null_sender: str = "MAILER-DAEMON"
    size: int = 0


class _Bad(Exception):
    pass


def parse_attributes(service: Service, owner: str, groups: tuple[str, ...]) -> Attributes:
    """The attributes, checked. ``owner`` and ``groups`` are the gateway's own: not for commands.

    Raises ConfigError naming the line.
    """
    try:
        return _parse(service.arguments, owner, groups)
    except _Bad as error:
        text = f"service {service.name}: {error}"
        raise ConfigError([ConfigProblem(service.file, service.line, text)]) from None


def _parse(arguments: tuple[str, ...], owner: str, groups: tuple[str, ...]) -> Attributes:
    values: dict[str, str] = {}
    argv: tuple[str, ...] = ()
    for place, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if not equals:
            raise _Bad(f'"{argument}": expected attribute=value; argv= must come last')
        if name == "argv":
            argv = ((value,) if value else ()) + arguments[place + 1 :]
            break
        if name not in ("flags", "user", "directory", "chroot", "eol", "null_sender", "size"):
            raise _Bad(f'unknown attribute "{name}"')
        values[name] = value
    if not argv:
        raise _Bad("missing argv= attribute")
    if "user" not in values:
        raise _Bad("missing user= attribute")
    flags = frozenset(values.get("flags", ""))
    if unknown := sorted(flags - _FLAGS):
        raise _Bad(f'unknown flag "{unknown[0]}"')
    size = values.get("size", "0") or "0"
    if not _NUMBER.match(size):
        raise _Bad(f'size="{size}": a number of octets')
    return Attributes(
        argv=argv,
        user=_user(values["user"], owner, groups),
        user_name=values["user"],
        flags=flags,
        directory=values.get("directory", ""),
        chroot=values.get("chroot", ""),
        eol=_unescaped(values["eol"]) if "eol" in values else b"\n",
        null_sender=values.get("null_sender", "MAILER-DAEMON"),
        size=int(size),
    )


def _user(text: str, owner: str, groups: tuple[str, ...]) -> tuple[int, int]:
    name, colon, group = text.partition(":")
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise _Bad(f"unknown user name: {name}") from None
    try:
        gid = grp.getgrnam(group).gr_gid if colon else entry.pw_gid
    except KeyError:
        raise _Bad(f"unknown group name: {group}") from None
    if entry.pw_uid == 0:
        raise _Bad("user= attribute specifies root privileges")
    if gid == 0:
        raise _Bad("user= attribute specifies the root group")
    if name == owner:
        raise _Bad(f"user= attribute specifies the mail system owner {owner}")
    if gid in _group_ids(groups):
        raise _Bad("user= attribute specifies a group of the mail system")
    return entry.pw_uid, gid


def _group_ids(names: tuple[str, ...]) -> set[int]:
    found = set()
    for name in names:
        try:
            found.add(grp.getgrnam(name).gr_gid)
        except KeyError:
            continue
    return found


def _unescaped(text: str) -> bytes:
    r"""C escapes: \r\n, \033."""
    out = b""
    at = 0
    for match in _ESCAPE.finditer(text):
        out += text[at : match.start()].encode()
        octal, letter = match.groups()
        out += bytes([int(octal, 8) & 255]) if octal else _ESCAPES.get(letter, letter.encode())
        at = match.end()
    return out + text[at:].encode()
