"""Limits of an SMTP server session: errors, junk, recipients, lines, silence, the service's end."""

from __future__ import annotations

import pytest

from gatewayd.config.settings import Settings
from gatewayd.config.values import split_words
from gatewayd.errors import ConfigError
from gatewayd.smtp.content import BareLf
from gatewayd.smtp.session_events import AskSender, Close, Sleep
from gatewayd.smtp.smtpd_settings import SmtpdSettings
from tests.smtp.desk import desk

_UNKNOWN = b"500 5.5.2 Error: command not recognized\r\n"
_TOO_MANY = b"421 4.7.0 mx.test Error: too many errors\r\n"


def test_errors_slow_down_then_end_the_session() -> None:
    """After 10 errors each reply waits a second; the 20th is the last."""
    talk = desk()
    for _ in range(10):
        assert talk.say(b"FOO\r\n") == _UNKNOWN
    assert talk.sleeps == []
    for _ in range(9):
        assert talk.say(b"FOO\r\n") == _UNKNOWN
    assert talk.sleeps == [1.0] * 9
    assert talk.say(b"FOO\r\n") == _UNKNOWN + _TOO_MANY
    assert talk.closed
    assert talk.log == ["too many errors after UNKNOWN from client.test[192.0.2.1]"]


def test_the_reply_waits_for_the_sleep() -> None:
    """Nothing is said or read during the sleep, and pipelined commands come after it."""
    talk = desk(soft_error_limit=1)
    talk.say(b"EHLO x\r\n")
    talk.session.receive(b"FOO\r\nRSET\r\nRSET\r\n")
    assert talk.session.next_event() == Sleep(1.0)
    assert talk.session.output() == _UNKNOWN
    assert talk.session.next_event() is None
    assert not talk.session.is_waiting_for_client
    talk.session.resume()
    assert talk.session.next_event() == Sleep(1.0)
    assert talk.session.output() == b"250 2.0.0 Ok\r\n"


def test_every_kind_of_error_counts() -> None:
    for line in (b"\r\n", b"\xff\r\n", b"MAIL x\r\n", b"RCPT TO:<a@b>\r\n", b"NOOP\0\r\n"):
        talk = desk(hard_error_limit=3, error_sleep_time=0.0)
        talk.say(line)
        talk.say(line)
        assert talk.say(line).endswith(_TOO_MANY)


def test_junk_commands_become_errors() -> None:
    """100 and one commands that move no mail are free, as in Postfix."""
    talk = desk(hard_error_limit=1, error_sleep_time=0.0)
    for _ in range(101):
        assert talk.say(b"NOOP\r\n") == b"250 2.0.0 Ok\r\n"
    assert talk.say(b"RSET\r\n") == b"250 2.0.0 Ok\r\n" + _TOO_MANY


def test_configured_noop_commands() -> None:
    talk = desk(noop_commands=frozenset({"FOO"}), junk_command_limit=1, hard_error_limit=1)
    assert talk.say(b"foo bar\r\n") == b"250 2.0.0 Ok\r\n"
    talk.say(b"foo\r\n")
    assert talk.say(b"foo\r\n").endswith(_TOO_MANY)


def test_recipient_limit() -> None:
    """Over the limit 452; the overshoot is no error for a while, then it is."""
    talk = desk(recipient_limit=2, recipient_overshoot_limit=2, hard_error_limit=1)
    talk.say(b"MAIL FROM:<a@b>\r\n")
    for _ in range(2):
        assert talk.say(b"RCPT TO:<c@d>\r\n") == b"250 2.1.5 Ok\r\n"
    for _ in range(2):
        assert talk.say(b"RCPT TO:<c@d>\r\n") == b"452 4.5.3 Error: too many recipients\r\n"
    assert talk.say(b"RCPT TO:<c@d>\r\n").endswith(_TOO_MANY)


def test_ten_thousand_recipients() -> None:
    """A pipelining client's RCPTs: each answered, memory bounded by the limit (security G16)."""
    talk = desk(hard_error_limit=10**6, error_sleep_time=0.0)
    talk.say(b"EHLO x\r\n")
    said = talk.say(b"MAIL FROM:<a@b>\r\n" + b"RCPT TO:<c@d>\r\n" * 10000)
    assert said.count(b"250 2.1.5") == 1000
    assert said.count(b"452 4.5.3") == 9000
    assert talk.session.transaction is not None
    assert len(talk.session.transaction.recipients) == 1000


def test_long_lines_are_cut() -> None:
    """A command line is cut at line_length_limit, silently; an endless one takes no memory."""
    talk = desk(line_length_limit=512)
    assert talk.say(b"NOOP " + b"x" * 5000 + b"\r\n") == b"250 2.0.0 Ok\r\n"
    for _ in range(100):
        assert talk.say(b"EHLO " + b"x" * 60000) == b""
        assert len(talk.session._buffer) <= 513
    talk.say(b"\r\n")
    assert len(talk.session.peer.helo) == 512 - len("EHLO ")


