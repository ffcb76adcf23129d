"""The answers to the SMTP session's questions: ``ports.SessionPolicy`` (postfix.md §6).

The order at RCPT, with smtpd_delay_reject as it is by default:

    client list, helo list, sender list          what the connection and MAIL would have been asked
    relay list, recipient list                   (or the other way round, by parameter)
    unlisted recipients                          for trusted clients, too
    defer_if_permit, if any list asked for it
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gatewayd.access.lists import RestrictionList, check_relay_guard, softened
from gatewayd.access.recipients import RecipientLists
from gatewayd.access.restriction import Environment, Inquiry, Stage
from gatewayd.address import NULL, Address
from gatewayd.errors import AddressSyntaxError, TableError
from gatewayd.maillog import MailLog
from gatewayd.message import Origin, Recipient
from gatewayd.routing.rewrite import valid_domain, valid_local
from gatewayd.routing.router import Router
from gatewayd.smtp.ports import Transaction
from gatewayd.status import Reply
from gatewayd.tables.match_list import MatchList, NetworkList

if TYPE_CHECKING:
    from gatewayd.config.settings import Settings

__all__ = ["AccessSettings", "Policy", "flush_domains"]

log = MailLog("smtpd")

Flush = Callable[[str], Awaitable[bool]]

_BAD_RECIPIENT = Reply(501, "5.1.3", "Bad recipient address syntax")
_BAD_SENDER = Reply(501, "5.1.7", "Bad sender address syntax")
_ETRN_STARTED = Reply(250, "", "Queuing started")
_ETRN_FAILED = Reply(458, "", "Unable to queue messages")


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """The parameters of access control that are neither lists nor tables."""

    delay_reject: bool = True
    relay_before_recipient: bool = True
    reject_unlisted_recipient: bool = True
    reject_unlisted_sender: bool = False
    allow_untrusted_routing: bool = False
    reject_code: int = 554
    defer_code: int = 450
    relay_denied_code: int = 554
    invalid_name_code: int = 501
    incomplete_name_code: int = 504
    multi_recipient_bounce_code: int = 550

    @classmethod
    def from_settings(cls, settings: Settings) -> AccessSettings:
        return cls(
            delay_reject=settings.flag("smtpd_delay_reject"),
            relay_before_recipient=settings.flag("smtpd_relay_before_recipient_restrictions"),
            reject_unlisted_recipient=settings.flag("smtpd_reject_unlisted_recipient"),
            reject_unlisted_sender=settings.flag("smtpd_reject_unlisted_sender"),
            allow_untrusted_routing=settings.flag("allow_untrusted_routing"),
            reject_code=settings.number("reject_code"),
            defer_code=settings.number("defer_code"),
            relay_denied_code=settings.number("relay_domains_reject_code"),
            invalid_name_code=settings.number("invalid_hostname_reject_code"),
            incomplete_name_code=settings.number("non_fqdn_reject_code"),
            multi_recipient_bounce_code=settings.number("multi_recipient_bounce_reject_code"),
        )


@dataclass(frozen=True, slots=True)
class _Lists:
    client: RestrictionList
    helo: RestrictionList
    sender: RestrictionList
    relay: RestrictionList
    recipient: RestrictionList
    data: RestrictionList
    end_of_data: RestrictionList
    etrn: RestrictionList


def flush_domains(settings: Settings) -> MatchList:
    """The sites whose mail may be flushed by name (fast_flush_domains). Raises ConfigError."""
    name = "fast_flush_domains"
    parents = name in settings.words("parent_domain_matches_subdomains")
    return MatchList.open(settings.words(name), name, parents=parents)


class Policy:
    """One listener's access rules; parameters may differ between listeners.

    ``flush`` starts delivery for a site and tells whether that could be done.
    """

    def __init__(
        self, about: Environment, lists: _Lists, flush_domains: MatchList, flush: Flush
    ) -> None:
        self._about = about
        self._settings = about.settings
        self._router = about.router
        self._lists = lists
        self._flush_domains = flush_domains
        self._flush = flush
        relay, recipient = lists.relay, lists.recipient
        ordered = (
            (relay, recipient) if about.settings.relay_before_recipient else (recipient, relay)
        )
        self._early = _filled(lists.client, lists.helo, lists.sender)
        self._at_recipient = _filled(*ordered)

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        router: Router,
        flush: Flush,
        own_addresses: Iterable[str] = (),
    ) -> Policy:
        """Raises ConfigError: unknown restrictions, bad tables, or what would be an open relay."""
        about = Environment(
            AccessSettings.from_settings(settings),
            router,
            RecipientLists.from_settings(settings),
            NetworkList.open(settings.words("mynetworks"), "mynetworks"),
            frozenset(own_addresses),
        )
        lists = _lists(settings, about)
        check_relay_guard(settings, (lists.relay, lists.recipient))
        return cls(about, lists, flush_domains(settings), flush)

    async def connected(self, peer: Origin) -> Reply | None:
        return await self._at_once(self._lists.client, Inquiry(Stage.CLIENT, peer))

    async def greeted(self, peer: Origin) -> Reply | None:
        return await self._at_once(self._lists.helo, Inquiry(Stage.HELO, peer))

    async def sender(self, peer: Origin, transaction: Transaction) -> Reply | None:
        sender = transaction.sender
        if sender and not self._is_well_formed(sender):
            return _BAD_SENDER
        return await self._at_once(self._lists.sender, Inquiry(Stage.SENDER, peer, transaction))

    def _is_well_formed(self, sender: Address) -> bool:
        try:
            address = self._router.rewritten(sender)
        except AddressSyntaxError:
            return False
        rules = self._router.settings.rules
        return valid_domain(address.domain) and valid_local(address.local, rules)

    async def _at_once(self, restrictions: RestrictionList, asked: Inquiry) -> Reply | None:
        """An early list's verdict, unless it's left for RCPT."""
        if self._settings.delay_reject or not restrictions:
            return None
        try:
            return await restrictions.refusal(asked)
        except TableError as error:
            return _unavailable(error, asked.subject)

    async def recipient(
        self, peer: Origin, transaction: Transaction, address: Address
    ) -> Reply | Recipient:
        asked = Inquiry(Stage.RECIPIENT, peer, transaction)
        asked.recipient = address
        try:
            refusal = await self._recipient_refusal(asked)
        except TableError as error:
            return _unavailable(error, f"<{address}>")
        if refusal is not None:
            return refusal
        assert asked.resolution is not None
        return Recipient(asked.resolution.address, asked.resolution.route)

    async def _recipient_refusal(self, asked: Inquiry) -> Reply | None:
        address = asked.recipient
        assert address is not None
        asked.resolution = resolution = await self._router.resolve(address, asked.sender or NULL)
        if resolution.error is not None:
            return _BAD_RECIPIENT
        if not address.domain and address.local.lower() == "postmaster":
            return None  # RFC 5321 §4.5.1
        refusal = await self._early_refusal(asked)
        if refusal is not None:
            return refusal
        for restrictions in self._at_recipient:
            refusal = await restrictions.refusal(asked)
            if refusal is not None:
                return refusal
        if asked.defer_if_permit is not None:
            return asked.defer_if_permit
        refusal = await self._unlisted(asked)
        return refusal if refusal is None else softened(refusal, asked)

    async def _early_refusal(self, asked: Inquiry) -> Reply | None:
        """What the lists of earlier commands say, if that was put off till now.

        If it was not, their refusals were given then; only a defer_if_permit is of interest.
        """
        asked.is_repeated = not self._settings.delay_reject
        for restrictions in self._early:
            if not _concerns(restrictions, asked):
                continue
            refusal = await restrictions.refusal(asked)
            if refusal is not None and not asked.is_repeated:
                return refusal
        asked.is_repeated = False
        return None

    async def _unlisted(self, asked: Inquiry) -> Reply | None:
        """Senders and recipients of our domains that don't exist, unless that was asked before."""
        recipients = self._about.recipients
        if self._settings.reject_unlisted_sender and asked.sender:
            resolution = await self._router.resolve(asked.sender)
            subject = f"<{asked.sender}>: Sender address"
            refusal = await recipients.refusal(resolution, subject, "1.0")
            if refusal is not None:
                return refusal
        if not self._settings.reject_unlisted_recipient or asked.checked_recipient:
            return None
        assert asked.resolution is not None
        subject = f"<{asked.recipient}>: Recipient address"
        return await recipients.refusal(asked.resolution, subject, "1.1")

    async def data(self, peer: Origin, transaction: Transaction) -> Reply | None:
        return await self._now(self._lists.data, Inquiry(Stage.DATA, peer, transaction))

    async def end_of_data(self, peer: Origin, transaction: Transaction, size: int) -> Reply | None:
        asked = Inquiry(Stage.END_OF_DATA, peer, transaction)
        return await self._now(self._lists.end_of_data, asked)

    async def _now(self, restrictions: RestrictionList, asked: Inquiry) -> Reply | None:
        if not restrictions:
            return None
        try:
            return await restrictions.refusal(asked) or asked.defer_if_permit
        except TableError as error:
            return _unavailable(error, asked.subject)

    async def etrn(self, peer: Origin, site: str) -> Reply:
        asked = Inquiry(Stage.ETRN, peer)
        asked.site = site
        try:
            refusal = await self._etrn_refusal(asked)
            if refusal is not None:
                return refusal
            if not await self._flush_domains.matches(site):
                return Reply(459, "", f"<{site}>: service unavailable")
        except TableError as error:
            return _unavailable(error, f"<{site}>")
        return _ETRN_STARTED if await self._flush(site) else _ETRN_FAILED

    async def _etrn_refusal(self, asked: Inquiry) -> Reply | None:
        lists = [self._lists.etrn]
        if self._settings.delay_reject:
            lists = [self._lists.client, self._lists.helo, *lists]
        for restrictions in lists:
            if not _concerns(restrictions, asked):
                continue
            refusal = await restrictions.refusal(asked)
            if refusal is not None:
                return refusal
        return asked.defer_if_permit

    async def verify(self, peer: Origin, address: Address) -> Reply:
        asked = Inquiry(Stage.RECIPIENT, peer)
        asked.recipient = address
        try:
            refusal = await self._recipient_refusal(asked)
        except TableError as error:
            return _unavailable(error, f"<{address}>")
        return refusal or Reply(252, "2.0.0", str(address))


