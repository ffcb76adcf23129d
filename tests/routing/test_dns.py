"""The resolver against a server that does all that servers do (security.md G9)."""

from __future__ import annotations

import contextlib
from pathlib import Path

import dns.message
import dns.name
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import defer, reactor, task
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from gatewayd.config.load import make_settings
from gatewayd.config.main_cf import parse
from gatewayd.errors import ConfigError
from gatewayd.routing.dns import (
    DnsSettings,
    HostsFile,
    NameServers,
    NoData,
    NoSuchDomain,
    Resolver,
    TemporaryFailure,
)
from gatewayd.routing.dns.messages import Question, read
from gatewayd.routing.mx import MxRecord
from tests.dns_server import DnsServer, silent_port

ZONE = {
    "example.com": {"MX": ["20 b.example.com.", "10 a.example.com."], "A": ["192.0.2.9"]},
    "a.example.com": {"A": ["192.0.2.1"], "AAAA": ["2001:db8::1"]},
    "alias.test": {"CNAME": ["example.com."]},
    "dangling.test": {"CNAME": ["nowhere.test."]},
    "ring1.test": {"CNAME": ["ring2.test."]},
    "ring2.test": {"CNAME": ["ring1.test."]},
    "null.test": {"MX": ["0 ."]},
    "servfail.test": {"*": "servfail"},
    "refused.test": {"*": "refused"},
    "slow.test": {"*": "timeout"},
    "cut.test": {"MX": "truncate MX " + "|".join(f"{n} mx{n}.cut.test." for n in range(100))},
    "cut-twice.test": {"MX": "truncate-twice"},
    "garbage.test": {"*": "garbage"},
    "forged.test": {"*": "wrong-id"},
    "other.test": {"*": "wrong-question"},
    "lower.test": {"A": "lower-case A 192.0.2.2"},
    "old.test": {"A": "no-edns A 192.0.2.3"},
    "lame.test": {"*": "referral"},
    "half.test": {"A": "servfail", "AAAA": ["2001:db8::2"]},
    "halfless.test": {"A": "servfail", "AAAA": "empty"},
    "1.2.0.192.in-addr.arpa": {"PTR": ["a.example.com."]},
    "2.2.0.192.in-addr.arpa": {"PTR": ["liar.test.", "a.example.com."]},
    "liar.test": {"A": ["198.51.100.1"]},
    "3.2.0.192.in-addr.arpa": {"*": "timeout"},
}


class WithServer(TestCase):
    """A resolver that asks a scripted server over loopback."""

    timeout = 20

    def setUp(self) -> None:
        self.server = DnsServer(ZONE)
        self.server.__enter__()
        self.addCleanup(self.server.__exit__)
        self.hosts = HostsFile("/dev/null")

    def resolver(self, *servers: tuple[str, int], timeout: float = 0.3, **more: float) -> Resolver:
        settings = DnsSettings(servers or (self.server.address,), timeout, cache_size=50, **more)
        resolver = Resolver(settings, reactor, hosts_file=self.hosts)
        self.addCleanup(resolver.close)
        return resolver

    async def refused(self, waiting: object, kind: type[Exception]) -> str:
        try:
            result = await waiting  # type: ignore[misc]
        except kind as error:
            return str(error)
        raise AssertionError(f"{result} instead of {kind}")


class Answers(WithServer):
    """What the server says is what comes out."""

    async def test_mx(self) -> None:
        """MX records, from the name and through an alias."""
        resolver = self.resolver()
        wanted = {MxRecord(10, "a.example.com"), MxRecord(20, "b.example.com")}
        assert set(await resolver.mx("Example.COM.")) == wanted
        assert set(await resolver.mx("alias.test")) == wanted
        assert await resolver.mx("null.test") == (MxRecord(0, ""),)

    async def test_addresses(self) -> None:
        """Both families, or the one that's asked for; one that fails doesn't hide the other."""
        resolver = self.resolver()
        both = ("ipv4", "ipv6")
        found = await resolver.addresses("a.example.com", both)
        assert found == ("192.0.2.1", "2001:db8::1")
        assert await resolver.addresses("a.example.com", ("ipv4",)) == ("192.0.2.1",)
        assert await resolver.addresses("half.test", both) == ("2001:db8::2",)

    async def test_none(self) -> None:
        """No such name, and no such record, are told apart."""
        resolver = self.resolver()
        await self.refused(resolver.mx("nowhere.test"), NoSuchDomain)
        await self.refused(resolver.mx("dangling.test"), NoSuchDomain)
        await self.refused(resolver.mx("a.example.com"), NoData)
        for name in ("bad..test", "x" * 64 + ".test", ".", "", "a\\032b.test"):
            await self.refused(resolver.mx(name), NoSuchDomain)

    async def test_cut_short(self) -> None:
        """A truncated answer is asked for again by TCP, in full."""
        resolver = self.resolver()
        assert len(await resolver.mx("cut.test")) == 100
        assert [by for *_, by in self.server.asked] == ["udp", "tcp"]

    async def test_case_lost(self) -> None:
        """A server that answers in lower case is believed over TCP."""
        assert await self.resolver().addresses("lower.test", ("ipv4",)) == ("192.0.2.2",)

    async def test_without_edns(self) -> None:
        """A server older than EDNS is asked without."""
        assert await self.resolver().addresses("old.test", ("ipv4",)) == ("192.0.2.3",)