@pytest.mark.parametrize("length", [510, 511, 512, 513, 514, 515, 600])
def test_long_lines_are_cut_in_one_place(length: int) -> None:
    """Where the reads end makes no difference, nor does a CR that comes apart from its LF."""
    line = b"HELO " + b"x" * (length - 7)
    names = set()
    for cut in range(len(line) - 8, len(line) + 2):
        talk = desk(line_length_limit=512, bare_lf=BareLf.REJECT)
        talk.say((line + b"\r\n")[:cut])
        assert talk.say((line + b"\r\n")[cut:]) == b"250 mx.test\r\n"
        names.add(talk.session.peer.helo)
    assert len(names) == 1


def test_timeout() -> None:
    talk = desk()
    talk.say(b"EHLO x\r\n")
    talk.session.time_out()
    assert talk.run() == b"421 4.4.2 mx.test Error: timeout exceeded\r\n"
    assert talk.closed
    assert talk.log == ["timeout after EHLO from client.test[192.0.2.1]"]
    assert talk.session.lost() == ""


def test_timeout_in_content_drops_the_message() -> None:
    talk = desk()
    for line in (b"EHLO x\r\n", b"MAIL FROM:<>\r\nRCPT TO:<a@b>\r\n", b"DATA\r\n", b"abc\r\n"):
        talk.say(line)
    talk.session.time_out()
    talk.run()
    assert talk.log[-1] == "timeout after DATA (3 bytes) from client.test[192.0.2.1]"
    assert talk.aborted == ["Q1"]


def test_shut_down_when_idle() -> None:
    talk = desk()
    talk.session.shut_down()
    assert talk.run() == b"421 4.3.2 mx.test Error: service shutting down\r\n"
    assert talk.closed


def test_shut_down_after_the_transaction() -> None:
    """What has been begun is finished first."""
    talk = desk()
    talk.say(b"EHLO x\r\n")
    talk.say(b"MAIL FROM:<>\r\nRCPT TO:<a@b>\r\n")
    talk.session.shut_down()
    assert talk.run() == b""
    talk.say(b"DATA\r\n")
    assert talk.say(b".\r\n") == (
        b"250 2.0.0 Ok: queued as Q1\r\n421 4.3.2 mx.test Error: service shutting down\r\n"
    )
    assert talk.closed


def test_nothing_after_the_end() -> None:
    """Whatever follows QUIT is neither run nor kept."""
    talk = desk()
    talk.say(b"QUIT\r\nMAIL FROM:<a@b>\r\n")
    assert talk.say(b"MAIL FROM:<a@b>\r\n" * 1000) == b""
    assert not any(isinstance(event, AskSender) for event in talk.events)
    assert sum(isinstance(event, Close) for event in talk.events) == 1


class _Text(Settings):
    """Settings from plain text, over the table's defaults."""

    def __init__(self, **texts: str) -> None:
        super().__init__({}, {"myhostname": lambda _: "mx.test", "mydomain": lambda _: "test"})
        self._texts = texts

    def text(self, name: str) -> str:
        return self._texts.get(name) or super().text(name)

    def words(self, name: str) -> tuple[str, ...]:
        return (self._texts[name],) if name in self._texts else super().words(name)


def test_settings_have_postfix_defaults() -> None:
    """What main.cf's table of defaults gives is what the dataclass has, too."""
    read = SmtpdSettings.from_settings(_Text(), process_limit=100)
    assert read.ehlo_keywords == SmtpdSettings("mx.test").ehlo_keywords
    assert (read.timeout, read.soft_error_limit, read.hard_error_limit) == (300.0, 10, 20)
    assert read.bare_lf is BareLf.NORMALIZE
    assert read.forbidden_commands == {"CONNECT", "GET", "POST"}
    assert read.forbid_unauth_pipelining
    assert read.client_connection_count_limit == 50


def test_forbidden_patterns() -> None:
    """Postfix's own default is read: words and an inline pattern."""
    words = split_words("CONNECT, GET, POST regexp:{{/^[^A-Z]/ Bogus}}")
    read = SmtpdSettings.from_settings(_Text(smtpd_forbidden_commands=words[-1]))
    assert [pattern.pattern for pattern in read.forbidden_patterns] == ["^[^A-Z]"]
    assert words[:-1] == ("CONNECT", "GET", "POST")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("smtpd_forbid_bare_newline", "perhaps"),
        ("smtpd_forbidden_commands", "hash:/etc/x"),
        ("smtpd_forbidden_commands", "regexp:{{/(/ x}}"),
    ],
)
def test_bad_settings_are_named(name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=name):
        SmtpdSettings.from_settings(_Text(**{name: text}))
