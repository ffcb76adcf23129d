"""From next hops to servers, by a name service that is a dictionary (postfix.md §7)."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from random import Random

import pytest
from twisted.internet.defer import Deferred

from gatewayd.config.load import make_settings
from gatewayd.config.main_cf import parse
from gatewayd.config.settings import Settings
from gatewayd.errors import ConfigError, GatewayError, NexthopUnavailable
from gatewayd.maillog import capture
from gatewayd.routing.dns import NoData, NoSuchDomain, TemporaryFailure
from gatewayd.routing.hosts import Hosts, HostSettings, NexthopRefused, Server, own_addresses
from gatewayd.routing.hosts.own_addresses import machine_addresses
from gatewayd.routing.mx import MxRecord

_Found = list[str] | GatewayError


class Names:
    """A name service of fixed answers; what it doesn't know doesn't exist."""

    def __init__(self, mx: dict[str, object], addresses: dict[str, _Found]) -> None:
        self._mx = mx
        self._addresses = addresses
        self.asked: list[str] = []

    async def mx(self, domain: str) -> tuple[MxRecord, ...]:
        self.asked.append(f"MX {domain}")
        answer = self._mx.get(domain)
        if isinstance(answer, GatewayError):
            raise answer
        if answer is None:
            raise NoData(domain) if domain in self._addresses else NoSuchDomain(domain)
        return tuple(MxRecord(*row) for row in answer)  # type: ignore[attr-defined]

    async def addresses(self, host: str, families: Sequence[str]) -> tuple[str, ...]:
        self.asked.append(f"A {host}")
        answer = self._addresses.get(host, NoSuchDomain(host))
        if isinstance(answer, GatewayError):
            raise answer
        found = [a for a in answer if ("ipv6" if ":" in a else "ipv4") in families]
        if not found:
            raise NoData(host)
        return tuple(found)


OWN = frozenset({"192.0.2.25"})
LATER = TemporaryFailure("SERVFAIL")
MX = {
    "plain.test": [(20, "b.test"), (10, "a.test")],
    "null.test": [(0, "")],
    "later.test": LATER,
    "backup.test": [(10, "a.test"), (20, "us.test"), (30, "b.test")],
    "ours.test": [(10, "us.test"), (20, "b.test")],
    "hidden.test": [(10, "gone.test"), (20, "us.test")],
    "empty.test": [(10, "gone.test"), (20, "none.test")],
    "partly.test": [(10, "gone.test"), (20, "slow.test")],
    "one-slow.test": [(10, "slow.test"), (20, "b.test")],
    "many.test": [(n, f"m{n}.test") for n in range(200)],
    "inward.test": [(10, "loopback.test")],
}
ADDRESSES: dict[str, _Found] = {
    "a.test": ["198.51.100.1"],
    "b.test": ["198.51.100.2", "2001:db8::2"],
    "us.test": ["192.0.2.25"],
    "slow.test": LATER,
    "none.test": NoData("none"),
    "loopback.test": ["127.0.0.2"],
    **{f"m{n}.test": [f"198.51.100.{n % 250 + 1}"] for n in range(200)},
}


def make(
    settings: HostSettings | None = None, files: dict[str, tuple[str, ...]] | None = None
) -> tuple[Hosts, Names]:
    names = Names(dict(MX), dict(ADDRESSES))
    chosen = settings or HostSettings(own=OWN, randomize=False)
    return Hosts(chosen, names, Random(1), lambda host, _: (files or {}).get(host, ())), names


def result_of(hosts: Hosts, nexthop: str) -> object:
    """Servers, or what was raised."""
    results: list[object] = []
    waiting = Deferred.fromCoroutine(hosts.servers(nexthop))
    waiting.addCallbacks(results.append, lambda failure: results.append(failure.value))
    assert results, "the look-up didn't end"
    return results[0]


def addresses(nexthop: str, settings: HostSettings | None = None) -> list[tuple[str, int]]:
    found = result_of(make(settings)[0], nexthop)
    assert isinstance(found, tuple), found
    return [(server.address, server.port) for server in found]


def test_by_mx() -> None:
    """MX hosts by preference, with all their addresses."""
    found = result_of(make()[0], "plain.test")
    assert found == (
        Server("a.test", "198.51.100.1", 25, best_mx=True),
        Server("b.test", "198.51.100.2", 25, best_mx=False),
        Server("b.test", "2001:db8::2", 25, best_mx=False),
    )


def test_without_mx() -> None:
    """A domain without MX records is its own mail host; brackets don't ask for any."""
    assert addresses("a.test") == [("198.51.100.1", 25)]
    hosts, names = make()
    result_of(hosts, "[a.test]:26")
    assert names.asked == ["A a.test"]
    assert addresses("[a.test]:26") == [("198.51.100.1", 26)]


def test_literals() -> None:
    """Addresses are taken as they are."""
    assert addresses("[203.0.113.1]:2525") == [("203.0.113.1", 2525)]
    assert addresses("[ipv6:2001:db8::9]") == [("2001:db8::9", 25)]


