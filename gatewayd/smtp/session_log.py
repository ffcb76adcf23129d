"""The lines an SMTP server session logs, in Postfix's layout."""

from __future__ import annotations

from collections.abc import Sequence

from gatewayd.address import Address
from gatewayd.message import Origin
from gatewayd.status import Reply

__all__ = ["client_label", "counts", "ending", "improper_pipelining", "rejection"]

_SHOWN_OCTETS = 100


def client_label(peer: Origin, *, with_port: bool = False) -> str:
    """``name[address]``, with ``:port`` behind it if asked for."""
    label = f"{peer.client_name}[{peer.client_address}]"
    return f"{label}:{peer.client_port}" if with_port else label


def rejection(
    where: str,
    client: str,
    reply: Reply,
    peer: Origin,
    *,
    queue_id: str = "",
    sender: Address | None = None,
    recipient: Address | None = None,
) -> str:
    """``QID: reject: WHERE from CLIENT: REPLY; from=<…> to=<…> proto=… helo=<…>``."""
    facts = []
    if sender is not None:
        facts.append(f"from=<{sender}>")
    if recipient is not None:
        facts.append(f"to=<{recipient}>")
    facts.append(f"proto={peer.protocol}")
    if peer.helo:
        facts.append(f"helo=<{peer.helo}>")
    said = str(reply).replace("\n", " ")
    return f"{queue_id or 'NOQUEUE'}: reject: {where} from {client}: {said}; {' '.join(facts)}"


def improper_pipelining(where: str, client: str, waiting: bytes) -> str:
    """A client that didn't wait for a reply it had to wait for, with the start of what it sent."""
    shown = waiting[:_SHOWN_OCTETS].decode("latin-1").encode("unicode_escape").decode("ascii")
    return f"improper command pipelining after {where} from {client}: {shown}"


def ending(reason: str, where: str, client: str, octets: int | None) -> str:
    """Why a session ended without QUIT; ``octets`` is how much content had come, if any was due."""
    amount = "" if octets is None else f" ({octets} bytes)"
    return f"{reason} after {where}{amount} from {client}"


def counts(names: Sequence[str], tried: Sequence[int], done: Sequence[int]) -> str:
    """``ehlo=1 rcpt=1/2 commands=2/3``: successes, and tries where they differ."""
    words = [
        f"{name}={good}" if good == all_ else f"{name}={good}/{all_}"
        for name, all_, good in zip(names, tried, done, strict=True)
        if all_
    ]
    total, good = sum(tried), sum(done)
    words.append(f"commands={good}" if good == total and total else f"commands={good}/{total}")
    return " ".join(words)
