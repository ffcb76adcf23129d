"""The same dialogues with our policy and with a real Postfix smtpd: the same answers."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.access.asking import Asking, make_policy
from tests.peers import eventually, free_port, listens
from tests.postfix import running

_COMMON = {
    "mydestination": "gw.test",
    "relay_domains": "relay.test, list.test",
    "relay_recipient_maps": "inline:{@relay.test=x,ok@list.test=x}",
    "local_recipient_maps": "inline:{bob=x}",
    "virtual_alias_domains": "alias.test",
    "virtual_mailbox_domains": "mbox.test",
    "virtual_mailbox_maps": "inline:{m@mbox.test=x}",
    "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
    "smtpd_peername_lookup": "no",
    "transport_maps": "inline:{{err@relay.test = error:5.2.1 it is gone}, ret@relay.test=retry:, "
    "err.relay.test=error:, disc@relay.test=discard:}",
    "fast_flush_domains": "relay.test",
}
_STRANGER = {"mynetworks": "192.0.2.0/24"}
_FOR_POSTFIX = {
    # No log: master can block on its own full log socket when it has many warnings.
    "maillog_file": "",
    "smtpd_error_sleep_time": "0",
    "smtpd_soft_error_limit": "1000",
    "smtpd_hard_error_limit": "1000",
    "smtpd_junk_command_limit": "1000",
}

_EARLY = [
    *("EHLO me", "MAIL FROM:<a@b.c>", "RCPT TO:<x@relay.test>", "RCPT TO:<postmaster>", "RSET"),
    *("ETRN relay.test", "VRFY bob@gw.test", "VRFY postmaster"),
]
_NAMES = [
    *("EHLO m_e", "MAIL FROM:<nobody@gw.test>", "RCPT TO:<x@relay.test>", "RSET"),
    *("HELO a..b", "MAIL FROM:<u>", "RCPT TO:<bob>", "RCPT TO:<x@far.test>", "RSET"),
    *("HELO me.test.", "MAIL FROM:<>", "RCPT TO:<ok@list.test>", "RCPT TO:<bob@gw>", "RSET"),
    *("HELO [127.0.0.1]", "MAIL FROM:<u@[127.0.0.1]>", "RCPT TO:<x@[127.0.0.1]>", "RSET"),
    *("HELO 127.0.0.1", "MAIL FROM:<u@x>", "RCPT TO:<bob@gw.test>", "RSET"),
    *("HELO a$b", "MAIL FROM:<u@x.test.>", "RCPT TO:<x@relay.test.>", "RCPT TO:<postmaster>"),
]
_RECIPIENTS = [
    *("EHLO me", "MAIL FROM:<a@b.c>"),
    *(
        f"RCPT TO:<{address}>"
        for address in [
            "x@far.test",
            "x@1.2.3.4",
            "nobody@gw.test",
            "bob@gw.test",
            "bob",
            "ok@list.test",
            "x@list.test",
            "ok+e@list.test",
            "m@mbox.test",
            "x@mbox.test",
            "x@alias.test",
            "err@relay.test",
            "ret@relay.test",
            "x@err.relay.test",
            "disc@relay.test",
            "postmaster",
            "PostMaster",
            "x@relay.test",
            "x@a.relay.test",
            "postmaster@gw.test",
            "double-bounce@gw.test",
            "-x@relay.test",
            "x@[127.0.0.1]",
            "x@[192.0.2.1]",
        ]
    ),
    *(
        "RSET",
        "MAIL FROM:<a@1.2.3>",
        "MAIL FROM:<a@b..c>",
        "MAIL FROM:<-a@b.c>",
        "MAIL FROM:<a@b>",
        "RSET",
    ),
    *("VRFY x@far.test", "VRFY bob@gw.test", "VRFY bob", "VRFY nobody@gw.test", "VRFY x@1.2.3"),
    *("ETRN relay.test", "ETRN far.test", "ETRN a.relay.test", "ETRN @relay.test"),
    *("ETRN #relay.test", "ETRN relay.test.", "ETRN [127.0.0.1]", "ETRN relay_.test"),
]
_RESTRICTIONS = (
    "permit",
    "reject",
    "defer",
    "defer_if_permit",
    "defer_if_reject, reject",
    "defer_if_reject",
    "warn_if_reject reject, reject_non_fqdn_sender",
    "PERMIT_auth_destination, reject",
    "permit_mynetworks, permit_sasl_authenticated, reject",
    "permit_inet_interfaces, reject",
    "reject_non_fqdn_recipient",
    "reject_invalid_helo_hostname",
    "reject_non_fqdn_helo_hostname",
    "reject_unlisted_sender",
    "reject_unlisted_recipient, reject",
    "defer_unauth_destination",
)

_DIALOGUES: dict[str, tuple[dict[str, str], list[str]]] = {
    "recipients": ({}, _RECIPIENTS),
    "trusted": ({"mynetworks": "127.0.0.0/8"}, _RECIPIENTS),
    "lists_off": ({"smtpd_reject_unlisted_recipient": "no"}, _RECIPIENTS),
    "routing_trusted": (
        {"allow_untrusted_routing": "yes"},
        ["EHLO me", "MAIL FROM:<a@b.c>", "RCPT TO:<u%far.test@relay.test>"],
    ),
    "codes": (
        {
            "relay_domains_reject_code": "550",
            "unknown_local_recipient_reject_code": "450",
            "reject_code": "521",
            "show_user_unknown_table_name": "no",
        },
        _RECIPIENTS,
    ),
    # Without its last ones, postmaster: it's taken by Postfix, which routes it later only.
    "tables_broken": ({"transport_maps": "fail:x"}, _RECIPIENTS[:17]),
    "lists_broken": ({"relay_recipient_maps": "fail:x"}, _RECIPIENTS[:20]),
    "domains_broken": ({"relay_domains": "fail:x"}, _RECIPIENTS[:6]),
    "recipient_first": (
        {
            "smtpd_relay_before_recipient_restrictions": "no",
            "smtpd_recipient_restrictions": "reject_non_fqdn_recipient",
        },
        _NAMES,
    ),
    **{
        f"recipient {names}": ({"smtpd_recipient_restrictions": names}, _NAMES)
        for names in _RESTRICTIONS
    },
    **{
        f"{stage} {delay}": (
            {f"smtpd_{stage}_restrictions": "reject", "smtpd_delay_reject": delay},
            _EARLY,
        )
        for stage in ("helo", "sender", "etrn")
        for delay in ("yes", "no")
    },
    "client": ({"smtpd_client_restrictions": "reject"}, _EARLY),
    "data": (
        {"smtpd_data_restrictions": "reject"},
        ["EHLO me", "MAIL FROM:<a@b.c>", "RCPT TO:<x@relay.test>", "DATA"],
    ),
    "bounce": (
        {"smtpd_data_restrictions": "reject_multi_recipient_bounce"},
        [
            *("EHLO me", "MAIL FROM:<>", "RCPT TO:<x@relay.test>", "RCPT TO:<y@relay.test>"),
            *("DATA", "RSET", "MAIL FROM:<a@b.c>", "RCPT TO:<x@relay.test>"),
        ],
    ),
}

_SUCCESS = ("2", "3")

# What trivial-rewrite reads is the same for all smtpd services of an instance.
_SHARED = ("transport_maps", "relay_domains", "show_user_unknown_table_name")


@dataclass(frozen=True)
class Service:
    """One smtpd of an instance, with parameters of its own."""

    port: int
    extra: dict[str, str]

    def __str__(self) -> str:
        overrides = "".join(f" -o {{ {name} = {value} }}" for name, value in self.extra.items())
        return f"127.0.0.1:{self.port} inet n - n - - smtpd{overrides}\n"


@pytest.fixture(scope="module")
def port_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], int]]:
    """The port of the smtpd that is configured as a dialogue needs it.

    An instance is started when the first dialogue asks for it, with an smtpd for each dialogue
    that shares its tables.
    """
    services: dict[str, Service] = {}
    with ExitStack() as stack:

        def get(name: str) -> int:
            if name not in services:
                shared = _shared(name)
                group = {
                    each: Service(free_port(), _STRANGER | extra)
                    for each, (extra, _) in _DIALOGUES.items()
                    if _shared(each) == shared
                }
                settings = _COMMON | _FOR_POSTFIX | shared
                lines = "".join(str(service) for service in group.values())
                root = tmp_path_factory.mktemp("access")
                stack.enter_context(running(root, settings, lines))
                services.update(group)
            return services[name].port

        yield get


def _shared(name: str) -> dict[str, str]:
    extra, _ = _DIALOGUES[name]
    return {key: extra[key] for key in _SHARED if key in extra}


def _dialogue(port: int, commands: list[str]) -> list[str]:
    """The replies to each command; of many lines only the last."""
    replies = []
    eventually(lambda: listens(port), "smtpd listening")
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        stream = connection.makefile("rb")
        _reply(stream)
        for command in commands:
            connection.sendall(command.encode() + b"\r\n")
            replies.append(_reply(stream))
    return replies


def _reply(stream) -> str:  # type: ignore[no-untyped-def]
    line: bytes = stream.readline()
    while line[3:4] == b"-":
        line = stream.readline()
    return line.decode().strip()


def _comparable(command: str, reply: str) -> str:
    """A success is compared by its code: its text is the session's, but for ETRN's and VRFY's."""
    if reply[:1] in _SUCCESS and command[:4] not in ("ETRN", "VRFY"):
        return reply[:3]
    return reply


@pytest.mark.parametrize("name", _DIALOGUES)
def test_answers_as_postfix_does(port_of: Callable[[str], int], name: str) -> None:
    """Codes, status codes and texts are the same, command by command."""
    extra, commands = _DIALOGUES[name]
    theirs = _dialogue(port_of(name), commands)
    asking = Asking(make_policy(_COMMON | _STRANGER | extra))
    ours = [asking.tell(command) for command in commands]
    different = [
        f"{command}: {our} | Postfix: {their}"
        for command, our, their in zip(commands, ours, theirs, strict=True)
        if _comparable(command, our) != _comparable(command, their)
    ]
    assert not different
