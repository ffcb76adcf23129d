"""master.cf: services, one a logical line: eight columns, the last with arguments.

    name type private unprivileged chroot wakeup maxproc command [argument …]

``-`` is a column's default. ``-o name=value`` and ``-o { name = value }`` among the arguments
override main.cf for that service; ``{ … }`` keeps an argument with blanks together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gatewayd.config.logical_lines import LogicalLine, logical_lines
from gatewayd.errors import ConfigProblem

__all__ = ["MasterCf", "Service", "parse"]

_TYPES = ("inet", "unix", "fifo", "pass", "unix-dgram")
_NUMBER = re.compile(r"[0-9]{1,9}\Z")
_OVERRIDE = re.compile(r"([^\s=]+)\s*=\s*(.*)\Z", re.S)
_WORD = re.compile(r"[^\s{]\S*")


@dataclass(frozen=True, slots=True)
class Service:
    """A service. ``wakeup`` is seconds, 0 for never; ``maxproc`` 0 means no limit.

    ``arguments`` are the command's own: without -o, -v and -D. ``overrides`` are (name, value,
    line), the last of a name wins.
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


@dataclass(frozen=True, slots=True)
class MasterCf:
    """A file's services in order, and what was wrong with its lines."""

    services: tuple[Service, ...]
    errors: tuple[ConfigProblem, ...] = ()
    warnings: tuple[ConfigProblem, ...] = ()


class _Bad(Exception):
    pass


def parse(text: str, file: str, default_process_limit: int = 100) -> MasterCf:
    """Read a whole master.cf."""
    services: dict[tuple[str, str], Service] = {}
    errors: list[ConfigProblem] = []
    warnings: list[ConfigProblem] = []
    for line in logical_lines(text):
        if line.orphan:
            problem = "the line starts with white space, but continues nothing"
            errors.append(ConfigProblem(file, line.number, problem))
            continue
        try:
            service = _service(line, file, default_process_limit)
        except _Bad as error:
            errors.append(ConfigProblem(file, line.number, str(error)))
            continue
        key = (service.name, service.type)
        if key in services:
            problem = f"service {key[0]}/{key[1]} overrides the one in line {services[key].line}"
            warnings.append(ConfigProblem(file, line.number, problem))
            del services[key]
        services[key] = service
    return MasterCf(tuple(services.values()), tuple(errors), tuple(warnings))


def _service(line: LogicalLine, file: str, default_process_limit: int) -> Service:
    words = _words(line.text)
    if len(words) < 8:
        raise _Bad(f"a service has eight columns, this line has {len(words)}")
    name, type_, private, unprivileged, chroot, wakeup, maxproc, command = words[:8]
    if type_ not in _TYPES:
        raise _Bad(f'type "{type_}": one of {", ".join(_TYPES)}')
    arguments, overrides = _arguments(words[8:], line.number)
    limit = _number(maxproc, "maxproc", default_process_limit)
    return Service(
        name=name,
        type=type_,
        command=command,
        private=_flag(private, "private", True),
        unprivileged=_flag(unprivileged, "unpriv", True),
        chroot=_flag(chroot, "chroot", False),
        wakeup=_number(wakeup.removesuffix("?"), "wakeup", 0),
        maxproc=limit,
        arguments=arguments,
        overrides=overrides,
        file=file,
        line=line.number,
        text=line.text,
    )


def _words(text: str) -> list[str]:
    """Columns and arguments: parted by white space; ``{…}`` counts only for the arguments."""
    head = text.split(None, 8)
    if len(head) < 9:
        return head
    return [*head[:8], *_grouped(head[8])]


def _grouped(text: str) -> list[str]:
    """White-space words, where a word that starts with ``{`` goes on to its closing brace."""
    words: list[str] = []
    rest = text.strip()
    while rest:
        match = _WORD.match(rest)
        end = match.end() if match else _group_end(rest)
        words.append(rest[:end])
        rest = rest[end:].lstrip()
    return words


def _group_end(text: str) -> int:
    depth = 0
    for place, char in enumerate(text):
        depth += {"{": 1, "}": -1}.get(char, 0)
        if not depth:
            return place + 1
    raise _Bad(f'no closing "}}" in "{text[:60]}"')


def _ungrouped(word: str) -> str:
    return word[1:-1].strip() if word.startswith("{") and word.endswith("}") else word


def _arguments(
    words: list[str], line: int
) -> tuple[tuple[str, ...], tuple[tuple[str, str, int], ...]]:
    arguments: list[str] = []
    overrides: list[tuple[str, str, int]] = []
    waiting = iter(words)
    for word in waiting:
        if arguments or not word.startswith("-"):
            arguments.append(_ungrouped(word))
        elif word.startswith("-o"):
            overrides.append(_override(word[2:] or next(waiting, ""), line))
        elif word not in ("-v", "-vv", "-D", "-V"):
            arguments.append(word)
    return tuple(arguments), tuple(overrides)


def _override(word: str, line: int) -> tuple[str, str, int]:
    match = _OVERRIDE.match(_ungrouped(word))
    grouped = word.startswith("{")
    if match is None or (not grouped and re.search(r"\s", match[1] + match[2])):
        raise _Bad(f'-o "{word}": name=value, or {{ name = value }}')
    return match[1], match[2].strip(), line


def _flag(word: str, column: str, default: bool) -> bool:
    if word not in ("y", "n", "-"):
        raise _Bad(f'column {column}: "{word}": y, n or -')
    return default if word == "-" else word == "y"


def _number(word: str, column: str, default: int) -> int:
    if word == "-":
        return default
    if not _NUMBER.match(word):
        raise _Bad(f'column {column}: "{word}": a number or -')
    return int(word)
