"""postconf: show and change the configuration, with Postfix's options and layout.

postconf [-p] [-dfhHnx] [-C CLASS] [-c DIR] [-o name=value]… [name…]       parameters
postconf -M | -F | -P [-fx] [-c DIR] [name[/type[/field or parameter]]…]   master.cf
postconf [-M | -F | -P] -e | -# | -X [-c DIR] …                            change a file
postconf -m                                                                table types

It reads broken configurations, too: what is wrong with them is said on standard error.
"""

from __future__ import annotations

import getopt
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from gatewayd.config import edit
from gatewayd.config.check import Check
from gatewayd.config.listing import (
    CLASSES,
    Names,
    Style,
    field_lines,
    matching,
    override_lines,
    service_lines,
)
from gatewayd.config.load import Files, make_settings, read_files, read_services, services_of
from gatewayd.config.main_cf import split_assignment
from gatewayd.config.master_cf import Service
from gatewayd.config.master_entry import FIELDS, EntryError, MasterEntry
from gatewayd.config.settings import Settings
from gatewayd.errors import ConfigError

__all__ = ["main"]

_USAGE = (
    "usage: postconf [-c config_dir] [-C param_class] [-d (defaults)] [-e (edit)] [-f (fold lines)]"
    " [-F (master.cf fields)] [-h (no names)] [-H (no values)] [-m (table types)] [-M (master.cf)]"
    " [-n (non-default parameters)] [-o name=value (override parameter value)] [-p (main.cf,"
    " default)] [-P (master.cf parameters)] [-v (verbose)] [-x (expand values)] [-X (exclude)]"
    " [-# (comment-out)] [name...]"
)
_MODES = "FMPmp"
_EDITS = "e#X"
_SHOWING = "dfhHnx"
_MASTER_STYLES = {"M": "fx", "F": "fhHx", "P": "fhHx"}


class _Fatal(Exception):
    """Why the command ends with status 1."""


@dataclass(slots=True)
class _Request:
    """The command line. ``mode``: one of p M F P m; ``change``: one of e # X, or nothing."""

    folder: str
    mode: str = "p"
    change: str = ""
    flags: set[str] = field(default_factory=set)
    overrides: dict[str, str] = field(default_factory=dict)
    which: str = "all"
    names: list[str] = field(default_factory=list)

    @property
    def style(self) -> Style:
        return Style(
            names="h" not in self.flags,
            values="H" not in self.flags,
            folded="f" in self.flags,
            expanded="x" in self.flags,
        )


def main(arguments: list[str]) -> int:
    """Run it with what follows the command's name; gives the exit status."""
    if arguments == ["--help"]:
        print(_USAGE)
        return 0
    try:
        request = _parse(arguments)
        if request.mode == "m":
            _show_table_types()
        elif request.change:
            _change(request)
        elif request.mode == "p":
            _show_parameters(request)
        else:
            _show_services(request)
    except (_Fatal, EntryError) as error:
        return _complain("fatal", str(error))
    except ConfigError as error:
        return max(_complain("fatal", str(problem)) for problem in error.problems)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _complain("fatal", f"{where}{error.strerror or error}")
    return 0


def _complain(what: str, text: str) -> int:
    print(f"postconf: {what}: {text}", file=sys.stderr)
    return 1


def _parse(arguments: list[str]) -> _Request:
    try:
        options, names = getopt.getopt(arguments, "c:C:deEfFhHmMno:pPvxX#")
    except getopt.GetoptError as error:
        raise _Fatal(f"{error}\n{_USAGE}") from None
    folder = os.environ.get("MAIL_CONFIG") or "/etc/gatewayd"
    request = _Request(folder, names=names)
    modes: set[str] = set()
    changes: set[str] = set()
    for option, value in options:
        letter = option[1]
        if letter == "c":
            request.folder = value
        elif letter == "C":
            request.which = value
        elif letter == "o":
            request.overrides.update([_assignment(value)])
        elif letter in _MODES:
            modes.add(letter)
        elif letter in _EDITS:
            changes.add(letter)
        elif letter in _SHOWING:
            request.flags.add(letter)
    if not changes and any("=" in name for name in names):
        changes.add("e")
    _only_one(modes)
    _only_one(changes | (request.flags if changes else set()))
    for pair in ("dn", "hH"):
        _only_one(request.flags & set(pair))
    request.mode = "".join(modes) or "p"
    request.change = "".join(changes)
    _check_flags(request)
    return request


