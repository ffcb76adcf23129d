"""master.cf: services, one a logical line: eight columns, the last with arguments.

    name type private unprivileged chroot wakeup maxproc command [argument …]

``-`` is a column's default. ``-o name=value`` and ``-o { name = value }`` among the arguments
override main.cf for that service; ``{ … }`` keeps an argument with blanks together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gatewayd.config.logical_lines import BLANKS, LogicalLine, logical_lines
from gatewayd.config.main_cf import split_assignment
from gatewayd.errors import ConfigProblem

__all__ = [
    "INTERNAL",
    "TYPES",
    "MasterCf",
    "Service",
    "is_option",
    "parse",
    "split_line",
    "ungrouped",
]

INTERNAL = frozenset(
    (
        *("anvil", "bounce", "cleanup", "dnsblog", "flush", "nbdb_reindexd", "nqmgr", "oqmgr"),
        *("pickup", "postlogd", "postscreen", "proxymap", "qmgr", "qmqpd", "scache", "showq"),
        *("smtpd", "spawn", "tlsmgr", "tlsproxy", "trivial-rewrite", "verify"),
    )
)
"""Commands of Postfix that no mail is routed to: all others are transports."""

TYPES = ("inet", "unix", "fifo", "pass", "unix-dgram")
_COLUMNS = 8
_NUMBER = re.compile(r"[0-9]{1,9}\Z")
_BLANKS = re.compile(r"[ \t\r\f\v]+")
_WORD_PART = re.compile(r"[^ \t\r\f\v{}]+|[{}]")
_SWITCHES = re.compile(r"-[vD]+\Z")


@dataclass(frozen=True, slots=True)
class Service:
    """A service. ``wakeup`` is seconds, 0 for never; ``maxproc`` 0 means no limit.

    ``arguments`` are the command's own: without -o, -v and -D. ``overrides`` are (name, value,
    line), the last of a name wins. ``text`` is the logical line as written.
    """

    name: str
    type: str
    command: str
    private: bool = True
    unprivileged: bool = True
    chroot: bool = False
    wakeup: int = 0
    maxproc: int = 100
    arguments: tuple[str, ...] = ()
    overrides: tuple[tuple[str, str, int], ...] = ()
    file: str = "master.cf"
    line: int = 0
    text: str = ""

    @property
    def is_transport(self) -> bool:
        """Whether mail can be routed to it."""
        return self.type == "unix" and self.command not in INTERNAL


@dataclass(frozen=True, slots=True)
class MasterCf:
    """A file's services in order, and what was wrong with its lines."""

    services: tuple[Service, ...]
    errors: tuple[ConfigProblem, ...] = ()
    warnings: tuple[ConfigProblem, ...] = ()


class _Bad(Exception):
    def __init__(self, text: str, offset: int = 0) -> None:
        super().__init__(text)
        self.offset = offset


def parse(text: str, file: str, default_process_limit: int = 100) -> MasterCf:
    """Read a whole master.cf. Octets that are no UTF-8 are expected as surrogate escapes."""
    services: dict[tuple[str, str], Service] = {}
    errors: list[ConfigProblem] = []
    warnings: list[ConfigProblem] = []
    for line in logical_lines(text):
        try:
            service = _service(line, file, default_process_limit)
        except _Bad as error:
            errors.append(ConfigProblem(file, line.number_at(error.offset), str(error)))
            continue
        key = (service.name, service.type)
        if key in services:
            problem = f"service {key[0]}/{key[1]} overrides the one in line {services[key].line}"
            warnings.append(ConfigProblem(file, line.number, problem))
            del services[key]
        services[key] = service
    return MasterCf(tuple(services.values()), tuple(errors), tuple(warnings))


def split_line(text: str) -> list[str]:
    """Columns and arguments of a logical line, braces kept. Raises ValueError."""
    try:
        return [word for word, _ in _words(text)]
    except _Bad as error:
        raise ValueError(str(error)) from None


