"""Reports to senders and to the postmaster."""

from gatewayd.config.parameters.parameter import number, planned, text, words

ROWS = (
    number("bounce_size_limit", "50000", "Octets of a message that a report carries along."),
    words(
        "notify_classes",
        "resource, software",
        "What the postmaster is told of; here bounce, 2bounce and delay count.",
    ),
    text("bounce_notice_recipient", "postmaster", "Who gets copies of bounces.", 1),
    text("2bounce_notice_recipient", "postmaster", "Who gets undeliverable bounces.", 1),
    text("delay_notice_recipient", "postmaster", "Who gets copies of delay notices.", 1),
    *planned(text("error_notice_recipient", "postmaster", "Who is told of trouble.", 1)),
)
