"""Settings: parameters by name, expanded and typed.

A component reads what it needs once, when it's made, into a value of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, TypeVar

from gatewayd.config.expand import ExpandError, expand
from gatewayd.config.main_cf import Assignment
from gatewayd.config.parameters import PARAMETERS, TRANSPORT_SUFFIXES, Parameter
from gatewayd.config.parameters.parameter import number, seconds
from gatewayd.config.values import (
    Kind,
    ValueProblem,
    check_networks,
    check_path,
    parse_flag,
    parse_number,
    parse_seconds,
    split_words,
)
from gatewayd.errors import ConfigError, ConfigProblem

if TYPE_CHECKING:
    from gatewayd.config.master_cf import Service

__all__ = ["Settings", "check_value", "transport_suffix"]

T = TypeVar("T")


class Settings:
    """What main.cf says, with a service's overrides, over the defaults.

    ``computed`` holds the defaults that come from the machine, by name; ``transports`` the names
    that may stand before a suffix (``ondemand_destination_rate_delay``). Accessors raise
    ConfigError naming file and line if a value isn't of its kind.
    """

    def __init__(
        self,
        assignments: Mapping[str, Assignment],
        computed: Mapping[str, Callable[[Settings], str]],
        transports: Iterable[str] = (),
    ) -> None:
        self._assignments = dict(assignments)
        self._computed = computed
        self.transports = frozenset(transports)
        self._expanded: dict[str, str] = {}
        self._computing: set[str] = set()

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
            return self._compute(name, computed)
        if (row := PARAMETERS.get(name)) is not None:
            return row.default or ""
        if (suffix := transport_suffix(name, self.transports)) is not None:
            return f"${TRANSPORT_SUFFIXES[suffix]}"
        return None

    def _compute(self, name: str, computed: Callable[[Settings], str]) -> str:
        if name in self._computing:
            raise self.error(name, "its value goes in a circle")
        self._computing.add(name)
        try:
            return computed(self)
        finally:
            self._computing.discard(name)

    def text(self, name: str) -> str:
        """The expanded value; "" for a name that nobody knows."""
        if name not in self._expanded:
            raw = self.raw(name) or ""
            row = PARAMETERS.get(name)
            keep = row is not None and row.kind is Kind.RAW
            self._expanded[name] = raw if keep else self.expand(raw, name)
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
        row = PARAMETERS.get(name) or number(name, "", "")
        return self._parsed(name, lambda value: parse_number(value, row.minimum, row.maximum))

    def seconds(self, name: str) -> float:
        """A time."""
        row = PARAMETERS.get(name) or seconds(name, "", "")
        return self._parsed(name, lambda value: parse_seconds(value, row.unit, row.minimum))

    def words(self, name: str) -> tuple[str, ...]:
        """A list's members; ``{…}`` groups stay whole, braces included."""
        return self._parsed(name, split_words)

    def transport_text(self, transport: str, suffix: str) -> str:
        """``TRANSPORT_suffix``, or what it falls back to."""
        return self.text(self._transport_name(transport, suffix))

    def transport_number(self, transport: str, suffix: str) -> int:
        """The same as a number, 0 or more."""
        return self._parsed(self._transport_name(transport, suffix), lambda v: parse_number(v, 0))

    def transport_seconds(self, transport: str, suffix: str) -> float:
        """The same as a time."""
        return self._parsed(self._transport_name(transport, suffix), parse_seconds)

    def _transport_name(self, transport: str, suffix: str) -> str:
        name = f"{transport}_{suffix}"
        return name if self.raw(name) is not None else TRANSPORT_SUFFIXES[suffix]

    def for_service(self, service: Service) -> Settings:
        """These settings as a service sees them: with its -o overrides."""
        overridden = dict(self._assignments)
        for name, value, line in service.overrides:
            overridden[name] = Assignment(name, value, service.file, line)
        computed = {**self._computed, "service_name": lambda _: service.name}
        return Settings(overridden, computed, self.transports)

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


def transport_suffix(name: str, transports: Iterable[str]) -> str | None:
    """The ``destination_rate_delay`` of ``ondemand_destination_rate_delay``, or None."""
    for transport in transports:
        if name.startswith(f"{transport}_"):
            suffix = name[len(transport) + 1 :]
            if suffix in TRANSPORT_SUFFIXES:
                return suffix
    return None


def check_value(settings: Settings, row: Parameter) -> None:
    """Whether a parameter's value is of its row's kind. Raises ConfigError."""
    name = row.name
    text = settings.text(name)
    try:
        if row.kind is Kind.FLAG:
            parse_flag(text)
        elif row.kind is Kind.NUMBER:
            parse_number(text, row.minimum, row.maximum)
        elif row.kind is Kind.SECONDS:
            parse_seconds(text, row.unit, row.minimum)
        elif row.kind is Kind.WORDS:
            split_words(text)
        elif row.kind is Kind.NETWORKS:
            check_networks(split_words(text))
        elif row.kind is Kind.CHOICE and text not in row.choices:
            accepted = ", ".join(filter(None, row.choices))
            raise ValueProblem(f'"{text}": one of {accepted} expected')
        elif row.minimum and not text:
            raise ValueProblem("a value expected, not nothing")
        elif row.kind is Kind.PATH:
            check_path(text)
    except ValueProblem as problem:
        raise settings.error(name, str(problem)) from None
