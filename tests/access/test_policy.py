"""The policy alone: what Postfix's dialogues don't show."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gatewayd.access.restriction import REGISTRY, Stage
from gatewayd.errors import ConfigError
from gatewayd.maillog import capture
from gatewayd.message import Route
from tests.access.asking import Asking, Flush, make_policy

_SETTINGS = {
    "mydestination": "gw.test",
    "relay_domains": "relay.test",
    "mynetworks": "192.0.2.0/24, [2001:db8::]/32",
    "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
}
_STRANGER = "198.51.100.7"


def _asking(address: str = _STRANGER, **settings: str) -> Asking:
    asking = Asking(make_policy(_SETTINGS | settings), address)
    asking.tell("EHLO me.test")
    asking.tell("MAIL FROM:<s@s.test>")
    return asking


def test_an_accepted_recipient_is_rewritten_and_routed() -> None:
    """What the queue stores: the address that is delivered to, with its route."""
    asking = _asking(transport_maps="inline:{relay.test=relay:[in.test]}")
    assert asking.tell('RCPT TO:<"u@relay.test"@GW.test>') == "250"
    assert asking.transaction is not None
    (recipient,) = asking.transaction.recipients
    assert str(recipient.address) == "u@relay.test"
    assert recipient.route == Route("relay", "[in.test]")


@pytest.mark.parametrize(
    ("address", "reply"),
    [
        ("192.0.2.1", "250"),
        ("2001:db8::1", "250"),
        (_STRANGER, "554 5.7.1 <u@far.test>: Relay access denied"),
        ("2001:db9::1", "554 5.7.1 <u@far.test>: Relay access denied"),
        ("::ffff:192.0.2.1", "250"),
        ("unknown", "554 5.7.1 <u@far.test>: Relay access denied"),
        ("", "554 5.7.1 <u@far.test>: Relay access denied"),
    ],
)
def test_only_trusted_networks_may_relay(address: str, reply: str) -> None:
    """IPv4 and IPv6, and nothing that merely looks alike."""
    assert _asking(address).tell("RCPT TO:<u@far.test>") == reply


def test_who_logged_in_may_relay_if_the_list_says_so() -> None:
    """permit_sasl_authenticated, once the session can authenticate."""
    restrictions = "permit_sasl_authenticated, reject_unauth_destination"
    asking = _asking(smtpd_relay_restrictions=restrictions)
    assert asking.tell("RCPT TO:<u@far.test>").startswith("554")
    asking.peer = replace(asking.peer, sasl_username="ann")
    assert asking.tell("RCPT TO:<u@far.test>") == "250"


def test_the_default_lists_keep_strangers_out() -> None:
    """Nothing configured but the network: deferred, as Postfix does."""
    asking = Asking(make_policy({"mynetworks": "192.0.2.1"}), _STRANGER)
    asking.tell("MAIL FROM:<s@s.test>")
    assert asking.tell("RCPT TO:<u@far.test>") == "454 4.7.1 <u@far.test>: Relay access denied"


@pytest.mark.parametrize(
    ("settings", "commands"),
    [
        ({"smtpd_client_restrictions": "reject", "smtpd_delay_reject": "no"}, ["connect"]),
        ({"smtpd_helo_restrictions": "reject", "smtpd_delay_reject": "no"}, ["EHLO x"]),
        ({"smtpd_data_restrictions": "reject"}, ["DATA"]),
        ({"smtpd_end_of_data_restrictions": "reject"}, ["end"]),
    ],
)
def test_each_list_is_asked_at_its_command(settings: dict[str, str], commands: list[str]) -> None:
    """And only there; the refusal names what it judges."""
    from tests.access.asking import answer

    policy = make_policy(_SETTINGS | settings)
    asking = Asking(policy, _STRANGER)
    replies = {"connect": asking.connect(), "EHLO x": asking.tell("EHLO x")}
    asking.tell("MAIL FROM:<s@s.test>")
    assert asking.tell("RCPT TO:<u@relay.test>") == "250"
    replies["DATA"] = asking.tell("DATA")
    assert asking.transaction is not None
    replies["end"] = str(answer(policy.end_of_data(asking.peer, asking.transaction, 9)) or "250")
    refused = [command for command, reply in replies.items() if reply.startswith("554 5.7.1 ")]
    assert refused == commands


@pytest.mark.parametrize(
    ("command", "subject"),
    [
        ("RCPT TO:<u@relay.test>", "<u@relay.test>"),
        ("VRFY u@relay.test", "<u@relay.test>"),
        ("ETRN relay.test", "<relay.test>"),
    ],
)
def test_a_table_that_fails_is_a_temporary_refusal(command: str, subject: str) -> None:
    """451 4.3.0, never "unknown user" nor "denied"; the log says which table."""
    asking = _asking(relay_domains="fail:down")
    with capture() as log:
        assert asking.tell(command) == f"451 4.3.0 {subject}: Temporary lookup failure"
    assert log == ["smtpd: warning: fail:down is unavailable: down"]


def test_a_recipient_table_that_fails_refuses_nobody_for_good() -> None:
    """relay_recipient_maps through a table that doesn't answer."""
    asking = _asking(relay_recipient_maps="fail:x")
    reply = asking.tell("RCPT TO:<u@relay.test>")
    assert reply == "451 4.3.0 <u@relay.test>: Temporary lookup failure"