def test_several() -> None:
    """A list's members follow one another; one that fails is no matter."""
    assert addresses("null.test, a.test:26 [b.test]") == [
        ("198.51.100.1", 26),
        ("198.51.100.2", 25),
        ("2001:db8::2", 25),
    ]


def test_families() -> None:
    """inet_protocols decides."""
    settings = HostSettings(families=("ipv6",), randomize=False)
    assert addresses("plain.test", settings) == [("2001:db8::2", 25)]


def test_lmtp() -> None:
    """LMTP asks for no MX, and knows sockets, whose other end has our name."""
    settings = HostSettings(
        lmtp=True, use_mx=False, default_port="lmtp", own=OWN, myhostname="us.test"
    )
    hosts, names = make(settings)
    assert addresses("inet:a.test", settings) == [("198.51.100.1", 24)]
    (server,) = result_of(hosts, "unix:/run/lmtp")  # type: ignore[misc]
    assert (server.address, server.is_unix, server.family) == ("/run/lmtp", True, socket.AF_UNIX)
    assert server.name == "us.test"
    assert names.asked == []


@pytest.mark.parametrize(
    ("nexthop", "status", "text"),
    [
        ("nowhere.test", "5.4.4", "Host not found"),
        ("[nowhere.test]", "5.4.4", "name=nowhere.test type=AAAA: Host not found"),
        ("[none.test]", "5.4.4", "no data record"),
        ("null.test", "5.1.0", "Domain null.test does not accept mail (nullMX)"),
        ("empty.test", "5.4.4", "empty.test"),
        ("ours.test", "5.4.6", "mail for ours.test loops back to myself"),
        ("us.test", "5.4.6", "mail for us.test loops back to myself"),
        ("[us.test]", "5.4.6", "mail for us.test loops back to myself"),
        ("[192.0.2.25]", "5.4.6", "mail for 192.0.2.25 loops back to myself"),
        ("[::ffff:192.0.2.25]", "5.4.6", "loops back to myself"),
        ("inward.test", "5.4.6", "loops back to myself"),
    ],
)
def test_refused(nexthop: str, status: str, text: str) -> None:
    """What no waiting can mend."""
    error = result_of(make()[0], nexthop)
    assert isinstance(error, NexthopRefused)
    assert error.status == status
    assert text in error.text
    assert error.is_loop == (status == "5.4.6")


@pytest.mark.parametrize(
    ("nexthop", "status", "text"),
    [
        ("later.test", "4.4.3", "name=later.test type=MX: Host not found, try again"),
        ("[slow.test]", "4.4.3", "try again"),
        ("partly.test", "4.4.3", "try again"),
        ("hidden.test", "4.4.4", "unable to find primary relay for hidden.test"),
        ("a.test:no-such-service", "4.3.5", "unknown service"),
        ("a.test:99999", "4.3.5", "unknown service"),
        ("[", "4.3.5", "bad next hop"),
        ("null.test later.test", "4.4.3", "try again"),
    ],
)
def test_unavailable(nexthop: str, status: str, text: str) -> None:
    """What may be otherwise later."""
    error = result_of(make()[0], nexthop)
    assert isinstance(error, NexthopUnavailable)
    assert error.status == status
    assert text in error.text


def test_backup_mx() -> None:
    """We are a backup: only better hosts are tried, and no fallback relay."""
    settings = HostSettings(own=OWN, fallback=("[b.test]",))
    assert addresses("backup.test", settings) == [("198.51.100.1", 25)]


def test_other_port() -> None:
    """Another port than 25 is somebody's deliberate set-up: no loop."""
    assert ("192.0.2.25", 26) in addresses("ours.test:26")
    assert addresses("[192.0.2.25]:26") == [("192.0.2.25", 26)]


def test_one_host_slow() -> None:
    """An MX host that can't be looked up now doesn't hide the others."""
    assert addresses("one-slow.test") == [("198.51.100.2", 25), ("2001:db8::2", 25)]


def test_hundreds_of_mx() -> None:
    """However many there are, look-ups and addresses are bounded."""
    hosts, names = make()
    found = result_of(hosts, "many.test")
    assert isinstance(found, tuple)
    assert [server.name for server in found] == [f"m{n}.test" for n in range(5)]
    assert len(names.asked) <= 51


def test_fallback() -> None:
    """smtp_fallback_relay comes last, also when the destination doesn't exist; not for loops."""
    settings = HostSettings(own=OWN, fallback=("[b.test]:26",), randomize=False)
    found = result_of(make(settings)[0], "a.test")
    assert isinstance(found, tuple)
    assert [(s.address, s.fallback) for s in found] == [
        ("198.51.100.1", False),
        ("198.51.100.2", True),
        ("2001:db8::2", True),
    ]
    assert len(addresses("nowhere.test", settings)) == 2
    assert isinstance(result_of(make(settings)[0], "ours.test"), NexthopRefused)


