"""The SMTP client against servers that do anything, at any moment: nothing is lost or made up."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from gatewayd.errors import NexthopUnavailable
from gatewayd.smtp.client_settings import ClientSettings
from gatewayd.status import Action
from tests.fakes.client_line import Line
from tests.fakes.mail_server import CHUNKING, CLOSE, ESMTP, MailServer
from tests.fakes.requests import DiskContent, FakeSource, request

_ODD = (
    "450 4.1.0 later",
    "550 5.1.0 no",
    "550-5.1.0 no\n550 5.1.0 never",
    "354 go on",
    "421 4.3.2 bye",
    "HTTP/1.1 400",
    CLOSE,
)


class _Whims:
    """A server's mood: friendly mostly, and all of it decided by a seed."""

    def __init__(self, random: Random, trouble: float) -> None:
        self._random = random
        self._trouble = trouble

    def answer(self, verb: str, rest: str) -> str | None:
        if verb == "QUIT" or self._random.random() >= self._trouble:
            return None
        return self._random.choice(_ODD)

    def split(self, octets: bytes) -> Sequence[bytes]:
        pieces = []
        while octets:
            size = self._random.choice((1, 2, 7, 50, 1000))
            pieces.append(octets[:size])
            octets = octets[size:]
        return pieces


@hypothesis_settings(deadline=None)
@given(
    seed=st.integers(0, 2**32),
    keywords=st.sampled_from([(), ESMTP, CHUNKING]),
    trouble=st.sampled_from([0.0, 0.02, 0.1, 0.4]),
    lmtp=st.booleans(),
    servers=st.integers(1, 3),
    in_flight=st.sampled_from([1, 3, 100]),
)
def test_outcomes_agree_with_what_servers_did(
    seed: int, keywords: tuple[str, ...], trouble: float, lmtp: bool, servers: int, in_flight: int
) -> None:
    """Every request has its outcomes once, and success is told of what was delivered only.

    A server here takes a message exactly when it says so: a recipient without success may have
    got the message only where its connection ended before the answer arrived, and that never
    happens here unless the server went on to breach the protocol in the same moment.
    """
    random = Random(seed)
    whims = _Whims(random, trouble)
    made: list[MailServer] = []

    def server(host: str) -> MailServer | None:
        if random.random() < trouble / 2:
            return None
        made.append(MailServer(keywords, whims.answer, lmtp=lmtp))
        return made[-1]

    addresses = [f"192.0.2.{n}" for n in range(1, servers + 1)]
    settings = ClientSettings(lmtp=lmtp, in_flight=in_flight)
    line = Line(server, *addresses, settings=settings, split=whims.split)
    requests = [
        request(
            f"Q{n}",
            *(f"r{k}-{n}@site.test" for k in range(random.choice((1, 1, 3)))),
            content=DiskContent(b"%d\r\n.\r\n" % n * random.choice((1, 50, 60000))),
            sender=f"s{n}@us.test",
        )
        for n in range(12)
    ]
    source = FakeSource(requests)
    for _ in range(30):
        if source.requests:
            line.deliver(source)
    assert all(isinstance(error, NexthopUnavailable) for error in line.errors)
    assert len(source.results) == source.taken
    assert [mistake for each in made for mistake in each.mistakes] == []
    assert line.log.failures == []

    deliveries: dict[str, int] = {}
    for each in made:
        for message in each.delivered:
            number = int(message.mail.split("@")[0].removeprefix("FROM:<s"))
            content = requests[number].message.content
            assert isinstance(content, DiskContent)
            assert message.content == content._octets
            for to in message.recipients:
                name = to.removeprefix("TO:<").partition(">")[0]
                deliveries[name] = deliveries.get(name, 0) + 1
    for each in requests:
        for number, outcome in source.results.get(each.queue_id, {}).items():
            name = str(each.recipients[number - 1].recipient.address)
            count = deliveries.get(name, 0)
            if outcome.is_success:
                assert count >= 1
            elif outcome.action is Action.FAILED:
                assert count == 0
            if not trouble:
                assert count == 1
