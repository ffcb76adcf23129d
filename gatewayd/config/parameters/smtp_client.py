"""The SMTP and LMTP client."""

from dataclasses import replace

from gatewayd.config.parameters.parameter import (
    Parameter,
    choice,
    flag,
    number,
    planned,
    seconds,
    text,
    words,
)


def _both(rows: tuple[Parameter, ...]) -> tuple[Parameter, ...]:
    """The smtp_… rows, and each again as lmtp_…."""
    lmtp = (
        replace(row, name=row.name.replace("smtp_", "lmtp_", 1), meaning=f"For LMTP: {row.meaning}")
        for row in rows
    )
    return (*rows, *lmtp)


ROWS = (
    *_both(
        (
            seconds("smtp_connect_timeout", "30s", "Time to connect to one host."),
            seconds("smtp_mail_timeout", "300s", "Time for the answer to MAIL FROM."),
            seconds("smtp_rcpt_timeout", "300s", "Time for the answer to RCPT TO."),
            seconds("smtp_data_init_timeout", "120s", "Time for the answer to DATA."),
            seconds("smtp_data_xfer_timeout", "180s", "Silence while content is sent."),
            seconds("smtp_data_done_timeout", "600s", "Time for the answer to the message's end."),
            seconds("smtp_rset_timeout", "20s", "Time for the answer to RSET."),
            seconds("smtp_quit_timeout", "300s", "Time for the answer to QUIT."),
            flag("smtp_skip_5xx_greeting", "yes", "Try the next host after a 5xx greeting."),
            number("smtp_mx_address_limit", "5", "Addresses tried in one delivery; 0: all."),
            number("smtp_mx_session_limit", "2", "Sessions begun in one delivery; 0: any."),
            flag("smtp_randomize_addresses", "yes", "Shuffle hosts of equal preference."),
            flag("smtp_defer_if_no_mx_address_found", "no", "Wait when no MX has an address."),
            words("smtp_host_lookup", "dns", "Where host names are looked up: dns, native."),
            choice(
                "smtp_dns_support_level",
                "",
                "Whether the DNS is used: enabled unless disable_dns_lookups says no.",
                ("", "disabled", "enabled", "dnssec"),
            ),
            text("smtp_bind_address", "", "The IPv4 address to connect from."),
            text("smtp_bind_address6", "", "The IPv6 address to connect from."),
            number("smtp_line_length_limit", "998", "Longer lines are folded; 0: never."),
            flag("smtp_connection_cache_on_demand", "yes", "Keep connections while mail waits."),
            seconds("smtp_connection_cache_time_limit", "2s", "How long an idle one is kept."),
            seconds("smtp_connection_reuse_time_limit", "300s", "How long one is used at all."),
            number("smtp_connection_reuse_count_limit", "0", "Messages over one; 0: any."),
        )
    ),
    flag("smtp_skip_quit_response", "yes", "Don't wait for the answer to QUIT."),
    flag("lmtp_skip_quit_response", "no", "For LMTP: Don't wait for the answer to QUIT."),
    words("smtp_discard_ehlo_keywords", "", "EHLO keywords of servers to ignore."),
    words("lmtp_discard_lhlo_keywords", "", "LHLO keywords of servers to ignore."),
    words("lmtp_discard_ehlo_keywords", "$lmtp_discard_lhlo_keywords", "Ours: the same."),
    seconds("smtp_helo_timeout", "300s", "Time for the greeting and the answer to EHLO."),
    seconds("lmtp_lhlo_timeout", "300s", "Time for the greeting and the answer to LHLO."),
    text("smtp_helo_name", "$myhostname", "The name given with EHLO.", 1),
    text("lmtp_lhlo_name", "$myhostname", "The name given with LHLO.", 1),
    text("lmtp_tcp_port", "24", "The port of LMTP unless one is given.", 1),
    text("smtp_tcp_port", "smtp", "The port of SMTP unless one is given.", 1),
    flag("smtp_always_send_ehlo", "yes", "Say EHLO whatever the greeting says."),
    flag("smtp_never_send_ehlo", "no", "Never say EHLO."),
    words("smtp_fallback_relay", "$fallback_relay", "Where mail goes when no host takes it."),
    flag("ignore_mx_lookup_error", "no", "Use the host's address when its MX can't be looked up."),
    flag("disable_dns_lookups", "no", "The old form of smtp_dns_support_level = disabled."),
    flag("disable_mime_output_conversion", "no", "Send 8-bit mail as it is to 7-bit hosts."),
    choice(
        "smtp_address_preference",
        "any",
        "Which address family is tried first.",
        ("any", "ipv4", "ipv6"),
    ),
    flag("smtp_balance_inet_protocols", "yes", "Give both address families a try."),
    words("smtp_dns_servers", "", "Ours: name servers to ask instead of resolv.conf's."),
    seconds("smtp_dns_timeout", "5s", "Ours: time for a name server's answer."),
    number("dns_cache_size", "10000", "Ours: answers of the DNS that are remembered."),
    flag("lmtp_assume_final", "no", "Report LMTP servers without DSN as delivered, not relayed."),
    *planned(
        *_both(
            (
                seconds("smtp_xforward_timeout", "300s", "Time for the answer to XFORWARD."),
                flag("smtp_send_dummy_mail_auth", "no", "Send AUTH=<> with MAIL FROM."),
                words("smtp_connection_cache_destinations", "", "Next hops to keep open always."),
            )
        ),
        words("best_mx_transport", "", "What becomes of mail for domains whose best MX we are."),
    ),
)