def test_fallback_that_fails() -> None:
    """A fallback relay that isn't there is told to the administrator, and changes nothing else."""
    settings = HostSettings(own=OWN, fallback=("[nowhere.test]",))
    with capture() as lines:
        assert addresses("a.test", settings) == [("198.51.100.1", 25)]
    assert "smtp_fallback_relay configuration problem" in str(lines)


def test_relayhost() -> None:
    """A wrong relayhost is the administrator's mistake: mail waits."""
    settings = HostSettings(own=OWN, relayhost="[nowhere.test]")
    with capture() as lines:
        error = result_of(make(settings)[0], "[nowhere.test]")
    assert isinstance(error, NexthopUnavailable)
    assert (error.status, error.text) == ("4.3.5", "Server configuration error")
    assert "relayhost configuration problem" in str(lines)


def test_defer_without_address() -> None:
    """smtp_defer_if_no_mx_address_found, and ignore_mx_lookup_error."""
    settings = HostSettings(own=OWN, defer_if_no_address=True)
    error = result_of(make(settings)[0], "empty.test")
    assert isinstance(error, NexthopUnavailable)
    hosts, names = make(HostSettings(own=OWN, ignore_mx_error=True))
    names._addresses["later.test"] = ["198.51.100.9"]
    assert isinstance(result_of(hosts, "later.test"), tuple)


def test_hosts_file() -> None:
    """native: the hosts file first; dns, native: when the DNS has nothing; dns: never."""
    files = {"a.test": ("203.0.113.1",), "filed.test": ("203.0.113.2",)}

    def tried(lookups: tuple[str, ...], nexthop: str) -> object:
        settings = HostSettings(own=OWN, lookups=lookups, use_mx=lookups != ("native",))
        found = result_of(make(settings, files)[0], nexthop)
        return found[0].address if isinstance(found, tuple) else type(found)

    assert tried(("native",), "a.test") == "203.0.113.1"
    assert tried(("native",), "b.test") in ADDRESSES["b.test"]  # type: ignore[operator]
    assert tried(("dns",), "filed.test") is NexthopRefused
    assert tried(("dns", "native"), "filed.test") == "203.0.113.2"
    assert tried(("dns", "native"), "[a.test]") == "198.51.100.1"


def test_own_addresses() -> None:
    """all is every address of the machine; words are addresses."""
    assert "127.0.0.1" in own_addresses(["all"])
    assert own_addresses(["loopback-only"], ["[2001:DB8::1]"]) == {
        "127.0.0.1",
        "::1",
        "2001:db8::1",
    }


def test_machine_addresses(tmp_path: object) -> None:
    """Second addresses of an interface count too."""
    from pathlib import Path

    proc = Path(str(tmp_path))
    (proc / "fib_trie").write_text(
        "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.0.0.0\n        /24 link UNICAST\n"
        "Local:\n     |-- 10.0.0.5\n        /32 host LOCAL\n     |-- 10.0.0.6\n"
        "        /32 host LOCAL\n     |-- 10.0.0.255\n        /32 link BROADCAST\n"
    )
    (proc / "if_inet6").write_text("20010db8000000000000000000000001 02 40 00 80 eth0\n")
    assert machine_addresses(proc) == {"10.0.0.5", "10.0.0.6", "2001:db8::1"}


def _settings(text: str) -> Settings:
    return make_settings("/nonexistent", parse(text, "main.cf").assignments, "gw.example.com")


def test_settings() -> None:
    """Defaults, and what main.cf says otherwise, for SMTP and LMTP."""
    plain = HostSettings.from_settings(_settings(""))
    assert (plain.use_mx, plain.lookups, plain.families) == (True, ("dns",), ("ipv4", "ipv6"))
    assert (plain.address_limit, plain.fallback, plain.myhostname) == (5, (), "gw.example.com")
    assert "127.0.0.1" in plain.own
    changed = _settings(
        "smtp_dns_support_level = disabled\ninet_protocols = ipv4\nlmtp_host_lookup = dns, native\n"
        "smtp_fallback_relay = [a.test], b.test:26\ninet_interfaces = 192.0.2.1\n"
    )
    smtp, lmtp = (HostSettings.from_settings(changed, lmtp=lmtp) for lmtp in (False, True))
    assert (smtp.use_mx, smtp.lookups, smtp.families) == (False, ("native",), ("ipv4",))
    assert (smtp.fallback, smtp.own) == (("[a.test]", "b.test:26"), {"192.0.2.1"})
    assert (lmtp.use_mx, lmtp.lookups, lmtp.fallback) == (False, ("dns", "native"), ())


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("smtp_fallback_relay = [", "smtp_fallback_relay"),
        ("smtp_host_lookup = nis", "smtp_host_lookup"),
        ("inet_protocols = ipx", "inet_protocols"),
    ],
)
def test_bad_settings(text: str, named: str) -> None:
    """A setting that means nothing is named."""
    with pytest.raises(ConfigError, match=named):
        HostSettings.from_settings(_settings(text + "\n"))
