"""Restrictions that look at where the mail is to go: the guard against being an open relay."""

from __future__ import annotations

from gatewayd.access.restriction import PERMIT, Check, Environment, Inquiry, Verdict, restriction
from gatewayd.status import Reply

__all__: list[str] = []


def _is_authorized(about: Environment, asked: Inquiry) -> bool:
    """Whether anybody may send to the recipient: one of our domains, and no way beyond it.

    An operator in the local part would let the next host carry the mail on; that's refused even
    for our own domains (security.md 1.7), unless the administrator trusts everybody with it.
    """
    resolution = asked.resolution
    assert resolution is not None
    if not resolution.address_class.is_ours:
        return False
    return about.settings.allow_untrusted_routing or not resolution.routed


def _denied(asked: Inquiry, code: int) -> Reply:
    text = f"<{asked.recipient}>: Relay access denied"
    return Reply(code, f"{code // 100}.7.1", text)


@restriction("permit_auth_destination")
def permit_auth_destination(about: Environment) -> Check:
    """Permits recipients that anybody may send to."""

    async def check(asked: Inquiry) -> Verdict:
        if asked.resolution is None or not _is_authorized(about, asked):
            return None
        return PERMIT

    return check


@restriction("reject_unauth_destination", "check_relay_domains")
def reject_unauth_destination(about: Environment) -> Check:
    """Refuses recipients that not anybody may send to."""
    code = about.settings.relay_denied_code

    async def check(asked: Inquiry) -> Verdict:
        if asked.resolution is None or _is_authorized(about, asked):
            return None
        return _denied(asked, code)

    return check


@restriction("defer_unauth_destination")
def defer_unauth_destination(about: Environment) -> Check:
    """Refuses them for now: a configuration's mistake can still be mended without loss."""

    async def check(asked: Inquiry) -> Verdict:
        if asked.resolution is None or _is_authorized(about, asked):
            return None
        return _denied(asked, 454)

    return check


@restriction("reject_unlisted_recipient", "check_recipient_maps")
def reject_unlisted_recipient(about: Environment) -> Check:
    """Refuses recipients of our domains that their list doesn't have, here rather than last."""

    async def check(asked: Inquiry) -> Verdict:
        if asked.resolution is None or asked.recipient is None:
            return None
        asked.checked_recipient = True
        subject = f"<{asked.recipient}>: Recipient address"
        return await about.recipients.refusal(asked.resolution, subject, "1.1")

    return check


@restriction("reject_unlisted_sender")
def reject_unlisted_sender(about: Environment) -> Check:
    """Refuses senders in our domains that could not receive a reply."""

    async def check(asked: Inquiry) -> Verdict:
        if not asked.sender:
            return None
        resolution = await about.router.resolve(asked.sender)
        return await about.recipients.refusal(
            resolution, f"<{asked.sender}>: Sender address", "1.0"
        )

    return check
