"""Restrictions on the form of host names and addresses: no look-up, only syntax."""

from __future__ import annotations

from gatewayd.access.restriction import Check, Environment, Inquiry, Stage, Verdict, restriction
from gatewayd.address import Address
from gatewayd.routing.rewrite import literal_address, valid_domain

__all__: list[str] = []


def _is_complete(name: str) -> bool:
    """Whether a name is a host name with a domain, or an address literal."""
    bare = name[:-1] if name.endswith(".") else name
    return valid_domain(bare) and ("." in bare or bare[:1] == "[")


def _is_helo_name(name: str) -> bool:
    """As Postfix takes them: trailing dot and bare IP addresses are no syntax errors."""
    bare = name[:-1] if name.endswith(".") else name
    return valid_domain(bare) or literal_address(f"[{bare}]") is not None


@restriction("reject_invalid_helo_hostname", "reject_invalid_hostname")
def reject_invalid_helo_hostname(about: Environment) -> Check:
    """Refuses HELO names that cannot be host names."""
    code = about.settings.invalid_name_code

    async def check(asked: Inquiry) -> Verdict:
        helo = asked.peer.helo
        if not helo or _is_helo_name(helo):
            return None
        asked.stage = Stage.HELO
        return asked.rejection(code, "5.5.2", "Invalid name")

    return check


@restriction("reject_non_fqdn_helo_hostname", "reject_non_fqdn_hostname")
def reject_non_fqdn_helo_hostname(about: Environment) -> Check:
    """Refuses HELO names without a domain."""
    code = about.settings.incomplete_name_code

    async def check(asked: Inquiry) -> Verdict:
        helo = asked.peer.helo
        if not helo or _is_complete(helo):
            return None
        asked.stage = Stage.HELO
        return asked.rejection(code, "5.5.2", "need fully-qualified hostname")

    return check


@restriction("reject_non_fqdn_sender")
def reject_non_fqdn_sender(about: Environment) -> Check:
    """Refuses senders whose domain is not complete; the null sender is fine."""
    code = about.settings.incomplete_name_code

    async def check(asked: Inquiry) -> Verdict:
        if not asked.sender or _is_complete(asked.sender.domain):
            return None
        asked.stage = Stage.SENDER
        return asked.rejection(code, "5.5.2", "need fully-qualified address")

    return check


@restriction("reject_non_fqdn_recipient")
def reject_non_fqdn_recipient(about: Environment) -> Check:
    """Refuses recipients whose domain is not complete, but for postmaster."""
    code = about.settings.incomplete_name_code

    async def check(asked: Inquiry) -> Verdict:
        if asked.recipient is None or _has_complete_domain(asked.recipient):
            return None
        asked.stage = Stage.RECIPIENT
        return asked.rejection(code, "5.5.2", "need fully-qualified address")

    return check


def _has_complete_domain(address: Address) -> bool:
    if not address.domain:
        return address.local.lower() == "postmaster"
    return _is_complete(address.domain)