def test_etrn_starts_delivery_for_eligible_sites_only() -> None:
    """Once for each that is eligible; trouble with the flush is 458."""
    flush = Flush()
    asking = Asking(make_policy(_SETTINGS, flush), _STRANGER)
    assert asking.tell("ETRN relay.test") == "250 Queuing started"
    assert asking.tell("ETRN far.test") == "459 <far.test>: service unavailable"
    assert asking.tell("ETRN Sub.Relay.Test") == "250 Queuing started"
    assert flush.sites == ["relay.test", "Sub.Relay.Test"]
    flush.works = False
    assert asking.tell("ETRN relay.test") == "458 Unable to queue messages"


def test_etrn_is_off_without_eligible_domains() -> None:
    """fast_flush_domains empty: all are refused, and nothing is flushed."""
    flush = Flush()
    asking = Asking(make_policy(_SETTINGS | {"fast_flush_domains": ""}, flush), _STRANGER)
    assert asking.tell("ETRN relay.test") == "459 <relay.test>: service unavailable"
    assert flush.sites == []


def test_warnings_are_logged_and_let_through() -> None:
    """warn_if_reject, in the layout of a refusal, for the next restriction only."""
    asking = _asking(smtpd_sender_restrictions="warn_if_reject reject, permit")
    with capture() as log:
        assert asking.tell("RCPT TO:<u@relay.test>") == "250"
    assert log == [
        "smtpd: NOQUEUE: reject_warning: RCPT from unknown[198.51.100.7]: 554 5.7.1 "
        "<s@s.test>: Sender address rejected: Access denied; "
        "from=<s@s.test> to=<u@relay.test> proto=ESMTP helo=<me.test>"
    ]
    asking = _asking(smtpd_sender_restrictions="warn_if_reject reject, reject")
    assert asking.tell("RCPT TO:<u@relay.test>").startswith("554 5.7.1 <s@s.test>")


def test_an_early_deferral_counts_at_the_recipient() -> None:
    """defer_if_permit in the client list, whether its refusals were delayed or not."""
    for delay in ("yes", "no"):
        asking = _asking(smtpd_client_restrictions="defer_if_permit", smtpd_delay_reject=delay)
        reply = asking.tell("RCPT TO:<u@relay.test>")
        assert reply.startswith("450 4.7.0 ")
        assert asking.tell("RCPT TO:<u@far.test>").startswith("554")


def test_deferrals_do_not_leak_from_one_recipient_to_the_next() -> None:
    """Each is judged anew."""
    asking = _asking(smtpd_recipient_restrictions="reject_non_fqdn_recipient, defer_if_permit")
    assert asking.tell("RCPT TO:<u@relay.test>").startswith("450")
    assert asking.tell("RCPT TO:<postmaster>") == "250"


def test_unlisted_senders_are_refused_if_asked_for() -> None:
    """smtpd_reject_unlisted_sender: last, and not for the null sender."""
    settings = {
        "smtpd_reject_unlisted_sender": "yes",
        "local_recipient_maps": "inline:{ann=x}",
    }
    asking = Asking(make_policy(_SETTINGS | settings), _STRANGER)
    for sender, code in (("nobody@gw.test", "550 5.1.0"), ("ann@gw.test", "250"), ("", "250")):
        asking.tell("RSET")
        asking.tell(f"MAIL FROM:<{sender}>")
        assert asking.tell("RCPT TO:<u@relay.test>").startswith(code)


def test_every_restriction_says_what_it_is() -> None:
    """The registry is what docs and the next developer go by."""
    for name, entry in REGISTRY.items():
        assert entry.build.__doc__, name
        assert entry.arguments == 0
    assert len({stage.subject for stage in Stage}) == len(Stage)


def test_all_lists_are_checked_at_the_start() -> None:
    """A wrong word in a list that is seldom asked is found, too."""
    for stage in ("client", "helo", "sender", "data", "end_of_data", "etrn"):
        with pytest.raises(ConfigError, match=f"smtpd_{stage}_restrictions: unknown"):
            make_policy(_SETTINGS | {f"smtpd_{stage}_restrictions": "permit, rejekt"})