def _only_one(letters: Iterable[str]) -> None:
    ordered = sorted(letters)
    if len(ordered) > 1:
        raise _Fatal(f"specify one of {' '.join(f'-{letter}' for letter in ordered)}")


def _check_flags(request: _Request) -> None:
    allowed = _MASTER_STYLES.get(request.mode)
    for letter in sorted(request.flags):
        if allowed is not None and letter not in allowed:
            raise _Fatal(f"with option -{request.mode}, do not specify -{letter}")
    if request.which not in CLASSES:
        raise _Fatal(f'unknown -C option value "{request.which}"')


def _assignment(text: str) -> tuple[str, str]:
    parts = split_assignment(text)
    if parts is None or parts[0].startswith("#"):
        raise _Fatal(f'name=value expected, not "{text}"')
    if "\n" in text or "\r" in text:
        raise _Fatal(f"{parts[0]}: a value is a single line")
    return parts


def _show_table_types() -> None:
    from gatewayd.tables.open import TYPES

    print("\n".join(sorted({*TYPES, "proxy"})))


# Showing.


def _show_parameters(request: _Request) -> None:
    settings, services = _read(request)
    known = Names(settings, services).of(request.which)
    if request.names:
        names = request.names
        for name in names:
            if name not in known:
                _complain("warning", f"{name}: unknown parameter")
    else:
        names = sorted(known)
    style = request.style
    for name in names:
        if name in known and ("n" not in request.flags or _is_set(settings, name, request)):
            print(style.shown(settings, name))


def _is_set(settings: Settings, name: str, request: _Request) -> bool:
    if name == "config_directory":
        return request.folder != "/etc/gatewayd"
    return settings.is_set(name)


def _read(request: _Request) -> tuple[Settings, Sequence[Service]]:
    """Settings and services; with -d as if main.cf were empty."""
    if "d" in request.flags:
        settings = make_settings("/etc/gatewayd", {})
        services = _services_if_any(request.folder)
        settings.transports = frozenset(each.name for each in services if each.is_transport)
        return settings, services
    files = _usable(read_files(request.folder, overrides=request.overrides))
    check = Check(files.settings, files.master.services)
    for problem in (*files.main.warnings, *files.master.warnings, *check.errors, *check.warnings):
        _complain("warning", str(problem))
    return files.settings, files.master.services


def _services_if_any(folder: str) -> Sequence[Service]:
    """Defaults can be shown without a configuration."""
    return read_services(folder) if os.path.exists(os.path.join(folder, "master.cf")) else ()


def _usable(files: Files) -> Files:
    if errors := (*files.main.errors, *files.master.errors):
        raise ConfigError(errors)
    return files


def _show_services(request: _Request) -> None:
    settings, services = _read(request)
    for name in request.names or [""]:
        pattern = _pattern(name, request.mode)
        lines = [
            line
            for service in matching(services, pattern)
            for line in _lines_of(service, settings, request, pattern)
        ]
        if name and not lines:
            _complain("warning", f'unmatched request: "{name}"')
        if lines:
            print("\n".join(lines))


def _pattern(name: str, mode: str) -> list[str]:
    parts = name.split("/") if name else []
    if mode == "M" and len(parts) > 2:
        raise _Fatal("-M option requires service_name[/type]")
    if len(parts) > 3:
        raise _Fatal(f"-{mode} option requires service_name[/type[/name]]")
    return parts