def _concerns(restrictions: RestrictionList, asked: Inquiry) -> bool:
    """Whether there is anything yet that the list could judge: VRFY, say, has no sender."""
    if restrictions.stage is Stage.HELO:
        return bool(asked.peer.helo)
    return restrictions.stage is not Stage.SENDER or asked.transaction is not None


def _filled(*lists: RestrictionList) -> tuple[RestrictionList, ...]:
    return tuple(each for each in lists if each)


def _lists(settings: Settings, about: Environment) -> _Lists:
    def made(name: str, stage: Stage) -> RestrictionList:
        return RestrictionList.from_settings(settings, f"smtpd_{name}_restrictions", stage, about)

    return _Lists(
        client=made("client", Stage.CLIENT),
        helo=made("helo", Stage.HELO),
        sender=made("sender", Stage.SENDER),
        relay=made("relay", Stage.RECIPIENT),
        recipient=made("recipient", Stage.RECIPIENT),
        data=made("data", Stage.DATA),
        end_of_data=made("end_of_data", Stage.END_OF_DATA),
        etrn=made("etrn", Stage.ETRN),
    )


def _unavailable(error: TableError, subject: str) -> Reply:
    """A table that cannot answer is no "no": the client is to come back."""
    log.warning(str(error))
    return Reply(451, "4.3.0", f"{subject}: Temporary lookup failure")
