"""A list of restrictions: from a parameter's words, and what it decides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from gatewayd.access import basic, destinations, names
from gatewayd.access.planned import PLANNED
from gatewayd.access.restriction import REGISTRY, Check, Environment, Inquiry, Permit, Stage
from gatewayd.errors import ConfigError, GatewayError
from gatewayd.maillog import MailLog
from gatewayd.message import Origin
from gatewayd.status import Reply

if TYPE_CHECKING:
    from gatewayd.config.settings import Settings

__all__ = ["RestrictionList", "UnknownRestriction", "check_relay_guard", "reject_line", "softened"]

log = MailLog("smtpd")

# Imported for what they register.
_PROVIDERS = (basic, destinations, names)

_GUARDS = frozenset(
    (
        "reject_unauth_destination",
        "defer_unauth_destination",
        "check_relay_domains",
        "reject",
        "defer",
        "defer_if_permit",
    )
)
"""Those that keep strangers from relaying; one must be in force."""


class UnknownRestriction(GatewayError):
    """A word in a list that no restriction has for its name."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of a list. ``warn_only``: what it refuses is logged and let through."""

    name: str
    check: Check
    warn_only: bool = False


class RestrictionList:
    """The restrictions of one parameter, ready to be asked. Empty ones are false."""

    def __init__(self, rules: Sequence[Rule], stage: Stage) -> None:
        self.rules = tuple(rules)
        self.stage = stage

    @classmethod
    def from_settings(
        cls, settings: Settings, parameter: str, stage: Stage, about: Environment
    ) -> RestrictionList:
        """Raises ConfigError naming the parameter's place."""
        try:
            return cls.parse(settings.words(parameter), stage, about)
        except UnknownRestriction as error:
            raise settings.error(parameter, str(error)) from None

    @classmethod
    def parse(cls, words: Iterable[str], stage: Stage, about: Environment) -> RestrictionList:
        """Raises UnknownRestriction, or ConfigError about an argument."""
        rules = []
        waiting = iter(words)
        warn_only = False
        for word in waiting:
            name = word.lower()
            if name == "warn_if_reject":
                warn_only = True
                continue
            entry = REGISTRY.get(name)
            if entry is None:
                raise UnknownRestriction(_why_unknown(word))
            arguments = [next(waiting, "") for _ in range(entry.arguments)]
            if "" in arguments:
                raise UnknownRestriction(f"{name} needs {entry.arguments} more word(s)")
            rules.append(Rule(name, entry.build(about, *arguments), warn_only))
            warn_only = False
        return cls(rules, stage)

    def __bool__(self) -> bool:
        return bool(self.rules)

    @property
    def guards_relaying(self) -> bool:
        """Whether a restriction that stops strangers is reached, and refuses in earnest."""
        for rule in self.rules:
            if rule.name == "permit":
                return False
            if rule.name in _GUARDS and not rule.warn_only:
                return True
        return False

    async def refusal(self, asked: Inquiry) -> Reply | None:
        """The refusal that the list comes to, or None. Raises TableError."""
        for rule in self.rules:
            asked.stage = self.stage
            verdict = await rule.check(asked)
            if verdict is None:
                continue
            if isinstance(verdict, Permit):
                return None
            if rule.warn_only:
                if not asked.is_repeated:
                    log.info(reject_line("reject_warning", asked, verdict))
                continue
            return softened(verdict, asked)
        return None


def softened(refusal: Reply, asked: Inquiry) -> Reply:
    """A final refusal made a temporary one if a list has asked for that (defer_if_reject)."""
    if asked.defer_if_reject is not None and refusal.code >= 500:
        return asked.defer_if_reject
    return refusal


def check_relay_guard(settings: Settings, lists: Iterable[RestrictionList]) -> None:
    """Refuse to be an open relay. Raises ConfigError."""
    if not any(each.guards_relaying for each in lists):
        raise _open_relay(settings)


def _open_relay(settings: Settings) -> ConfigError:
    return settings.error(
        "smtpd_relay_restrictions",
        "this would be an open relay: specify reject_unauth_destination, "
        "defer_unauth_destination, reject, defer or defer_if_permit here or in "
        "smtpd_recipient_restrictions, before any permit and without warn_if_reject",
    )


def _why_unknown(word: str) -> str:
    name = word.lower()
    if name in PLANNED:
        return f"{name} is not supported yet"
    near = get_close_matches(name, [*REGISTRY, *PLANNED], 1, 0.75)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f'unknown restriction "{word}"{hint}'


def reject_line(kind: str, asked: Inquiry, reply: Reply) -> str:
    """The log line of a refusal in Postfix's layout."""
    peer: Origin = asked.peer
    client = f"{peer.client_name}[{peer.client_address}]"
    parts = [f"NOQUEUE: {kind}: {asked.command.command} from {client}: {reply};"]
    if asked.sender is not None:
        parts.append(f"from=<{asked.sender.internal}>")
    if asked.recipient is not None:
        parts.append(f"to=<{asked.recipient.internal}>")
    parts.append(f"proto={peer.protocol or 'SMTP'}")
    if peer.helo:
        parts.append(f"helo=<{peer.helo}>")
    return " ".join(parts)
