"""What postconf shows: parameters and services, one a line, in Postfix's layout."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gatewayd.config.check import known_by_reference
from gatewayd.config.main_cf import Assignment
from gatewayd.config.master_cf import Service
from gatewayd.config.master_entry import FIELDS, MasterEntry
from gatewayd.config.parameters import PARAMETERS, TRANSPORT_SUFFIXES
from gatewayd.config.settings import Settings

__all__ = [
    "CLASSES",
    "Names",
    "Style",
    "field_lines",
    "matching",
    "override_lines",
    "service_lines",
]

CLASSES = ("builtin", "service", "user", "all")
_WIDTH = 80
_INDENT = "    "
_BLANKS = re.compile(r"[ \t\r\n\f\v]+")


@dataclass(frozen=True, slots=True)
class Style:
    """``names``, ``values``: which sides of the = to show; ``folded``: lines of 80 at the most."""

    names: bool = True
    values: bool = True
    folded: bool = False
    expanded: bool = False

    def line(self, name: str, value: str) -> str:
        """``name = value``, with single blanks in the value."""
        if not self.values:
            return name
        words = [word for word in _BLANKS.split(value) if word]
        lines = [f"{name} =" if self.names else ""]
        for word in words:
            if self.folded and lines[-1].strip() and len(lines[-1]) + 1 + len(word) > _WIDTH:
                lines.append(_INDENT + word)
            else:
                lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
        return "\n".join(lines)

    def shown(self, settings: Settings, name: str) -> str:
        """A parameter's line, its value as written or expanded. Raises ConfigError."""
        value = settings.text(name) if self.expanded else settings.raw(name) or ""
        return self.line(name, value)


class Names:
    """Which names there are: Postfix's and ours, those by a transport, those that users made."""

    def __init__(self, settings: Settings, services: Sequence[Service]) -> None:
        self._builtin = frozenset(PARAMETERS)
        self._service = frozenset(_by_transport(services)) - self._builtin
        overrides = [
            Assignment(name, value, service.file, line)
            for service in services
            for name, value, line in service.overrides
        ]
        said = [*settings.assigned.values(), *overrides]
        referred = known_by_reference(said, settings)
        self._user = (referred & frozenset(settings.assigned)) - self._builtin - self._service

    def of(self, which: str) -> frozenset[str]:
        """Those of a class."""
        if which == "all":
            return self._builtin | self._service | self._user
        return {"builtin": self._builtin, "service": self._service, "user": self._user}[which]


def _by_transport(services: Sequence[Service]) -> Iterator[str]:
    for service in services:
        if service.is_transport:
            for suffix in TRANSPORT_SUFFIXES:
                if suffix != "time_limit" or service.command == "pipe":
                    yield f"{service.name}_{suffix}"


def matching(services: Iterable[Service], pattern: Sequence[str]) -> list[Service]:
    """Services by name and type, ``*`` for any; what isn't given is any."""
    wanted = [*pattern, "*", "*"][:2]
    return [
        service
        for service in services
        if all(
            want in ("*", have)
            for want, have in zip(wanted, (service.name, service.type), strict=True)
        )
    ]


def service_lines(service: Service, settings: Settings, style: Style) -> Iterator[str]:
    """A whole service, as in master.cf."""
    yield _entry(service, settings, style).lines(style.folded)


def field_lines(
    service: Service, settings: Settings, style: Style, only: str = "*"
) -> Iterator[str]:
    """``name/type/field = value``."""
    entry = _entry(service, settings, style)
    for name in FIELDS:
        if only not in ("*", name):
            continue
        path = f"{service.name}/{service.type}/{name}"
        if name == "command" and style.values:
            head = f"{path} = {entry.command}" if style.names else entry.command
            yield entry.after(head, style.folded)
        else:
            yield style.line(path, entry.field(name))


def override_lines(
    service: Service, settings: Settings, style: Style, only: str = "*"
) -> Iterator[str]:
    """``name/type/parameter = value`` for what -o sets, sorted."""
    own = settings.for_service(service)
    for name, value in sorted((name, value) for name, value, _ in service.overrides):
        if only in ("*", name) and own.assigned[name].value == value:
            shown = own.text(name) if style.expanded else value
            yield style.line(f"{service.name}/{service.type}/{name}", shown)


def _entry(service: Service, settings: Settings, style: Style) -> MasterEntry:
    entry = MasterEntry.parse(service.text)
    if not style.expanded:
        return entry
    own = settings.for_service(service)
    options = tuple((option, own.expand(value)) for option, value in entry.options)
    return MasterEntry(entry.columns, entry.command, options, entry.arguments)
