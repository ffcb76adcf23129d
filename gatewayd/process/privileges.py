"""From root to mail_owner, for good."""

from __future__ import annotations

import os
import pwd

from gatewayd.errors import ConfigError, ConfigProblem

__all__ = ["drop_privileges", "give_folder", "owner_entry", "unreadable_code"]


def owner_entry(name: str) -> pwd.struct_passwd:
    """mail_owner's account. Raises ConfigError if there is none."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        text = f"mail_owner: no such user: {name}"
        raise ConfigError([ConfigProblem("main.cf", 0, text)]) from None


def drop_privileges(owner: pwd.struct_passwd) -> None:
    """Become ``owner`` if we're root; nothing is kept to go back with.

    Ports must be bound before. Raises OSError.
    """
    if os.geteuid() != 0 or owner.pw_uid == 0:
        return
    os.initgroups(owner.pw_name, owner.pw_gid)
    os.setresgid(owner.pw_gid, owner.pw_gid, owner.pw_gid)
    os.setresuid(owner.pw_uid, owner.pw_uid, owner.pw_uid)


def unreadable_code() -> str:
    """A part of our own program that this process may not read, or "".

    With Python or gatewayd in a folder that is root's alone, the program has lost it with root:
    modules that are loaded late, by us or by a library, then cannot be.
    """
    for path in (os.__file__, __file__):
        if not os.access(path, os.R_OK):
            return path
    return ""


def give_folder(path: str, owner: pwd.struct_passwd, mode: int) -> None:
    """Make sure a folder exists and belongs to ``owner``. Raises OSError.

    A new one has this mode, whatever the umask; one that is there keeps the administrator's.
    """
    is_new = not os.path.isdir(path)
    os.makedirs(path, exist_ok=True)
    if os.geteuid() == 0 and os.stat(path).st_uid != owner.pw_uid:
        os.chown(path, owner.pw_uid, owner.pw_gid)
    if is_new:
        os.chmod(path, mode)
