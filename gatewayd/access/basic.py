"""Restrictions that need no look-up beyond the client's address."""

from __future__ import annotations

from gatewayd.access.restriction import PERMIT, Check, Environment, Inquiry, Verdict, restriction
from gatewayd.status import Reply

__all__: list[str] = []


@restriction("permit")
def permit(about: Environment) -> Check:
    """Ends the list."""

    async def check(asked: Inquiry) -> Verdict:
        return PERMIT

    return check


@restriction("reject")
def reject(about: Environment) -> Check:
    """Refuses for good."""
    code = about.settings.reject_code

    async def check(asked: Inquiry) -> Verdict:
        return asked.rejection(code, "5.7.1", "Access denied")

    return check


@restriction("defer")
def defer(about: Environment) -> Check:
    """Refuses for now."""
    code = about.settings.defer_code

    async def check(asked: Inquiry) -> Verdict:
        return asked.rejection(code, "4.3.2", "Try again later")

    return check


@restriction("defer_if_permit")
def defer_if_permit(about: Environment) -> Check:
    """If nothing refuses the recipient, defers it."""

    async def check(asked: Inquiry) -> Verdict:
        asked.defer_if_permit = asked.defer_if_permit or _requested(asked, "defer_if_permit")
        return None

    return check


@restriction("defer_if_reject")
def defer_if_reject(about: Environment) -> Check:
    """Makes a final refusal by a later restriction a temporary one."""

    async def check(asked: Inquiry) -> Verdict:
        asked.defer_if_reject = asked.defer_if_reject or _requested(asked, "defer_if_reject")
        return None

    return check


def _requested(asked: Inquiry, name: str) -> Reply:
    return asked.rejection(450, "4.7.0", f"{name} requested")


@restriction("permit_mynetworks")
def permit_mynetworks(about: Environment) -> Check:
    """Permits clients in $mynetworks."""
    networks = about.networks

    async def check(asked: Inquiry) -> Verdict:
        return PERMIT if await networks.matches(asked.peer.client_address) else None

    return check


@restriction("permit_inet_interfaces")
def permit_inet_interfaces(about: Environment) -> Check:
    """Permits this host itself."""
    own = about.own_addresses

    async def check(asked: Inquiry) -> Verdict:
        return PERMIT if asked.peer.client_address in own else None

    return check


@restriction("permit_sasl_authenticated")
def permit_sasl_authenticated(about: Environment) -> Check:
    """Permits clients that have logged in."""

    async def check(asked: Inquiry) -> Verdict:
        return PERMIT if asked.peer.sasl_username else None

    return check


@restriction("reject_unauth_pipelining")
def reject_unauth_pipelining(about: Environment) -> Check:
    """Nothing is left to refuse here: the session ends at input that is sent before its turn.

    It does so while smtpd_forbid_unauth_pipelining is on, as it is by default.
    """

    async def check(asked: Inquiry) -> Verdict:
        return None

    return check


@restriction("reject_multi_recipient_bounce")
def reject_multi_recipient_bounce(about: Environment) -> Check:
    """Refuses a message with the null sender and several recipients: no true bounce has them."""
    code = about.settings.multi_recipient_bounce_code

    async def check(asked: Inquiry) -> Verdict:
        transaction = asked.transaction
        if transaction is None or transaction.sender or len(transaction.recipients) < 2:
            return None
        return asked.rejection(code, "5.5.3", "Multi-recipient bounce")

    return check