class Failures(WithServer):
    """None of this may ever look like "there is none"."""

    async def test_temporary(self) -> None:
        """SERVFAIL, REFUSED, silence, nonsense, forgeries, circles, referrals: try again."""
        resolver = self.resolver()
        for name in (
            "servfail.test",
            "refused.test",
            "slow.test",
            "cut-twice.test",
            "garbage.test",
            "forged.test",
            "other.test",
            "ring1.test",
            "lame.test",
        ):
            await self.refused(resolver.mx(name), TemporaryFailure)
        await self.refused(resolver.addresses("halfless.test", ("ipv4", "ipv6")), TemporaryFailure)

    async def test_no_server(self) -> None:
        """Off line, the answer comes at once."""
        resolver = Resolver(
            DnsSettings(None), reactor, hosts_file=self.hosts, system_servers=lambda: ()
        )
        text = await self.refused(resolver.mx("example.com"), TemporaryFailure)
        assert "no name server" in text

    async def test_next_server(self) -> None:
        """A server that is down, silent or broken leaves its turn to the next."""
        silent, address = silent_port()
        self.addCleanup(silent.close)
        closed, gone = silent_port()
        closed.close()
        with DnsServer({"example.com": {"*": "servfail"}}) as broken:
            resolver = self.resolver(gone, address, broken.address, self.server.address)
            assert len(await resolver.mx("example.com")) == 2

    async def test_unreachable_server(self) -> None:
        """A server that there's no way to is passed over."""
        resolver = self.resolver(("2001:db8::53", 5354), ("240.0.0.1", 5354), self.server.address)
        assert len(await resolver.mx("example.com")) == 2


class Memory(WithServer):
    """What is known or under way isn't asked again."""

    async def test_cache(self) -> None:
        """Answers and denials are asked for once."""
        resolver = self.resolver()
        for _ in range(3):
            await resolver.mx("example.com")
            await self.refused(resolver.mx("nowhere.test"), NoSuchDomain)
            await self.refused(resolver.mx("servfail.test"), TemporaryFailure)
        assert self.server.count("example.com", "MX") == 1
        assert self.server.count("nowhere.test", "MX") == 1
        assert self.server.count("servfail.test", "MX") == 2

    async def test_bounded(self) -> None:
        """The cache forgets the oldest."""
        resolver = self.resolver()
        for number in range(60):
            await self.refused(resolver.mx(f"n{number}.test"), NoSuchDomain)
        await self.refused(resolver.mx("n59.test"), NoSuchDomain)
        await self.refused(resolver.mx("n0.test"), NoSuchDomain)
        assert self.server.count("n59.test", "MX") == 1
        assert self.server.count("n0.test", "MX") == 2

    async def test_shared(self) -> None:
        """Equal questions share a look-up, and the first asker's going away stops nobody."""
        resolver = self.resolver()
        first = Deferred.fromCoroutine(resolver.mx("example.com"))
        others = [Deferred.fromCoroutine(resolver.mx("example.com")) for _ in range(5)]
        first.cancel()
        self.failureResultOf(first, defer.CancelledError)
        for other in others:
            assert len(await other) == 2
        assert self.server.count("example.com", "MX") == 1


class ReverseNames(WithServer):
    """A client's name is one that leads back to its address."""

    async def test_verified(self) -> None:
        resolver = self.resolver(reverse_seconds=1.0)
        assert await resolver.reverse_name("192.0.2.1") == "a.example.com"
        assert await resolver.reverse_name("192.0.2.2") == "unknown"
        assert await resolver.reverse_name("192.0.2.7") == "unknown"
        assert await resolver.reverse_name("not an address") == "unknown"

    async def test_bounded(self) -> None:
        """No client waits long for its name; and the next time not at all."""
        resolver = self.resolver(timeout=5.0, reverse_seconds=0.2)
        started = reactor.seconds()  # type: ignore[attr-defined]
        for _ in range(3):
            assert await resolver.reverse_name("192.0.2.3") == "unknown"
        assert reactor.seconds() - started < 2  # type: ignore[attr-defined]


