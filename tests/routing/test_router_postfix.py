"""Every address form and every kind of route: our answer and that of a real Postfix."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gatewayd.address import NULL, parse_address
from gatewayd.config.load import make_settings
from gatewayd.config.main_cf import Assignment
from gatewayd.errors import AddressSyntaxError
from gatewayd.routing.rewrite import strip_source_route
from gatewayd.routing.router import Resolution, Router
from tests.postfix import Postfix, running
from tests.routing.trivial_rewrite import resolve

_TRANSPORT = """\
relay.test relay:[in.test]:2525
.far.test slow:
u@far.test :[x.test]
bob@relay.test error:5.2.1 gone
deep.a.far.test :
hold.test retry:4.2.1 later
retry.test retry:
err.test error:
d.test discard:
CASE.test smtp:[Case.Test]
nexthop.test other
a+b@ext.test one:1
a@ext.test two:2
"q p"@q.test three:3
[10.1.1.1] five:5
mbox.test lmtp:unix:x
sp.test smtp : [h]
.test2 top:
test3 plain:
2bad@far.test x y:z
@gw.test never:
bob never:
bob@ never:
. never:
deep.alias.test :x
alias.test never:
gw.test :lh
"""
_STAR = "* star:x\nexempt.test :\n"

_PLAIN = {
    "myhostname": "gw.test",
    "mydomain": "test",
    "myorigin": "gw.test",
    "mydestination": "gw.test, localhost.test, .sub.test",
    "relay_domains": "relay.test, inline:{tab.test=x}",
    "virtual_alias_domains": "alias.test",
    "virtual_mailbox_domains": "mbox.test",
    "recipient_delimiter": "+",
    "transport_maps": "texthash:TRANSPORT",
    "inet_interfaces": "127.0.0.1",
}
_CONFIGURATIONS = {
    "plain": _PLAIN,
    "by_sender": _PLAIN
    | {
        "relayhost": "[smart.test]:587",
        "sender_dependent_relayhost_maps": "inline:{@s.test=[srelay.test],<>=[null.test],"
        "x@dunno.test=DUNNO,y+e@s2.test=[a],y@s2.test=[b],loc=[l]}",
        "sender_dependent_default_transport_maps": "inline:{@t.test=tt:,@u.test=uu:[v]}",
        "local_transport": "lmtp:unix:/l",
        "relay_transport": "rr:[rn]",
        "default_transport": "dd:",
        "virtual_transport": "vv",
        "swap_bangpath": "no",
        "allow_percent_hack": "no",
        "parent_domain_matches_subdomains": "transport_maps",
        "append_dot_mydomain": "yes",
    },
    "lenient": _PLAIN
    | {
        "resolve_dequoted_address": "no",
        "resolve_numeric_domain": "yes",
        "resolve_null_domain": "yes",
        "allow_min_user": "yes",
        "transport_maps": "texthash:STAR",
        "relayhost": "rh.test",
    },
}

_FORMS = (
    "u@a.test3",
    "u@test3",
    "2bad@far.test",
    "bob",
    "bob@gw.test",
    "bob@GW.Test",
    "bob@x.sub.test",
    "bob@sub.test",
    "bob@relay.test",
    "joe@relay.test",
    "bob+x@relay.test",
    "bob@a.relay.test",
    "bob@.relay.test",
    "bob@tab.test",
    "bob@a.tab.test",
    "v@alias.test",
    "v@a.alias.test",
    "m@mbox.test",
    "m@a.mbox.test",
    "u@far.test",
    "w@far.test",
    "w@a.far.test",
    "w@b.a.far.test",
    "w@deep.a.far.test",
    "x@hold.test",
    "x@retry.test",
    "x@err.test",
    "x@d.test",
    "x@case.TEST",
    "x@nexthop.test",
    "a+b@ext.test",
    "a+c@ext.test",
    "a@ext.test",
    "+x@ext.test",
    '"q p"@q.test',
    '"q p2"@q.test',
    "u@[10.1.1.1]",
    "u@[127.0.0.1]",
    "u@[127.0.0.2]",
    "u@[IPv6:::1]",
    "u@[ipv6:2001:db8::1]",
    "u@[2001:db8::1]",
    "u@[text]",
    "u@10.1.1.1",
    "u@127.0.0.1",
    "u@123",
    "u@1a",
    "u%far.test@gw.test",
    "u%far.test@relay.test",
    "u%far.test",
    "far.test!u@gw.test",
    "far.test!u",
    "a!b!u",
    "far.test!u@relay.test",
    '"u@far.test"@gw.test',
    '"u@far.test"@relay.test',
    '"u@far.test"',
    '"u@far.test"@mbox.test',
    "u%gw.test@gw.test",
    "u%far.test%gw.test@gw.test",
    "u@far.test.",
    "u@gw.test.",
    "u@far..test",
    "u@-far.test",
    "u@far-.test",
    "u@far_x.test",
    "u@_far.test",
    "u-x@far.test",
    "u@host",
    "u@localhost",
    "u!@gw.test",
    "!u@gw.test",
    "%x@gw.test",
    "u%@gw.test",
    '"u@"@gw.test',
    '"a%b"@gw.test',
    '"a!b"@gw.test',
    "@a.test,@b.test:u@far.test",
    "@far.test:u@gw.test",
    "@gw.test:u@relay.test",
    "x@y.test2",
    "x@test2",
    "u@sp.test",
    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz@far.test",
    "u@abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklm.test",
    "u@abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk.test",
    '"\\""@relay.test',
    '"a b"@gw.test',
    "u@exempt.test",
    "postmaster",
    "double-bounce@gw.test",
    "MAILER-DAEMON",
    "a.@far.test",
    ".a@far.test",
    "a..b@far.test",
    "u@far.test%gw.test",
    '"u%far.test"@gw.test',
    '"u%x"@relay.test',
    "u%relay.test@gw.test",
    "relay.test!u%far.test@gw.test",
    "u%far.test@localhost.test",
    "u@xn--bcher-kva.test",
    "u@bücher.test",
    "ü@far.test",
)

_SENDERS = (
    "",
    "x@s.test",
    "x@dunno.test",
    "y+e@s2.test",
    "y+f@s2.test",
    "loc@gw.test",
    "q@t.test",
    "q@u.test",
)
_FORMS_BY_SENDER = (
    "bob@relay.test",
    "joe@relay.test",
    "u@abc.test",
    "u@[10.1.1.2]",
    "bob",
    "m@mbox.test",
    "u@localhost",
    "v@alias.test",
)

_STRICTER = (
    # Postfix drops a source route inside quotes, or delivers to a local part that begins with
    # "@", or to none. These have no honest use.
    '"@far.test"@gw.test',
    '"@a.test,@b.test:u"@gw.test',
    '""@gw.test',
    '""@far.test',
    '"@a:u@far.test"@gw.test',
    # Postfix refuses these in smtpd and qmgr rather than in its resolver.
    "-u@far.test",
    "-u@gw.test",
)


@dataclass
class Pair:
    """The same configuration, in Postfix and here."""

    postfix: Postfix
    router: Router


def answer(coroutine: Coroutine[Any, Any, Resolution]) -> Resolution:
    """The result of a coroutine that has no reason to wait."""
    with pytest.raises(StopIteration) as stopped:
        coroutine.send(None)
    return stopped.value.value  # type: ignore[no-any-return]


def _router(configuration: dict[str, str]) -> Router:
    assignments = {n: Assignment(n, v, "main.cf", 1) for n, v in configuration.items()}
    settings = make_settings("/nowhere", assignments, "gw.test")
    return Router.from_settings(settings, ["127.0.0.1"])


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Pair]]:
    """Gives the pair of a named configuration, started when it's first asked for."""
    started: dict[str, Pair] = {}
    stack = []

    def get(name: str) -> Pair:
        if name not in started:
            root = tmp_path_factory.mktemp(name)
            configuration = _written(root, _CONFIGURATIONS[name])
            # No log: master can block on its own full log socket when it has many warnings.
            stack.append(running(root, configuration | {"maillog_file": ""}))
            started[name] = Pair(stack[-1].__enter__(), _router(configuration))
        return started[name]

    yield get
    for context in reversed(stack):
        context.__exit__(None, None, None)


