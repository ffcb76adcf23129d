"""Mail addresses in the one form that access checks, routing, queue and delivery all share.

An address is parsed once, at the edge, into (local part, domain). The relay check and the
delivery then decide on the same object, so that no quoting, source route or ``%`` can make
them see different domains (RFC 5321 §4.1.2; docs/internals.md, "Addresses").
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from gatewayd.errors import AddressSyntaxError

__all__ = ["NULL", "Address", "parse_address", "quote_local"]

# RFC 5322 §3.2.3 atext and the dots between; above ASCII as RFC 6531 §3.3 allows.
_DOT_STRING = re.compile(
    r"[^\x00-\x20\x7f\"(),.:;<>@\[\\\]]+(?:\.[^\x00-\x20\x7f\"(),.:;<>@\[\\\]]+)*\Z"
)


@dataclass(frozen=True, slots=True)
class Address:
    """A mailbox: local part without quoting, domain as written (an address literal with brackets).

    The null reverse-path is ``Address("", "")``, named NULL. A domain of "" with a local part
    is a bare user name that nothing has qualified yet. ``str()`` gives the external form, as
    it stands between the angle brackets on the wire.
    """

    local: str
    domain: str = ""

    def __str__(self) -> str:
        return (
            f"{quote_local(self.local)}@{self.domain}" if self.domain else quote_local(self.local)
        )

    def __bool__(self) -> bool:
        return bool(self.local or self.domain)

    @property
    def internal(self) -> str:
        """The form that tables and logs of Postfix call internal: no quotes."""
        return f"{self.local}@{self.domain}" if self.domain else self.local

    @property
    def is_ascii(self) -> bool:
        """False if delivering to or from it needs SMTPUTF8 (RFC 6531)."""
        return self.local.isascii() and self.domain.isascii()


NULL = Address("", "")


@lru_cache(maxsize=4096)  # an address is written a dozen times on its way
def quote_local(local: str) -> str:
    """The local part as RFC 5321 §4.1.2 writes it: a Dot-string, or else a Quoted-string."""
    if _DOT_STRING.match(local) or not local:
        return local
    return '"' + local.replace("\\", "\\\\").replace('"', '\\"') + '"'


def parse_address(text: str) -> Address:
    """An address in external form, without angle brackets, as maps and command lines give it.

    Accepts ``user``, ``user@domain``, ``"quo ted"@domain`` and "" (the null address). The domain
    is split off at the last ``@`` outside quotes. Control characters are refused, since an
    address ends up in logs, headers and commands.
    Raises AddressSyntaxError.
    """
    if any(char < " " or char == "\x7f" for char in text):
        raise AddressSyntaxError(f"control character in address {text!r}")
    if text.startswith('"'):
        local, rest = _unquote(text)
        if rest and not rest.startswith("@"):
            raise AddressSyntaxError(f"text after the closing quote in address {text!r}")
        domain = rest[1:]
    elif "@" in text:
        local, _, domain = text.rpartition("@")
    else:
        local, domain = text, ""
    if "@" in text and not text.endswith('"') and not domain:
        raise AddressSyntaxError(f"no domain after the @ in address {text!r}")
    if "@" in domain:
        raise AddressSyntaxError(f"a second @ in address {text!r}")
    if domain and not local:
        raise AddressSyntaxError(f"no local part in address {text!r}")
    return Address(local, domain)


def _unquote(text: str) -> tuple[str, str]:
    """(local part, what follows the closing quote) of text that starts with a quote."""
    local: list[str] = []
    chars = iter(range(1, len(text)))
    for at in chars:
        if text[at] == '"':
            return "".join(local), text[at + 1 :]
        if text[at] == "\\":
            at = next(chars, -1)
            if at < 0:
                break
        local.append(text[at])
    raise AddressSyntaxError(f"quote without end in address {text!r}")
