"""Never an open relay, by no form of address (security.md 1.7, G11): against a real Postfix."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from gatewayd.access.policy import Policy
from gatewayd.errors import ConfigError
from gatewayd.message import Origin, Recipient
from gatewayd.smtp.grammar import CommandError, forward_path
from gatewayd.smtp.ports import Transaction
from gatewayd.status import Reply
from tests.access.asking import Asking, answer, make_policy
from tests.peers import eventually, free_port, listens
from tests.postfix import running

_SETTINGS = {
    "mydestination": "gw.test, localhost",
    "relay_domains": "relay.test",
    "virtual_mailbox_domains": "mbox.test",
    "virtual_alias_domains": "alias.test",
    "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
    "local_recipient_maps": "",
}
_STRANGER = {"mynetworks": "192.0.2.0/24"}
_FOR_POSTFIX = " -o ".join(
    (
        "",
        "mynetworks=192.0.2.0/24",
        "smtpd_error_sleep_time=0",
        "smtpd_soft_error_limit=9999",
        "smtpd_hard_error_limit=9999",
        "smtpd_peername_lookup=no",
    )
)
_OURS = frozenset(
    ("gw.test", "localhost", "relay.test", "mbox.test", "[127.0.0.1]", "postfix.test")
)

_OPERATORS = (
    "{u}%{far}@{ours}",
    "{far}!{u}@{ours}",
    '"{u}@{far}"@{ours}',
    '"{u}%{far}"@{ours}',
    '"{far}!{u}"@{ours}',
    "{u}@{far}@{ours}",
    "{u}%{far}%{ours}@{ours}",
    "{ours}!{far}!{u}@{ours}",
    "{far}!{u}%{ours}@{ours}",
    "@{ours}:{u}@{far}",
    "@{ours},@{far}:{u}@{far}",
    '"@{ours}:{u}@{far}"@{ours}',
    '"{u}@{far}"%{ours}@{ours}',
    '"{u}\\@{far}"@{ours}',
)
_FORMS = (
    *(
        form.format(u="u", far="far.test", ours=ours)
        for ours in ("gw.test", "relay.test", "mbox.test", "[127.0.0.1]")
        for form in _OPERATORS
    ),
    "u@far.test",
    "u@FAR.test",
    "u@far.test.",
    "u@[192.0.2.1]",
    "u@[IPv6:2001:db8::1]",
    "u@[::ffff:192.0.2.1]",
    "u@192.0.2.1",
    "u%far.test",
    "far.test!u",
    "far!test!u",
    '"u@far.test"',
    '"u%far.test"',
    "u@relay.test.far.test",
    "u@relay.test..",
    "u@.relay.test",
    "u@-relay.test",
    "u@relay.test,u@far.test",
    "u@relay.test u@far.test",
    "u@relay.test>,<u@far.test",
    "u@far.test(u@relay.test)",
    "u(@relay.test)@far.test",
    "u@relay.test%far.test",
    "u@relay.test\x00.far.test",
    "u@relay.test\x7f",
    "u@\u212aelay.test",
    "u@relay\u3002test",
    "u@relay.test\u200b",
    "-oQ/tmp@relay.test",
    "|/bin/true@relay.test",
    '"|/bin/true"@relay.test',
    "u@",
    "@relay.test",
    "@",
    "",
    '""@relay.test',
    "u@[relay.test]",
    "u@[127.0.0.1",
    "u@127.0.0.1",
    "u%[192.0.2.1]@gw.test",
    "u%192.0.2.1@gw.test",
    "u@x.relay.test",
    "u@relay.test",
    "u@gw.test",
    "u",
    "postmaster",
    "postmaster%far.test",
    "u%relay.test@gw.test",
    "relay.test!u@gw.test",
    '"u@relay.test"@gw.test',
    "u@alias.test",
    "u+%far.test@relay.test",
)


@pytest.fixture(scope="module")
def policy() -> Policy:
    return make_policy(_SETTINGS | _STRANGER)


@pytest.fixture(scope="module")
def replies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What Postfix answers to a stranger's RCPT, by form; those that no line can carry left out."""
    port = free_port()
    service = f"127.0.0.1:{port} inet n - n - - smtpd{_FOR_POSTFIX}\n"
    found = {}
    # No log: master can block on its own full log socket when it has many warnings.
    settings = _SETTINGS | {"maillog_file": ""}
    with running(tmp_path_factory.mktemp("relay"), settings, service):
        eventually(lambda: listens(port), "smtpd listening")
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            stream = connection.makefile("rb")
            stream.readline()
            for command in ("HELO stranger", "MAIL FROM:<a@b.test>"):
                connection.sendall(command.encode() + b"\r\n")
                stream.readline()
            for form in _FORMS:
                connection.sendall(f"RCPT TO:<{form}>\r\n".encode())
                found[form] = stream.readline().decode(errors="replace").strip()
        yield found