def _written(root: Path, configuration: dict[str, str]) -> dict[str, str]:
    """With the tables' files in place."""
    for name, text in (("TRANSPORT", _TRANSPORT), ("STAR", _STAR)):
        (root / name).write_text(text)
        reference = configuration["transport_maps"].replace(name, str(root / name))
        configuration = configuration | {"transport_maps": reference}
    return configuration


def _check(pair: Pair, form: str, sender: str = "") -> None:
    theirs = resolve(pair.postfix, form, sender)
    recipient = parse_address(strip_source_route(form))
    ours = answer(pair.router.resolve(recipient, parse_address(sender)))
    assert not theirs.failed
    assert (ours.error is not None) == theirs.error
    if not theirs.error:
        assert (
            ours.address.internal,
            ours.route.transport,
            ours.route.nexthop,
            ours.address_class,
            ours.routed,
        ) == (
            theirs.recipient,
            theirs.transport,
            theirs.nexthop,
            theirs.address_class,
            theirs.routed,
        )


@pytest.mark.parametrize("name", _CONFIGURATIONS)
@pytest.mark.parametrize("form", _FORMS)
def test_resolves_as_postfix_does(pair: Callable[[str], Pair], name: str, form: str) -> None:
    """Address, class, transport, next hop and the routed flag are the same."""
    _check(pair(name), form)


@pytest.mark.parametrize("sender", _SENDERS)
@pytest.mark.parametrize("form", _FORMS_BY_SENDER)
def test_routes_by_sender_as_postfix_does(
    pair: Callable[[str], Pair], form: str, sender: str
) -> None:
    """Sender-dependent relayhost and default transport give the same route."""
    _check(pair("by_sender"), form, sender)


@pytest.mark.parametrize("form", _STRICTER)
def test_is_stricter_than_postfix_on_purpose(form: str) -> None:
    """These are malformed here, whatever they are elsewhere."""
    router = _router(_PLAIN | {"transport_maps": ""})
    try:
        recipient = parse_address(form)
    except AddressSyntaxError:
        return
    assert answer(router.resolve(recipient, NULL)).error == ("5.1.3", "bad address syntax")
