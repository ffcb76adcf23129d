"""Settings: expanded, typed, overridden; and errors that name the place."""

from __future__ import annotations

import pytest

from gatewayd.config import main_cf, master_cf
from gatewayd.config.load import make_settings
from gatewayd.config.settings import Settings
from gatewayd.errors import ConfigError


def _settings(text: str = "", hostname: str = "gw.example.net") -> Settings:
    return make_settings("/etc/test", main_cf.parse(text, "main.cf").assignments, hostname)


def _error(settings: Settings, name: str) -> str:
    with pytest.raises(ConfigError) as caught:
        settings.text(name)
    return str(caught.value)


def test_defaults_are_expanded() -> None:
    settings = _settings()
    assert settings.text("smtpd_banner") == "gw.example.net ESMTP gatewayd"
    assert settings.words("mydestination") == (
        "gw.example.net",
        "localhost.example.net",
        "localhost",
    )
    assert settings.text("config_directory") == "/etc/test"
    assert settings.text("control_socket") == "/var/spool/gatewayd/control.sock"


def test_typed_access() -> None:
    settings = _settings("delay_warning_time = 4\nsmtp_connect_timeout = 2m\nsoft_bounce = Yes\n")
    assert settings.seconds("delay_warning_time") == 4 * 3600
    assert settings.seconds("smtp_connect_timeout") == 120
    assert settings.flag("soft_bounce")
    assert settings.number("hopcount_limit") == 50
    assert settings.words("relay_domains") == ()


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("soft_bounce", "maybe", '"maybe": yes or no expected'),
        ("hopcount_limit", "0", "0: at least 1 expected"),
        ("reject_code", "200", "200: at least 400 expected"),
        ("queue_run_delay", "5 m", '"5 m": a number with a unit of s, m, h, d or w expected'),
    ],
)
def test_a_wrong_value_is_named_with_its_place(name: str, value: str, text: str) -> None:
    settings = _settings(f"\n{name} = {value}\n")
    access = {
        "soft_bounce": settings.flag,
        "queue_run_delay": settings.seconds,
    }.get(name, settings.number)
    with pytest.raises(ConfigError) as caught:
        access(name)
    assert str(caught.value) == f"main.cf:2: {name}: {text}"


def test_values_refer_to_others_before_and_behind() -> None:
    settings = _settings("relayhost = [$mine]:${port:25}\nmine = a.$mydomain\n")
    assert settings.text("relayhost") == "[a.example.net]:25"


def test_circles_are_errors_with_their_place() -> None:
    settings = _settings("a = $b\nb = $a\nrelayhost = x$a\n")
    assert _error(settings, "relayhost").startswith("main.cf:3: relayhost: references go in a circ")


def test_a_circle_through_a_computed_default_is_an_error() -> None:
    """mydomain is computed from myhostname."""
    settings = _settings("myhostname = gw.$mydomain\n")
    assert "circle" in _error(settings, "myhostname")
    assert "circle" in _error(settings, "myorigin")


@pytest.mark.parametrize(
    ("text", "hostname", "names"),
    [
        ("", "gw.example.net", ("gw.example.net", "example.net")),
        ("", "gw", ("gw.localdomain", "localdomain")),
        ("mydomain = foo.org", "gw", ("gw.foo.org", "foo.org")),
        ("mydomain = foo.org", "gw.b", ("gw.b", "foo.org")),
        ("myhostname = gw", "x.y", ("gw", "localdomain")),
        ("myhostname = gw.b", "x.y", ("gw.b", "b")),
    ],
)
def test_our_names_are_computed_as_postfix_does(
    text: str, hostname: str, names: tuple[str, str]
) -> None:
    settings = _settings(text, hostname)
    assert (settings.text("myhostname"), settings.text("mydomain")) == names


def test_raw_values_keep_their_dollars() -> None:
    settings = _settings("default_rbl_reply = $rbl_code for ${rbl_reason?because\n")
    assert settings.text("default_rbl_reply") == "$rbl_code for ${rbl_reason?because"


def test_a_service_sees_its_overrides_and_its_name() -> None:
    text = "x inet n - n - - smtpd -o smtpd_banner=$myhostname/$service_name -o myhostname=other\n"
    (service,) = master_cf.parse(text, "master.cf").services
    settings = _settings()
    own = settings.for_service(service)
    assert own.text("smtpd_banner") == "other/x"
    assert settings.text("smtpd_banner") == "gw.example.net ESMTP gatewayd"
    assert own.is_set("smtpd_banner")
    assert not settings.is_set("smtpd_banner")


def test_an_override_of_the_wrong_kind_is_named_by_master_cf() -> None:
    text = "x inet n - n - - smtpd\n  -o smtpd_timeout=abc\n"
    (service,) = master_cf.parse(text, "master.cf").services
    with pytest.raises(ConfigError, match=r"^master\.cf:2: smtpd_timeout: "):
        _settings().for_service(service).seconds("smtpd_timeout")


def test_a_transport_falls_back_to_the_default_of_all() -> None:
    settings = _settings(
        "slow_destination_rate_delay = 3m\n"
        "default_destination_concurrency_limit = 7\n"
        "slow_destination_concurrency_negative_feedback = 1/concurrency\n"
    )
    assert settings.transport_seconds("slow", "destination_rate_delay") == 180
    assert settings.transport_seconds("smtp", "destination_rate_delay") == 0
    assert settings.transport_number("slow", "destination_concurrency_limit") == 7
    assert settings.transport_number("slow", "initial_destination_concurrency") == 5
    assert settings.transport_number("local", "destination_concurrency_limit") == 2
    feedback = "destination_concurrency_negative_feedback"
    assert settings.transport_text("slow", feedback) == "1/concurrency"
    assert settings.transport_text("smtp", feedback) == "1"
    assert settings.transport_seconds("pipe", "time_limit") == 1000


def test_a_transports_value_can_be_referred_to_when_the_transport_exists() -> None:
    settings = _settings("a_destination_recipient_limit = $b_destination_recipient_limit\n")
    settings.transports = frozenset("ab")
    assert settings.transport_number("a", "destination_recipient_limit") == 50


def test_a_transports_wrong_value_is_named() -> None:
    settings = _settings("slow_destination_recipient_limit = -1\n")
    with pytest.raises(ConfigError, match=r"main\.cf:1: slow_destination_recipient_limit: -1: at"):
        settings.transport_number("slow", "destination_recipient_limit")