def ungrouped(word: str) -> str:
    """What ``{ … }`` holds, trimmed; any other word as it is."""
    if not word.startswith("{") or _group_end(word) != len(word):
        return word
    return word[1:-1].strip(BLANKS)


def is_option(word: str) -> bool:
    """Whether an argument before all others is for Postfix's or our own ways: -o, -v, -D."""
    return word.startswith("-o") or _SWITCHES.match(word) is not None


def _service(line: LogicalLine, file: str, default_process_limit: int) -> Service:
    if line.orphan:
        raise _Bad("the line starts with white space, but continues nothing")
    if line.garbled:
        raise _Bad("the line is not UTF-8")
    words = list(_words(line.text))
    if len(words) < _COLUMNS:
        raise _Bad(f"a service has eight columns, this line has {len(words)}")
    columns = [word for word, _ in words[:_COLUMNS]]
    name, type_, private, unprivileged, chroot, wakeup, maxproc, command = columns
    if type_ not in TYPES:
        raise _Bad(f'type "{type_}": one of {", ".join(TYPES)} expected')
    arguments, overrides = _arguments(words[_COLUMNS:], line)
    return Service(
        name=name,
        type=type_,
        command=command,
        private=_flag(private, "private", type_ != "inet"),
        unprivileged=_flag(unprivileged, "unpriv", True),
        chroot=_flag(chroot, "chroot", False),
        wakeup=_number(wakeup.removesuffix("?"), "wakeup", 0),
        maxproc=_number(maxproc, "maxproc", default_process_limit),
        arguments=arguments,
        overrides=overrides,
        file=file,
        line=line.number,
        text=line.text,
    )


def _words(text: str) -> Iterator[tuple[str, int]]:
    """Words and their places: parted by white space that is outside of braces."""
    at, size = 0, len(text)
    while True:
        if blanks := _BLANKS.match(text, at):
            at = blanks.end()
        if at >= size:
            return
        end = _word_end(text, at)
        yield text[at:end], at
        at = end


def _word_end(text: str, start: int) -> int:
    at, depth = start, 0
    while at < len(text):
        part = _WORD_PART.match(text, at)
        if part is None:
            if not depth:
                return at
            blanks = _BLANKS.match(text, at)
            assert blanks is not None
            at = blanks.end()
            continue
        if part[0] == "{":
            depth += 1
        elif part[0] == "}" and depth:
            depth -= 1
        at = part.end()
    if depth:
        raise _Bad(f'no closing "}}" in "{text[start : start + 60]}"', start)
    return at


def _group_end(word: str) -> int:
    """Where the group that a word starts with ends."""
    depth = 0
    for match in re.finditer("[{}]", word):
        depth += 1 if match[0] == "{" else -1
        if not depth:
            return match.end()
    return 0


def _arguments(
    words: list[tuple[str, int]], line: LogicalLine
) -> tuple[tuple[str, ...], tuple[tuple[str, str, int], ...]]:
    """Options end at the first word that is none, as getopt(3) has it."""
    arguments: list[str] = []
    overrides: list[tuple[str, str, int]] = []
    waiting = iter(words)
    for word, place in waiting:
        if arguments or not is_option(word):
            arguments.append(ungrouped(word))
        elif word.startswith("-o"):
            value = word[2:] or next(waiting, ("", 0))[0]
            parts = split_assignment(ungrouped(value))
            if parts is None:
                raise _Bad(f'-o "{value}": name=value, or {{ name = value }} expected', place)
            overrides.append((*parts, line.number_at(place)))
    return tuple(arguments), tuple(overrides)


def _flag(word: str, column: str, default: bool) -> bool:
    if word not in ("y", "n", "-"):
        raise _Bad(f'column {column}: "{word}": y, n or - expected')
    return default if word == "-" else word == "y"


def _number(word: str, column: str, default: int) -> int:
    if word == "-":
        return default
    if not _NUMBER.match(word):
        raise _Bad(f'column {column}: "{word}": a number or - expected')
    return int(word)
