"""Checking a whole configuration: every value that is said, in main.cf and for each service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache

from gatewayd.config.expand import ExpandError, references
from gatewayd.config.main_cf import Assignment
from gatewayd.config.master_cf import Service
from gatewayd.config.parameters import PARAMETERS, TRANSPORT_SUFFIXES, Support
from gatewayd.config.settings import Settings, check_value, transport_suffix
from gatewayd.config.values import Kind, ValueProblem, parse_number, parse_seconds, split_words
from gatewayd.errors import ConfigError, ConfigProblem

__all__ = ["Check", "known_by_reference"]

_HINTS = 50


class Check:
    """What is wrong with settings and services: ``errors``, and ``warnings`` to be told only."""

    def __init__(self, settings: Settings, services: Sequence[Service]) -> None:
        self.errors: dict[ConfigProblem, None] = {}
        self.warnings: dict[ConfigProblem, None] = {}
        self._hints = _HINTS
        by_services = [
            Assignment(name, value, service.file, line)
            for service in services
            for name, value, line in service.overrides
        ]
        self._referred = known_by_reference([*settings.assigned.values(), *by_services], settings)
        self._look(settings, settings.assigned)
        for service in services:
            if service.overrides:
                self._look_at_service(settings.for_service(service), service)

    def _look_at_service(self, own: Settings, service: Service) -> None:
        """What -o says; and what main.cf says, as it may have become wrong by it."""
        self._look(own, {name: own.assigned[name] for name, _, _ in service.overrides})
        for name in own.assigned:
            self._check(own, name)

    def _look(self, settings: Settings, names: Mapping[str, Assignment]) -> None:
        for name, place in names.items():
            self._check(settings, name)
            if (problem := self._doubt(settings, name)) is not None:
                self.warnings[ConfigProblem(place.file, place.line, problem)] = None

    def _check(self, settings: Settings, name: str) -> None:
        row = PARAMETERS.get(name)
        try:
            if row is not None and row.support is Support.PLANNED:
                return  # whatever it says, it's ignored
            if row is not None:
                check_value(settings, row)
            elif (suffix := transport_suffix(name, settings.transports)) is not None:
                _check_transport_value(settings, name, suffix)
            else:
                settings.text(name)
        except ConfigError as error:
            self.errors.update(dict.fromkeys(error.problems))

    def _doubt(self, settings: Settings, name: str) -> str | None:
        row = PARAMETERS.get(name)
        suffix = transport_suffix(name, settings.transports)
        if row is None and suffix is not None:
            row = PARAMETERS[TRANSPORT_SUFFIXES[suffix]]
        if row is None:
            return None if name in self._referred else self._unknown(name)
        if row.support is Support.PLANNED:
            return f"{name} is not supported yet, ignored"
        return None

    def _unknown(self, name: str) -> str:
        self._hints -= 1  # looking for what was meant takes its time
        return f"unknown parameter: {name}{_hint(name) if self._hints >= 0 else ''}"


def known_by_reference(assignments: Iterable[Assignment], settings: Settings) -> frozenset[str]:
    """Names that somebody may define since a value or a default speaks of them."""
    names = set(_of_defaults())
    for assignment in assignments:
        try:
            names |= references(assignment.value)
        except ExpandError:
            continue  # named as an error where it's expanded
    with suppress(ConfigError):
        names.update(settings.words("smtpd_restriction_classes"))
    return frozenset(names)


@cache
def _of_defaults() -> frozenset[str]:
    names: set[str] = set()
    for row in PARAMETERS.values():
        if row.kind is not Kind.RAW and row.default and "$" in row.default:
            names |= references(row.default)
    return frozenset(names)


def _check_transport_value(settings: Settings, name: str, suffix: str) -> None:
    text = settings.text(name)
    try:
        if suffix.endswith(("_delay", "time_limit")):
            parse_seconds(text)
        elif suffix.endswith("_feedback"):
            if not split_words(text):
                raise ValueProblem("a number, or number / concurrency expected")
        else:
            parse_number(text, 0)
    except ValueProblem as problem:
        raise settings.error(name, str(problem)) from None


def _hint(name: str) -> str:
    """What may have been meant."""
    import difflib

    for suffix in sorted(TRANSPORT_SUFFIXES, key=len, reverse=True):
        if name.endswith(f"_{suffix}"):
            return f" (master.cf has no transport {name.removesuffix(f'_{suffix}')})"

    near = difflib.get_close_matches(name[:100], PARAMETERS, 1, 0.75)
    return f" (did you mean {near[0]}?)" if near else ""
