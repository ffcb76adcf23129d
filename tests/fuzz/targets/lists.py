"""Lists of restrictions, of domains, of networks: ConfigError, or a list that answers."""

from __future__ import annotations

from gatewayd.access.lists import RestrictionList, UnknownRestriction
from gatewayd.access.restriction import REGISTRY, Stage
from gatewayd.config.values import ValueProblem, split_words
from gatewayd.errors import ConfigError
from gatewayd.tables.match_list import MatchList, NetworkList
from tests.access.asking import make_policy
from tests.fuzz.inputs import answer, split, text

_POLICY = make_policy({"mynetworks": "127.0.0.0/8", "relay_domains": "example.com"})
SEEDS = (
    b"permit_mynetworks, reject_unauth_destination",
    b"warn_if_reject reject_unknown_client_hostname permit",
    b"example.com .example.org !bad.example inline:{x=y} static:z",
    b"127.0.0.0/8 !10.0.0.1 [::1]/128 10.0.0.0/8 inline:{192.0.2.1=x}",
)
WORDS = (
    *(name.encode() for name in REGISTRY),
    *(b" ", b",", b"!", b".", b"example.com", b"10.0.0.0", b"/8", b"[", b"]", b"::1", b"inline:{"),
    *(b"}", b"=", b"static:x", b"regexp:", b"proxy:", b"unix:passwd.byname", b"warn_if_reject "),
)


def target(data: bytes) -> bool:
    """Only ConfigError and UnknownRestriction; a negated pattern never says yes."""
    payload, decisions = split(data)
    try:
        words = split_words(text(payload))
    except ValueProblem:
        return False
    # Files are another matter.
    words = tuple(word for word in words if "/" not in word.lstrip("!")[:1] and ":/" not in word)
    taken = 0
    try:
        found = RestrictionList.parse(words, decisions.choice(list(Stage)), _POLICY._about)
        taken += bool(found)
        assert isinstance(found.guards_relaying, bool)
    except (UnknownRestriction, ConfigError):
        pass
    for kind in (MatchList, NetworkList):
        try:
            matching = kind.open(words, "x")
        except ConfigError:
            continue
        taken += 1
        for name in ("a.example.com", "192.0.2.1", "::ffff:10.0.0.1", *words[:3]):
            hit = answer(matching.matches(name))
            if words and all(word.startswith("!") and word[1:2] != "!" for word in words):
                assert not hit
    return bool(taken)
