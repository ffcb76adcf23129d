"""unix:passwd.byname and unix:group.byname: the system's users and groups, as local_recipient_maps
asks for them. Values are lines in the form of passwd(5) and group(5).

The system answers from its files; where it's set up to ask a directory service, that may take
time, and such a place does better with a table of its own.
"""

from __future__ import annotations

import grp
import pwd

from zope.interface import implementer

from gatewayd.errors import ConfigError, ConfigProblem
from gatewayd.interfaces import ILookupTable

__all__ = ["UnixTable", "unix_table"]


def _user(name: str) -> str:
    return ":".join(str(field) for field in pwd.getpwnam(name))


def _group(name: str) -> str:
    found = grp.getgrnam(name)
    return f"{found.gr_name}:{found.gr_passwd}:{found.gr_gid}:{','.join(found.gr_mem)}"


_KINDS = {"passwd.byname": _user, "group.byname": _group}


@implementer(ILookupTable)
class UnixTable:
    """Accounts by name, which is compared exactly."""

    fixed_string = True

    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        self._line_of = _KINDS[kind]

    async def lookup(self, key: str) -> str | None:
        """The account's line."""
        if not key or "\0" in key:
            return None
        try:
            return self._line_of(key)
        except (KeyError, UnicodeEncodeError):
            return None

    def close(self) -> None:
        """Nothing is open."""


def unix_table(reference: str, kind: str) -> ILookupTable:
    """Raises ConfigError for other than the two."""
    if kind not in _KINDS:
        text = f"{reference[:80]}: expected unix:passwd.byname or unix:group.byname"
        raise ConfigError([ConfigProblem("main.cf", 0, text)])
    return UnixTable(reference, kind)
