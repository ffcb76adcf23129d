"""The table of all parameters: from it come the checks, ``postconf`` and docs/parameters.md.

To add one, write a row in the file of its area. A row's function gives its kind; the default is
as it would stand in main.cf, so it may refer to others with ``$``. Names of Postfix keep
Postfix's meaning and default; our own say "Ours:". What no code reads yet goes into
``planned(…)``, what nothing here needs into ``accepted(…)``; a test compares that with the code.
Then run ``make docs``.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from gatewayd.config.parameters import bounce, general, queue, routing, smtp_client, smtpd
from gatewayd.config.parameters.elsewhere import NOTHING_TO_DO, POSTFIX_DEFAULTS, RAW
from gatewayd.config.parameters.parameter import Parameter, Support
from gatewayd.config.values import Kind

__all__ = ["AREAS", "PARAMETERS", "TRANSPORT_SUFFIXES", "Parameter", "Support"]

AREAS = (
    ("general", general.ROWS),
    ("SMTP server", smtpd.ROWS),
    ("routing", routing.ROWS),
    ("queue", queue.ROWS),
    ("SMTP client", smtp_client.ROWS),
    ("reports", bounce.ROWS),
)


def _joined(areas: Iterable[tuple[str, tuple[Parameter, ...]]]) -> dict[str, Parameter]:
    table: dict[str, Parameter] = {}
    for _, rows in areas:
        for row in rows:
            assert row.name not in table, f"{row.name} stands twice in the table"
            table[row.name] = row
    for name, default in POSTFIX_DEFAULTS.items():
        if name not in table:
            table[name] = _known(name, default)
    return table


def _known(name: str, default: str) -> Parameter:
    """The row of a name that only Postfix gives a meaning."""
    kind = Kind.RAW if name in RAW else Kind.TEXT
    if name in NOTHING_TO_DO:
        meaning, support = "Nothing here needs it.", Support.ACCEPTED
    else:
        meaning, support = "Not acted on yet.", Support.PLANNED
    return Parameter(name, kind, default, meaning, support=support)


PARAMETERS = MappingProxyType(_joined(AREAS))

TRANSPORT_SUFFIXES = MappingProxyType(
    {
        "initial_destination_concurrency": "initial_destination_concurrency",
        "time_limit": "command_time_limit",
        **{
            suffix: f"default_{suffix}"
            for suffix in (
                *("destination_concurrency_limit", "destination_concurrency_failed_cohort_limit"),
                "destination_slow_line_concurrency_limit",
                "destination_concurrency_positive_feedback",
                "destination_concurrency_negative_feedback",
                *("destination_recipient_limit", "destination_rate_delay", "transport_rate_delay"),
                *("recipient_limit", "extra_recipient_limit"),
                *("recipient_refill_limit", "recipient_refill_delay"),
                *("minimum_delivery_slots", "delivery_slot_cost"),
                *("delivery_slot_discount", "delivery_slot_loan"),
            )
        },
    }
)
"""``NAME_suffix`` for a transport NAME of master.cf, and the parameter it falls back to."""
