"""The error policy: texts, status codes, hard and soft."""

from __future__ import annotations

import pytest

from gatewayd.smtp.replies import ServerReply
from gatewayd.smtp.trouble import (
    Peer,
    Stage,
    connect_trouble,
    connection_trouble,
    mail_loop,
    protocol_trouble,
    refusal,
    unsuitable,
)
from gatewayd.status import Action

PEER = Peer("mx.test", "192.0.2.1", 25)
SOCKET = Peer("gw.test", "/run/lmtp", 0)


def reply(code: int, *lines: str) -> ServerReply:
    return ServerReply(code, lines)


@pytest.mark.parametrize(
    ("stage", "command"),
    [
        (Stage.MAIL, "MAIL FROM command"),
        (Stage.RCPT, "RCPT TO command"),
        (Stage.DATA, "DATA command"),
        (Stage.END, "end of DATA command"),
        (Stage.BDAT, "BDAT command"),
    ],
)
def test_refusal_names_the_command(stage: Stage, command: str) -> None:
    """Postfix's words, which log tools look for."""
    outcome = refusal(PEER, stage, reply(550, "5.7.1 no"))
    assert outcome.text == f"host mx.test[192.0.2.1] said: 550 5.7.1 no (in reply to {command})"
    assert (outcome.action, outcome.status) == (Action.FAILED, "5.7.1")
    assert outcome.relay == "mx.test[192.0.2.1]:25"
    assert outcome.remote_mta == "mx.test"
    assert outcome.diagnostic is not None
    assert (outcome.diagnostic.kind, outcome.diagnostic.text) == ("smtp", "550 5.7.1 no")


@pytest.mark.parametrize("stage", [Stage.GREETING, Stage.EHLO, Stage.HELO, Stage.LHLO])
def test_refusal_to_talk(stage: Stage) -> None:
    """Before any mail it is the host that is refused."""
    outcome = refusal(PEER, stage, reply(421, "busy"))
    assert outcome.text == "host mx.test[192.0.2.1] refused to talk to me: 421 busy"
    assert (outcome.action, outcome.status) == (Action.DEFERRED, "4.0.0")


@pytest.mark.parametrize(
    ("code", "line", "soft", "expected"),
    [
        (550, "5.1.1 x", False, (Action.FAILED, "5.1.1")),
        (550, "5.1.1 x", True, (Action.DEFERRED, "4.1.1")),
        (450, "4.2.0 x", False, (Action.DEFERRED, "4.2.0")),
        (450, "5.2.0 x", False, (Action.DEFERRED, "4.0.0")),
        (250, "2.0.0 x", False, (Action.DEFERRED, "4.5.0")),
        (354, "x", True, (Action.DEFERRED, "4.5.0")),
    ],
)
def test_status_agrees_with_the_action(
    code: int, line: str, soft: bool, expected: tuple[Action, str]
) -> None:
    """Whatever a server says, class and action fit together."""
    outcome = refusal(PEER, Stage.RCPT, reply(code, line), soft=soft)
    assert (outcome.action, outcome.status) == expected


@pytest.mark.parametrize("stage", [each for each in Stage if each is not Stage.IDLE])
def test_lost_and_silent_connections(stage: Stage) -> None:
    """Every stage has words of its own, and mail waits."""
    lost = connection_trouble(PEER, stage, timed_out=False)
    silent = connection_trouble(PEER, stage, timed_out=True)
    assert lost.text.startswith("lost connection with mx.test[192.0.2.1] while ")
    assert silent.text.startswith("conversation with mx.test[192.0.2.1] timed out while ")
    assert (lost.action, lost.status) == (Action.DEFERRED, "4.4.2")
    assert (silent.action, silent.status) == (Action.DEFERRED, "4.4.2")


def test_the_dangerous_moment_is_named() -> None:
    """Only there can a message be delivered twice."""
    text = connection_trouble(PEER, Stage.END, timed_out=False).text
    assert text.endswith("while sending end of data -- message may be sent more than once")


@pytest.mark.parametrize(
    ("peer", "text"),
    [
        (PEER, "connect to mx.test[192.0.2.1]:25: Connection refused"),
        (SOCKET, "connect to gw.test[/run/lmtp]: Connection refused"),
    ],
)
def test_no_connection(peer: Peer, text: str) -> None:
    """Nobody was reached, so relay= is none."""
    outcome = connect_trouble(peer, "Connection refused")
    assert (outcome.text, outcome.status, outcome.relay) == (text, "4.4.1", "none")


def test_loops_are_final_at_the_best_host_only() -> None:
    """A less preferred host with our name may be a mistake that passes."""
    assert mail_loop(PEER, "a.test").status == "5.4.6"
    assert mail_loop(PEER, "a.test", soft=True).action is Action.DEFERRED
    other = mail_loop(Peer("mx.test", "192.0.2.1", 25, best_mx=False), "a.test")
    assert (other.action, other.status) == (Action.DEFERRED, "4.4.6")


def test_unsuitable_mail() -> None:
    """What a server can't ever take is returned, with soft_bounce kept."""
    assert unsuitable(PEER, "5.3.4", "too big").action is Action.FAILED
    soft = unsuitable(PEER, "5.3.4", "too big", soft=True)
    assert (soft.action, soft.status) == (Action.DEFERRED, "4.3.4")


def test_breach_of_protocol() -> None:
    """It is not known what the server did: mail waits."""
    outcome = protocol_trouble(PEER, "no SMTP reply: HTTP/1.1")
    assert (outcome.action, outcome.status) == (Action.DEFERRED, "4.5.0")
