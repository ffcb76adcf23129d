"""A service's line of master.cf as text: shown, taken apart and changed by postconf.

smtp       inet  n       -       n       -       -       smtpd
    -o smtpd_timeout=20
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from gatewayd.config.main_cf import split_assignment
from gatewayd.config.master_cf import TYPES, is_option, split_line, ungrouped

__all__ = ["FIELDS", "EntryError", "MasterEntry"]

FIELDS = (
    *("service", "type", "private", "unprivileged", "chroot", "wakeup", "process_limit"),
    "command",
)
_STARTS = (11, 17, 25, 33, 41, 49, 57)
_WIDTH = 79
_INDENT = "    "
_PATTERNS = {
    "service": r"\S+",
    "type": "|".join(TYPES),
    "private": "[yn-]",
    "unprivileged": "[yn-]",
    "chroot": "[yn-]",
    "wakeup": r"[0-9]{1,9}\??|-",
    "process_limit": r"[0-9]{1,9}|-",
    "command": r"\S.*",
}


class EntryError(Exception):
    """What would make no line of master.cf."""


@dataclass(frozen=True, slots=True)
class MasterEntry:
    """``columns``: the first seven. ``options``: ``-v`` and ``-o``'s values, (option, value).
    ``arguments``: the rest, without the braces around them.
    """

    columns: tuple[str, ...]
    command: str
    options: tuple[tuple[str, str], ...] = ()
    arguments: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> MasterEntry:
        """Raises EntryError."""
        try:
            words = split_line(text)
        except ValueError as error:
            raise EntryError(str(error)) from None
        if len(words) < len(FIELDS):
            raise EntryError(f'bad field count: "{text}"')
        for name, word in zip(FIELDS, words, strict=False):
            _check_field(name, word)
        options: list[tuple[str, str]] = []
        rest = words[len(FIELDS) :]
        while rest and is_option(rest[0]):
            option = rest.pop(0)
            if option.startswith("-o"):
                value = option[2:] or (rest.pop(0) if rest else "")
                parts = split_assignment(ungrouped(value))
                if parts is None:
                    raise EntryError(f"missing '=' after attribute name: \"{value}\"")
                options.append(("-o", "=".join(parts)))
            else:
                options.append((option, ""))
        return cls(tuple(words[:7]), words[7], tuple(options), tuple(map(ungrouped, rest)))

    @property
    def key(self) -> tuple[str, str]:
        """Name and type."""
        return self.columns[0], self.columns[1]

    @property
    def overrides(self) -> dict[str, str]:
        """What -o sets, by name."""
        pairs = (value.partition("=") for option, value in self.options if option == "-o")
        return {name: value for name, _, value in pairs}

    def field(self, name: str) -> str:
        """A column's text; the command with all its arguments."""
        at = FIELDS.index(name)
        return " ".join(self._command_words()) if at == len(FIELDS) - 1 else self.columns[at]

    def with_field(self, name: str, value: str) -> MasterEntry:
        """With a column changed; the command is given with all its arguments. Raises EntryError."""
        columns = list(self.columns)
        at = FIELDS.index(name)
        if at < len(columns):
            _check_field(name, value)
            columns[at] = value
            return replace(self, columns=tuple(columns))
        return MasterEntry.parse(" ".join([*columns, value]))

    def with_override(self, name: str, value: str) -> MasterEntry:
        """With -o name=value, in the place of the one before if there is one."""
        pair = ("-o", f"{name}={value}")
        if name not in self.overrides:
            return replace(self, options=(*self.options, pair))
        options = tuple(pair if _sets(option, name) else option for option in self.options)
        return replace(self, options=tuple(dict.fromkeys(options)))

    def without_override(self, name: str) -> MasterEntry:
        """Without any -o for the name."""
        return replace(self, options=tuple(o for o in self.options if not _sets(o, name)))

    def lines(self, folded: bool) -> str:
        """The line in columns; ``folded``: each -o on a line of its own, none over 79 wide."""
        head = self.columns[0]
        for start, column in zip(_STARTS, (*self.columns[1:], self.command), strict=True):
            head = f"{head:<{start - 1}} {column}" if len(head) < start else f"{head} {column}"
        return self.after(head, folded)

    def after(self, head: str, folded: bool) -> str:
        """``head``, which ends with the command, and the command's options and arguments."""
        words = self._command_words()[1:]
        return _fold(head, words) if folded else " ".join([head, *words])

    def _command_words(self) -> list[str]:
        options = [f"{o} {_grouped(value)}" if value else o for o, value in self.options]
        arguments = list(map(_grouped, self.arguments))
        if arguments and is_option(arguments[0]):
            arguments[0] = f"{{{arguments[0]}}}"
        return [self.command, *options, *arguments]


def _fold(head: str, words: list[str]) -> str:
    lines = [head]
    alone = False
    for word in words:
        override = word.startswith("-o ")
        is_due = override or alone or len(lines[-1]) + 1 + len(word) > _WIDTH
        if is_due and not word.startswith("#"):  # it would begin a comment
            lines.append(_INDENT + word)
        else:
            lines[-1] += f" {word}"
        alone = override
    return "\n".join(lines)


def _check_field(name: str, word: str) -> None:
    if not re.fullmatch(_PATTERNS[name], word):
        raise EntryError(f'invalid {name} field "{word}"')


def _sets(option: tuple[str, str], name: str) -> bool:
    return option[0] == "-o" and option[1].partition("=")[0] == name


def _grouped(word: str) -> str:
    """With braces around it if it may need them to be one word, and can have them.

    It can't if it has a closing brace too many; then it's one word without.
    """
    if word and not word.startswith("{") and not re.search(r"\s", word, re.ASCII):
        return word
    grouped = f"{{{word}}}"
    return grouped if ungrouped(grouped) == word else word