def _ours(policy: Policy, form: str) -> Reply | Recipient | str:
    peer = Origin(protocol="ESMTP", client_name="unknown", client_address="127.0.0.1")
    try:
        address, _ = forward_path(f"TO:<{form}>")
    except CommandError as error:
        return error.reply
    transaction = Transaction(forward_path("TO:<a@b.test>")[0])
    return answer(policy.recipient(peer, transaction, address))


@pytest.mark.parametrize("form", _FORMS)
def test_a_stranger_reaches_only_us(policy: Policy, replies: dict[str, str], form: str) -> None:
    """What is accepted goes to one of our domains; what Postfix refuses, we refuse."""
    theirs = replies[form]
    ours = _ours(policy, form)
    if isinstance(ours, Recipient):
        domain = ours.address.domain.lower()
        assert domain in _OURS or domain.endswith(".relay.test")
        assert not set(ours.address.local) & set("@!%")
        assert theirs.startswith("250"), theirs
    else:
        assert str(ours)[0] in "45"
        assert (theirs[0] in "45") is (form not in _STRICTER), theirs


# Taken by Postfix and not here: each reaches only our own domains there, too.
_STRICTER = (
    "@relay.test",
    '""@relay.test',
    "u@[127.0.0.1",
)


def test_both_accept_and_both_refuse_enough(replies: dict[str, str], policy: Policy) -> None:
    """The table would notice a server that refuses everything."""
    accepted = [form for form in _FORMS if replies[form].startswith("250")]
    assert len(accepted) >= 10
    assert len(_FORMS) - len(accepted) >= 60
    ours = [form for form in _FORMS if isinstance(_ours(policy, form), Recipient)]
    assert len(ours) >= 9


@pytest.mark.parametrize(
    "settings",
    [
        {"smtpd_relay_restrictions": ""},
        {"smtpd_relay_restrictions": "permit_mynetworks"},
        {"smtpd_relay_restrictions": "permit_mynetworks, permit, reject_unauth_destination"},
        {"smtpd_relay_restrictions": "warn_if_reject reject_unauth_destination"},
        {"smtpd_relay_restrictions": "", "smtpd_client_restrictions": "reject"},
        {"smtpd_relay_restrictions": "reject_non_fqdn_recipient"},
    ],
)
def test_a_configuration_that_relays_for_anybody_is_refused(settings: dict[str, str]) -> None:
    """There must be a guard that is reached and refuses in earnest."""
    with pytest.raises(ConfigError, match=r"smtpd_relay_restrictions: this would be an open relay"):
        make_policy(_SETTINGS | settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"smtpd_relay_restrictions": "permit_mynetworks, REJECT_UNAUTH_DESTINATION"},
        {"smtpd_relay_restrictions": "", "smtpd_recipient_restrictions": "reject"},
        {
            "smtpd_relay_restrictions": "permit",
            "smtpd_recipient_restrictions": "permit_mynetworks, defer_unauth_destination",
        },
    ],
)
def test_a_guard_in_either_list_will_do(settings: dict[str, str]) -> None:
    """In any case of letters."""
    policy = make_policy(_SETTINGS | _STRANGER | settings)
    asking = Asking(policy)
    asking.tell("MAIL FROM:<a@b.test>")
    assert asking.tell("RCPT TO:<u@far.test>")[0] in "45"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("reject_unauth_destinations", r"unknown restriction .*did you mean reject_unauth_dest"),
        ("frobnicate", r"unknown restriction \"frobnicate\"\Z"),
        ("reject_rbl_client zen.example", r"reject_rbl_client is not supported yet"),
        ("check_client_mx_access hash:/x", r"check_client_mx_access is not supported yet"),
    ],
)
def test_an_unknown_restriction_is_an_error_with_its_place(value: str, text: str) -> None:
    """File, line, parameter and the nearest name: never skipped."""
    settings = _SETTINGS | {"smtpd_recipient_restrictions": value}
    line = list(settings).index("smtpd_recipient_restrictions") + 1
    with pytest.raises(ConfigError, match=rf"main.cf:{line}: smtpd_recipient_restrictions: {text}"):
        make_policy(settings)