class Expiry(SynchronousTestCase):
    """TTLs on a clock that the test moves."""

    def test_ttl(self) -> None:
        """An answer is forgotten when its TTL is over, and not before."""
        clock = task.Clock()
        asked: list[str] = []

        class Exchange:
            async def ask(self, name: object, kind: str, server: object) -> dns.message.Message:
                asked.append(kind)
                return dns.message.from_text(
                    "id 1\nopcode QUERY\nrcode NOERROR\nflags QR RA\n;QUESTION\na.test. IN MX\n"
                    ";ANSWER\na.test. 100 IN MX 1 m.test.\n;AUTHORITY\n;ADDITIONAL\n"
                )

        resolver = Resolver(DnsSettings((("192.0.2.53", 53),)), clock)
        resolver._exchange = Exchange()  # type: ignore[assignment]
        for wait, count in ((0, 1), (99, 1), (2, 2)):
            clock.advance(wait)
            self.successResultOf(Deferred.fromCoroutine(resolver.mx("a.test")))
            assert len(asked) == count


NAME = dns.name.from_text("a.test")


@given(st.binary(max_size=600))
def test_any_octets(octets: bytes) -> None:
    """Whatever arrives is an answer, none, or a temporary failure: nothing else."""
    question = Question(NAME, "MX", 0x1234, lambda: 0)
    header = question.octets[:2] + b"\x80"
    for tried in (octets, header + octets):
        with contextlib.suppress(TemporaryFailure):
            message = question.answered(tried)
            if message is not None:
                read(message, "a.test", "MX")


def test_every_octet_changed() -> None:
    """A true answer with one octet changed never reads as another error than the declared ones."""
    question = Question(NAME, "MX", 0x1234, lambda: 1)
    reply = dns.message.make_response(dns.message.from_wire(question.octets))
    reply.answer = [dns.rrset.from_text("a.test.", 60, "IN", "MX", "1 m.test.")]
    whole = reply.to_wire()
    for place in range(2, len(whole)):
        octets = bytearray(whole)
        for value in range(256):
            octets[place] = value
            with contextlib.suppress(TemporaryFailure):
                message = question.answered(bytes(octets))
                if message is not None:
                    read(message, "a.test", "MX")


@pytest.mark.parametrize(
    ("word", "server"),
    [
        ("192.0.2.53", ("192.0.2.53", 53)),
        ("192.0.2.53:5353", ("192.0.2.53", 5353)),
        ("[2001:db8::53]:5353", ("2001:db8::53", 5353)),
        ("2001:db8::53", ("2001:db8::53", 53)),
        ("[2001:db8::53]", ("2001:db8::53", 53)),
    ],
)
def test_servers_of_settings(word: str, server: tuple[str, int]) -> None:
    """smtp_dns_servers: addresses, with a port or without."""
    text = f"smtp_dns_servers = {word}\nsmtp_dns_timeout = 2s\n"
    settings = make_settings("/nonexistent", parse(text, "main.cf").assignments, "gw.test")
    assert DnsSettings.from_settings(settings) == DnsSettings((server,), 2.0)


@pytest.mark.parametrize("word", ["ns.test", "192.0.2.53:0", "192.0.2.53:x", "[::1", "1.2.3:53"])
def test_bad_servers(word: str) -> None:
    """What is no address is an error that names the setting."""
    text = f"smtp_dns_servers = {word}\n"
    settings = make_settings("/nonexistent", parse(text, "main.cf").assignments, "gw.test")
    with pytest.raises(ConfigError, match="smtp_dns_servers"):
        DnsSettings.from_settings(settings)


def test_machine_files(tmp_path: Path) -> None:
    """resolv.conf and hosts are read again when they have changed, a few seconds later."""
    clock = task.Clock()
    resolv, hosts = tmp_path / "resolv.conf", tmp_path / "hosts"
    servers, names = NameServers(str(resolv), clock.seconds), HostsFile(str(hosts), clock.seconds)
    assert (servers(), names.name("192.0.2.1")) == ((), "")
    resolv.write_text(
        "# dialled\nnameserver 192.0.2.53\nnameserver junk\nsearch x\nnameserver ::1\n"
    )
    hosts.write_text("192.0.2.1 a.test A # x\n::1 a.test\nbad b.test\n2001:DB8:0::2\tsix.test\n")
    assert servers() == ()
    clock.advance(6)
    assert servers() == (("192.0.2.53", 53), ("::1", 53))
    assert names.name("192.0.2.1") == "a.test"
    assert names.addresses("A.TEST.", ("ipv4", "ipv6")) == ("192.0.2.1", "::1")
    assert names.addresses("six.test", ("ipv6",)) == ("2001:db8::2",)
    assert names.addresses("b.test", ("ipv4",)) == ()
    resolv.unlink()
    clock.advance(6)
    assert servers() == ()
