"""The right-hand side of a transport table, and of the ``…_transport`` parameters.

The form is ``transport:nexthop``, split at the first colon, blanks kept. Either side may be
empty, and an empty side means different things in a table and in a parameter; both meanings
are here and nowhere else.
"""

from __future__ import annotations

from gatewayd.message import Route
from gatewayd.status import split_status

__all__ = ["REFUSALS", "default_route", "refusal", "table_route"]

REFUSALS = {"error": "5", "retry": "4"}
"""The transports that never deliver, with the class of status that they give."""

UNDELIVERABLE = "Address is undeliverable"


def table_route(value: str, domain: str, default: Route) -> Route:
    """The route that a transport table's value gives to mail for ``domain``.

    ``t:n`` is that; ``t:`` or ``t`` sends to the recipient's own domain, past any relayhost;
    ``:n`` keeps the transport; ``:`` and "" change nothing (and so exempt from ``*``).
    """
    transport, _, nexthop = value.partition(":")
    if not transport:
        return Route(default.transport, nexthop) if nexthop else default
    return Route(transport, nexthop or _own_nexthop(transport, domain))


def default_route(value: str, nexthop: str) -> Route:
    """The route that a ``…_transport`` parameter gives; its own next hop wins over ``nexthop``."""
    transport, _, own = value.partition(":")
    return Route(transport, own or nexthop)


def refusal(route: Route, status: str) -> tuple[str, str] | None:
    """(RFC 3463 status, text) if the route is one to error: or retry:, else None.

    ``status`` is the default for error:, e.g. "5.1.1"; retry: uses it with class 4.
    """
    digit = REFUSALS.get(route.transport)
    if digit is None:
        return None
    code, text = split_status(route.nexthop, digit + status[1:])
    return digit + code[1:], text or UNDELIVERABLE


def _own_nexthop(transport: str, domain: str) -> str:
    return UNDELIVERABLE if transport in REFUSALS else domain
