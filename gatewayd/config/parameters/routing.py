"""Address rewriting, address classes, and where mail goes."""

from gatewayd.config.parameters.parameter import flag, number, planned, text, words

ROWS = (
    words("relay_domains", "", "Domains that we take mail for from anybody, to pass on."),
    words("relay_recipient_maps", "", "Their valid recipients. Empty: not checked."),
    words("transport_maps", "", "Where mail for an address or domain goes: transport:nexthop."),
    text("relayhost", "", "The host that mail goes through unless a table says otherwise."),
    words("sender_dependent_relayhost_maps", "", "relayhost by sender."),
    words("sender_dependent_default_transport_maps", "", "default_transport by sender."),
    text("default_transport", "smtp", "The transport of mail for other people's domains.", 1),
    text("relay_transport", "relay", "The transport of mail for relay_domains.", 1),
    text("local_transport", "local:$myhostname", "The transport of mail for mydestination.", 1),
    text("virtual_transport", "virtual", "The transport of mail for virtual_mailbox_domains.", 1),
    words("virtual_alias_maps", "$virtual_maps", "Addresses that stand for others."),
    words("virtual_alias_domains", "$virtual_alias_maps", "Domains of virtual aliases only."),
    words("virtual_mailbox_maps", "", "Valid recipients of virtual_mailbox_domains."),
    words("virtual_mailbox_domains", "$virtual_mailbox_maps", "Domains of virtual mailboxes."),
    flag("swap_bangpath", "yes", "host!user, without a domain, is user@host."),
    flag("allow_percent_hack", "yes", "user%host, without a domain, is user@host."),
    flag("append_at_myorigin", "yes", "user is user@$myorigin."),
    flag("append_dot_mydomain", "no", "user@host is user@host.$mydomain."),
    flag("allow_min_user", "no", "Allow addresses that begin with a minus sign."),
    flag("resolve_dequoted_address", "yes", 'An @ in "quotes" is looked at, too.'),
    flag("resolve_null_domain", "no", "user@ is user@$myhostname, not an error."),
    flag("resolve_numeric_domain", "no", "user@1.2.3.4 is user@[1.2.3.4], not an error."),
    text("empty_address_recipient", "MAILER-DAEMON", "Who gets mail for the empty address.", 1),
    text("double_bounce_sender", "double-bounce", "The sender of notices that get no notice.", 1),
    *planned(
        words("canonical_maps", "", "Addresses as they should be written."),
        words("recipient_canonical_maps", "", "The same for recipients only."),
        words("sender_canonical_maps", "", "The same for senders only."),
        number("duplicate_filter_limit", "1000", "Recipients remembered to find doubles."),
    ),
)
