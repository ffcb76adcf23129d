"""Settings: parameters by name, expanded and typed.

A component reads what it needs once, when it's made, into a value of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from gatewayd.config.expand import ExpandError, expand
from gatewayd.config.main_cf import Assignment
from gatewayd.config.master_cf import Service
from gatewayd.config.parameters import PARAMETERS, TRANSPORT_SUFFIXES, Parameter
from gatewayd.config.values import (
    Kind,
    ValueProblem,
    parse_flag,
    parse_number,
    parse_seconds,
    split_words,
)
from gatewayd.errors import ConfigError, ConfigProblem

__all__ = ["Settings", "check_value"]

T = TypeVar("T")

_TRANSPORT_DEFAULTS = {
    "local_destination_concurrency_limit": "2",
    "local_destination_recipient_limit": "1",
    "virtual_destination_recipient_limit": "1",
    "relay_destination_concurrency_limit": "$default_destination_concurrency_limit",
}
"""Names of the form TRANSPORT_suffix that have a default of their own."""


class Settings:
    """What main.cf says, with a service's overrides, over the defaults.

    ``computed`` holds the defaults that come from the machine, by name. Accessors raise
    ConfigError naming file and line if a value isn't of its kind.
    """

    def __init__(
        self,
        assignments: Mapping[str, Assignment],
        computed: Mapping[str, Callable[[Settings], str]],
    ) -> None:
        self._assignments = dict(assignments)
        self._computed = computed
        self._expanded: dict[str, str] = {}

    def is_set(self, name: str) -> bool:
        """Whether main.cf or an override says anything."""
        return name in self._assignments

    def assignment(self, name: str) -> Assignment | None:
        """Where and how it's said, or None."""
        return self._assignments.get(name)

    @property
    def assigned(self) -> Mapping[str, Assignment]:
        """All that is said, by name."""
        return self._assignments

    def raw(self, name: str) -> str | None:
        """The unexpanded value, or the default; None for a name that nobody knows."""
        if (assignment := self._assignments.get(name)) is not None:
            return assignment.value
        return self.default(name)

    def default(self, name: str) -> str | None:
        """The unexpanded built-in value; None for a name that nobody knows."""
        if (computed := self._computed.get(name)) is not None:
            return computed(self)
        if (row := PARAMETERS.get(name)) is not None:
            return row.default or ""
        if name in _TRANSPORT_DEFAULTS:
            return _TRANSPORT_DEFAULTS[name]
        return None

    def text(self, name: str) -> str:
        """The expanded value; "" for a name that nobody knows."""
        if name not in self._expanded:
            self._expanded[name] = self.expand(self.raw(name) or "", name)
        return self._expanded[name]

    def expand(self, value: str, name: str = "") -> str:
        """``value`` with ``$`` forms replaced. Raises ConfigError at ``name``'s line."""
        try:
            return expand(value, self.raw)
        except ExpandError as error:
            raise self.error(name, str(error)) from None

    def flag(self, name: str) -> bool:
        """A yes/no parameter."""
        return self._parsed(name, parse_flag)

    def number(self, name: str) -> int:
        """A number within its parameter's bounds."""
        row = PARAMETERS[name]
        return self._parsed(name, lambda value: parse_number(value, row.minimum, row.maximum))

    def seconds(self, name: str) -> float:
        """A time."""
        unit = PARAMETERS[name].unit if name in PARAMETERS else "s"
        return self._parsed(name, lambda value: parse_seconds(value, unit))

    def words(self, name: str) -> tuple[str, ...]:
        """A list's members; ``{…}`` groups stay whole, braces included."""
        return self._parsed(name, split_words)

    def transport_text(self, transport: str, suffix: str) -> str:
        """``TRANSPORT_suffix``, or what it falls back to."""
        return self.text(self._transport_name(transport, suffix))

    def transport_number(self, transport: str, suffix: str) -> int:
        """The same as a number."""
        return self._parsed(self._transport_name(transport, suffix), lambda v: parse_number(v, 0))

    def transport_seconds(self, transport: str, suffix: str) -> float:
        """The same as a time."""
        return self._parsed(self._transport_name(transport, suffix), parse_seconds)

    def _transport_name(self, transport: str, suffix: str) -> str:
        name = f"{transport}_{suffix}"
        if name in self._assignments or name in _TRANSPORT_DEFAULTS:
            return name
        return TRANSPORT_SUFFIXES[suffix]

    def for_service(self, service: Service) -> Settings:
        """These settings as a service sees them: with its -o overrides."""
        if not service.overrides:
            return self
        overridden = dict(self._assignments)
        for name, value, line in service.overrides:
            overridden[name] = Assignment(name, value, service.file, line)
        return Settings(overridden, self._computed)

    def error(self, name: str, text: str) -> ConfigError:
        """What to raise about a setting: it names the place."""
        place = self._assignments.get(name)
        where = (place.file, place.line) if place else ("main.cf", 0)
        return ConfigError([ConfigProblem(*where, f"{name}: {text}" if name else text)])

    def _parsed(self, name: str, parse: Callable[[str], T]) -> T:
        try:
            return parse(self.text(name))
        except ValueProblem as problem:
            raise self.error(name, str(problem)) from None


def check_value(settings: Settings, row: Parameter, name: str) -> None:
    """Whether ``name``'s value is of its row's kind. Raises ConfigError."""
    if row.kind is Kind.FLAG:
        settings.flag(name)
    elif row.kind is Kind.NUMBER:
        settings.number(name)
    elif row.kind is Kind.SECONDS:
        settings.seconds(name)
    elif row.kind is Kind.WORDS:
        settings.words(name)
    elif settings.text(name) not in row.choices and row.kind is Kind.CHOICE:
        raise settings.error(name, f'"{settings.text(name)}": one of {", ".join(row.choices)}')
