"""Lists of names and networks (postfix.md §1, §2)."""

from __future__ import annotations

import timeit
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.errors import ConfigError, TableError
from gatewayd.tables.match_list import MatchList, NetworkList


def now(answer: object) -> bool:
    with pytest.raises(StopIteration) as end:
        answer.send(None)  # type: ignore[attr-defined]
    value: bool = end.value.value
    return value


def names(*words: str, parents: bool = False) -> MatchList:
    return MatchList.open(words, "relay_domains", parents=parents)


def networks(*words: str) -> NetworkList:
    return NetworkList.open(words, "mynetworks")


@pytest.mark.parametrize(
    ("words", "parents", "name", "held"),
    [
        (["example.com"], False, "Example.COM", True),
        (["EXAMPLE.com"], False, "example.com", True),
        (["example.com"], False, "a.example.com", False),
        (["example.com"], True, "a.b.example.com", True),
        (["example.com"], True, "badexample.com", False),
        ([".example.com"], False, "a.b.example.com", True),
        ([".example.com"], False, "example.com", False),
        ([".example.com"], True, "a.example.com", False),
        (["!a.example.com", "example.com"], True, "x.a.example.com", False),
        (["!a.example.com", "example.com"], True, "b.example.com", True),
        (["example.com", "!a.example.com"], True, "a.example.com", True),
        (["!!example.com"], False, "example.com", True),
        (["inline:{example.com=x}"], False, "example.com", True),
        (["inline:{example.com=x}"], False, "a.example.com", False),
        (["inline:{example.com=x}"], True, "a.example.com", True),
        (["inline:{.example.com=x}"], False, "a.b.example.com", True),
        (["!inline:{a.test=x}", "static:any"], False, "a.test", False),
        (["!inline:{a.test=x}", "static:any"], False, "b.test", True),
        ([], False, "example.com", False),
        (["[192.0.2.1]"], False, "[192.0.2.1]", True),
        (["example.com"], True, "", False),
    ],
)
def test_names(words: list[str], parents: bool, name: str, held: bool) -> None:
    """Parents, subdomains, tables, and "!"; the first that matches decides."""
    assert now(names(*words, parents=parents).matches(name)) is held


def test_files(tmp_path: Path) -> None:
    """A file's patterns stand in its place, turned over by a "!" before it."""
    inner, outer = tmp_path / "inner", tmp_path / "outer"
    inner.write_text("# comment\nc.test, d.test\n!e.test\n")
    outer.write_text(f"a.test\n{inner}\n")
    listed = names(str(outer))
    held = [now(listed.matches(f"{each}.test")) for each in "abcde"]
    assert held == [True, False, True, True, False]
    turned = names(f"!{inner}", "static:any")
    assert [now(turned.matches(f"{each}.test")) for each in "ce"] == [False, True]
    outer.write_text(str(outer))
    with pytest.raises(ConfigError, match="too deep"):
        names(str(outer))
    with pytest.raises(ConfigError, match=r"relay_domains: .*No such file"):
        names(str(tmp_path / "none"))


def test_errors_name_the_setting() -> None:
    """A table type that there isn't is no domain."""
    with pytest.raises(ConfigError, match=r"relay_domains: ldapp:/x: unknown table type"):
        names("ldapp:/x")
    with pytest.raises(ConfigError, match="absolute"):
        names("hash:x")


def test_table_failure() -> None:
    """A table that cannot tell isn't "no"."""
    with pytest.raises(TableError):
        names("b.test", "fail:x").matches("a.test").send(None)
    assert now(names("b.test", "fail:x").matches("b.test"))


@pytest.mark.parametrize(
    ("words", "address", "held"),
    [
        (["192.0.2.0/24"], "192.0.2.255", True),
        (["192.0.2.0/24"], "192.0.3.0", False),
        (["192.0.2.7"], "192.0.2.7", True),
        (["192.0.2.0/24"], "::ffff:192.0.2.1", True),
        (["[2001:db8::]/32"], "2001:DB8:1::2", True),
        (["[::1]"], "::1", True),
        (["0.0.0.0/0"], "::1", False),
        (["!192.0.2.7", "192.0.2.0/24"], "192.0.2.7", False),
        (["!192.0.2.7", "192.0.2.0/24"], "192.0.2.8", True),
        (["inline:{192.0.2.7=x}"], "192.0.2.7", True),
        (["192.0.2.0/24"], "unknown", False),
        (["192.0.2.0/24"], "", False),
    ],
)
def test_networks(words: list[str], address: str, held: bool) -> None:
    """Networks, addresses and tables of addresses."""
    listed = networks(*words)
    assert now(listed.matches(address)) is held
    assert now(listed.matches(address)) is held


@pytest.mark.parametrize(
    "word", ["192.0.2.1/24", "192.0.2.0/33", "300.1.1.1", "2001:db8::/32", "[::1", "example.com"]
)
def test_bad_networks(word: str) -> None:
    """What is no network is an error that names the setting."""
    with pytest.raises(ConfigError, match="mynetworks: "):
        networks(word)


@given(st.text(max_size=40))
def test_any_address(text: str) -> None:
    """Whatever claims to be an address is in or out."""
    assert now(networks("127.0.0.0/8").matches(text)) in (True, False)


def test_memory_is_bounded() -> None:
    """Thousands of clients are not all remembered."""
    listed = networks("10.0.0.0/8")
    for number in range(3000):
        now(listed.matches(f"10.0.{number // 250}.{number % 250}"))
    assert len(listed._remembered) <= 256


def test_known_client_is_cheap() -> None:
    """A client asked about before costs microseconds."""
    listed = networks("127.0.0.0/8", "[::1]/128", "10.0.0.0/8")

    def once() -> None:
        try:
            listed.matches("10.1.2.3").send(None)
        except StopIteration:
            return

    assert min(timeit.repeat(once, number=2000, repeat=5)) / 2000 < 20e-6