def _lines_of(
    service: Service, settings: Settings, request: _Request, pattern: list[str]
) -> Iterable[str]:
    if request.mode == "M":
        return service_lines(service, settings, request.style)
    only = pattern[2] if len(pattern) == 3 else "*"
    if request.mode == "F":
        if only not in ("*", *FIELDS):
            raise _Fatal(f'invalid service attribute name: "{only}"')
        return field_lines(service, settings, request.style, only)
    return override_lines(service, settings, request.style, only)


# Changing.


def _change(request: _Request) -> None:
    if not request.names:
        wanted = "name=value" if request.change == "e" else "name"
        raise _Fatal(f"-{request.change} requires {wanted} argument")
    if request.change != "e" and any("=" in name for name in request.names):
        raise _Fatal(f"specify one of -e -{request.change}")
    file, change = ("main.cf", _main_change) if request.mode == "p" else ("master.cf", _master)
    edit.changed_file(os.path.join(request.folder, file), change(request))


def _main_change(request: _Request) -> Callable[[str], str]:
    if request.change == "e":
        pairs = dict(map(_assignment, request.names))
        entries = {name: f"{name} = {value}" for name, value in pairs.items()}
        return lambda text: edit.set_entries(text, entries, edit.main_name)
    return _removal(request, edit.main_name)


def _removal(request: _Request, key_of: edit.KeyOf) -> Callable[[str], str]:
    how = edit.Removal.COMMENT if request.change == "#" else edit.Removal.DROP
    return lambda text: edit.remove(text, request.names, key_of, how)


def _master(request: _Request) -> Callable[[str], str]:
    if request.mode == "M":
        return _whole_services(request)
    if request.change == "#" or (request.mode == "F" and request.change == "X"):
        raise _Fatal(f"-{request.change} is not for -{request.mode}")

    def change(text: str) -> str:
        changed = _changed_entries(request, text)
        entries = {key: entry.lines(folded=True) for key, entry in changed.items()}
        return edit.set_entries(text, entries, edit.service_key)

    return change


def _whole_services(request: _Request) -> Callable[[str], str]:
    if request.change != "e":
        if any(name.count("/") != 1 for name in request.names):
            raise _Fatal("-Me, -MX or -M# requires service_name/type")
        return _removal(request, edit.service_key)
    entries: dict[str, str] = {}
    for key, line in map(_assignment, request.names):
        entry = MasterEntry.parse(line)
        if "/".join(entry.key) != key:
            raise _Fatal(f'"{key}" is set to a line of {"/".join(entry.key)}')
        entries[key] = entry.lines(folded=True)
    return lambda text: edit.set_entries(text, entries, edit.service_key)


def _changed_entries(request: _Request, text: str) -> dict[str, MasterEntry]:
    """The services that -F and -P change, by ``name/type``."""
    services = services_of(text, os.path.join(request.folder, "master.cf"))
    changed: dict[str, MasterEntry] = {}
    for name in request.names:
        path, value = _assignment(name) if request.change == "e" else (name, "")
        parts = path.split("/", 2)
        if len(parts) != 3:
            raise _Fatal(f"-{request.mode}{request.change} requires service_name/type/name")
        found = matching(services, parts)
        if not found:
            _complain("warning", f'unmatched service_name/type: "{name}"')
        for service in found:
            key = f"{service.name}/{service.type}"
            entry = changed.get(key) or MasterEntry.parse(service.text)
            changed[key] = _changed(entry, request, parts[2], value)
    return changed


def _changed(entry: MasterEntry, request: _Request, name: str, value: str) -> MasterEntry:
    if request.mode == "F":
        if name not in FIELDS:
            raise _Fatal(f'invalid service attribute name: "{name}"')
        return entry.with_field(name, value)
    return (
        entry.with_override(name, value) if request.change == "e" else entry.without_override(name)
    )
