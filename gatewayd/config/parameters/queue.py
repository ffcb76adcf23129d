"""The queue: how long, how often, how many at a time."""

from gatewayd.config.parameters.parameter import (
    accepted,
    flag,
    number,
    planned,
    seconds,
    text,
    words,
)

ROWS = (
    seconds(
        "queue_run_delay",
        "300s",
        "How often deferred mail is looked through at the latest.",
        minimum=1,
    ),
    seconds("minimal_backoff_time", "300s", "The shortest wait between two attempts.", minimum=1),
    seconds("maximal_backoff_time", "4000s", "The longest wait between two attempts.", minimum=1),
    seconds("maximal_queue_lifetime", "5d", "How long mail is tried. 0: once.", unit="d"),
    seconds("bounce_queue_lifetime", "5d", "The same for reports.", unit="d"),
    seconds("delay_warning_time", "0h", "When the sender is told of a delay. 0: never.", unit="h"),
    words("defer_transports", "", "Transports whose mail waits for a flush."),
    words("fast_flush_domains", "$relay_domains", "Domains that ETRN and postqueue -s serve."),
    number("qmgr_message_active_limit", "20000", "Messages in memory at once.", minimum=1),
    number("qmgr_message_recipient_limit", "20000", "Their recipients in memory.", minimum=1),
    seconds("transport_retry_time", "60s", "How long a broken transport is left alone.", minimum=1),
    number("default_destination_concurrency_limit", "20", "Deliveries at once to one next hop."),
    number(
        "default_destination_slow_line_concurrency_limit",
        "45",
        "Ours: the same where an answer takes 0.4 seconds or more, as over a satellite, unless "
        "that limit, its positive feedback or a rate delay is set; 0: none more.",
    ),
    number("initial_destination_concurrency", "5", "How many to begin with.", minimum=1),
    text(
        "default_destination_concurrency_positive_feedback",
        "1",
        "How much a success adds to the concurrency: a number, or number / concurrency.",
    ),
    text(
        "default_destination_concurrency_negative_feedback",
        "1",
        "How much a failure takes from it.",
    ),
    number(
        "default_destination_concurrency_failed_cohort_limit",
        "1",
        "How often all deliveries at once must fail before a next hop is dead.",
    ),
    number("default_destination_recipient_limit", "50", "Recipients in one delivery."),
    seconds("default_destination_rate_delay", "0s", "The wait between deliveries to a next hop."),
    seconds("default_transport_rate_delay", "0s", "The wait between deliveries of a transport."),
    seconds("command_time_limit", "1000s", "How long a command of pipe may take."),
    flag("enable_long_queue_ids", "no", "Queue IDs that are never used again, and longer."),
    number("queue_minfree", "0", "Octets that must stay free on the queue's disk; 0: see below."),
    number("queue_reserve", "33554432", "Ours: free octets below which new mail gets 452."),
    number("queue_memory_limit", "33554432", "Ours: octets of contents kept for delivery at once."),
    number("queue_cache_size", "8388608", "Ours: octets of the database's page cache."),
    number(
        "queue_file_threshold",
        "262144",
        "Ours: larger contents lie in files of their own.",
    ),
    number("attempt_history_limit", "20", "Ours: attempts remembered for each recipient."),
    number("local_destination_concurrency_limit", "2", "Deliveries at once to one local user."),
    number("local_destination_recipient_limit", "1", "Recipients in one local delivery."),
    *planned(
        flag("confirm_delay_cleared", "no", "Tell the sender when delayed mail got through."),
    ),
    *accepted(
        seconds("fast_flush_refresh_time", "12h", "Needless: a site is an index look-up.", "h"),
        seconds("fast_flush_purge_time", "7d", "Needless: a site is an index look-up.", "d"),
        number("default_recipient_limit", "20000", "Needless: all transports share one window."),
        number("default_extra_recipient_limit", "1000", "Needless: destinations take turns."),
        number("default_minimum_delivery_slots", "3", "Needless: destinations take turns."),
        number("default_delivery_slot_cost", "5", "Needless: destinations take turns."),
        number("default_delivery_slot_discount", "50", "Needless: destinations take turns."),
        number("default_delivery_slot_loan", "3", "Needless: destinations take turns."),
    ),
)
